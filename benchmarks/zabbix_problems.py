"""Labelled events as a Zabbix source yields them: about 0.7 KB each, alike in form and different in content."""

import random
import uuid
from collections.abc import Callable

import orjson

_HOSTS = 500
_ROLES = ("web", "db", "app", "mq", "cache", "lb", "k8s", "nas", "fw", "sw")
_SITES = ("tokyo", "osaka", "nagoya", "fukuoka", "sapporo")
_SCOPES = ("availability", "performance", "capacity", "security")
_EVENT_TTL_S = 3600


class ZabbixProblems:
    """Draws problems of 500 hosts by a seeded chance; `noise_characters` of each are random hexadecimal digits."""

    def __init__(self, seed: int, noise_characters: int = 0) -> None:
        self._chance = random.Random(seed)
        self._noise_characters = noise_characters
        self._hosts = [self._name_of_host(number) for number in range(_HOSTS)]
        self._setting_id = str(uuid.UUID(int=self._chance.getrandbits(128)))
        self._event_id = 48_200_000
        self._clock = 1_700_000_000.0

    def draw(self, count: int) -> list[bytes]:
        """Return the next `count` events, as they stand in a batch."""
        return [self._event() for _ in range(count)]

    def _name_of_host(self, number: int) -> str:
        return f"{self._chance.choice(_ROLES)}{number:03}.{self._chance.choice(_SITES)}.example.jp"

    def _event(self) -> bytes:
        chance = self._chance
        self._event_id += chance.randint(1, 40)
        self._clock += 0.01
        number = chance.randrange(_HOSTS)
        host = self._hosts[number]
        name, value = chance.choice(_TEXTS)(chance, host)
        fetched_time = int(self._clock) + chance.randint(1, 4)
        noise = f"{chance.getrandbits(4 * self._noise_characters):x}" if self._noise_characters else ""
        return orjson.dumps(
            {
                "eventid": str(self._event_id),
                "source": "0",
                "object": "0",
                "objectid": str(chance.randint(13_000, 99_999)),
                "clock": str(int(self._clock)),
                "ns": str(chance.randrange(10**9)),
                "r_eventid": "0",
                "r_clock": "0",
                "name": name,
                "acknowledged": "0",
                "severity": str(chance.randint(0, 5)),
                "cause_eventid": "0",
                "opdata": value + noise,
                "suppressed": "0",
                "hosts": [{"hostid": str(10_000 + number), "host": host}],
                "tags": [
                    {"tag": "class", "value": "os"},
                    {"tag": "scope", "value": chance.choice(_SCOPES)},
                    {"tag": "site", "value": host.split(".")[1]},
                ],
                "_exastro_event_collection_settings_name": "log-page-01",
                "_exastro_event_collection_settings_id": self._setting_id,
                "_exastro_fetched_time": fetched_time,
                "_exastro_end_time": fetched_time + _EVENT_TTL_S,
                "_exastro_oase_event_id": str(self._event_id),
            }
        )


def _cpu(chance: random.Random, _host: str) -> tuple[str, str]:
    return (
        f"High CPU utilization (over {chance.randint(80, 99)}% for {chance.choice((5, 10, 15))}m)",
        f"CPU utilization: {chance.uniform(80, 100):.4f} %",
    )


def _space(chance: random.Random, host: str) -> tuple[str, str]:
    place = chance.choice(("/", "/var", "/home", "/data", "/var/log"))
    return (
        f"Filesystem {place} on {host}: space is low",
        f"Space used: {chance.uniform(1, 900):.2f} GB ({chance.uniform(80, 100):.4f} %)",
    )


def _link(chance: random.Random, _host: str) -> tuple[str, str]:
    port = f"{chance.choice(('eth', 'ens', 'bond'))}{chance.randint(0, 192)}"
    return f"Interface {port}(): Link down", f"Current state: down ({chance.randint(2, 7)})"


def _ping(chance: random.Random, _host: str) -> tuple[str, str]:
    return "Unavailable by ICMP ping", f"Down, loss {chance.uniform(0, 100):.4f} %"


def _service(chance: random.Random, host: str) -> tuple[str, str]:
    service = chance.choice(("nginx", "postgresql", "rabbitmq", "sshd", "chronyd"))
    return f"Service {service} is not running on {host}", f"{chance.randint(0, 3)} processes"


def _load(chance: random.Random, _host: str) -> tuple[str, str]:
    loads = " ".join(f"{chance.uniform(1, 90):.2f}" for _ in range(3))
    return (
        f"Load average is too high (per CPU load over {chance.uniform(1.5, 9):.1f} for 5m)",
        f"Load averages(1m 5m 15m): ({loads}), # of CPUs: {chance.randint(1, 64)}",
    )


_TEXTS: tuple[Callable[[random.Random, str], tuple[str, str]], ...] = (
    _cpu,
    _space,
    _link,
    _ping,
    _service,
    _load,
)
