"""What the other replicas are told before a POST, where each has a volume of its own (decision 16)."""

import asyncio
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from oase_agent.app.carrying import Carrier
from oase_agent.app.coordination import build_coordination
from oase_agent.config.load import load_config
from oase_agent.coordination.volume import VolumeCoordinator
from oase_agent.errors import AgentError, ConfigError, CoordinationUnavailable, OwnershipLost, Reason
from oase_agent.telemetry import Telemetry
from tests.unit.delivery_stage import Stage, staged


class Claims(VolumeCoordinator):
    """Records in memory, and how much was sent when each was written; a setting may be in trouble."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.directory, str)
        self._stage = stage
        self.records: dict[str, dict[str, Any]] = {}
        self.troubles: dict[str, AgentError] = {}
        self.refused = 0
        self.confirmed = 0
        self.most_at_once = 0
        self._at_once = 0

    async def confirm(self, since_s: float) -> None:
        self.confirmed += 1
        assert since_s > 0

    async def carry(self, setting_name: str, record: str) -> None:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await asyncio.sleep(0)
        self._at_once -= 1
        if setting_name in self.troubles:
            self.refused += 1
            raise self.troubles[setting_name]
        self.records[setting_name] = json.loads(record)

    def entrust(self, setting_name: str, record: str) -> None:
        raise NotImplementedError

    async def wish(self, tokens: Collection[str]) -> None:
        raise NotImplementedError


def begin(stage: Stage, *names: str) -> tuple[Carrier, Claims]:
    """Own settings of a volume of our own."""
    stage.spool.share_alone()
    for name in names:
        stage.spool.inherit(name, 1, None)
    claims = Claims(stage)
    return Carrier(claims, claims), claims


UNREACHABLE = CoordinationUnavailable("The API server did not answer UPDATE.", Reason.UNREACHABLE)
LOST = OwnershipLost("Another replica has taken the setting over.")


@pytest.mark.parametrize("trouble", [UNREACHABLE, LOST])
async def test_nothing_is_sent_that_no_record_counts(tmp_path: Path, trouble: AgentError) -> None:
    async with staged(tmp_path, "web") as stage:
        carrier, claims = begin(stage, "web")
        claims.troubles["web"] = trouble
        stage.collect("web", "1", "2")
        async with stage.running(confirm=carrier.confirm):
            await stage.until(lambda: claims.refused >= 3)
            assert stage.workspace.data_posts == []
            assert stage.account("web") == (2, 0, 2, 0)

            claims.troubles.clear()
            await stage.settled("web")
        [[(_, group_time, events)]] = stage.workspace.data_posts
        assert events == 2
        assert claims.records["web"]["ft"] >= group_time
        assert claims.records["web"]["seq"] == 1


async def test_every_request_is_counted_by_the_record_before_it(tmp_path: Path) -> None:
    async with staged(tmp_path, "web", "db") as stage:
        carrier, claims = begin(stage, "web", "db")
        async with stage.running(confirm=carrier.confirm):
            for number in range(5):
                for name in ("web", "db"):
                    stage.collect(name, f"{name}-{number}")
                await stage.settled("web", "db")
                counted = {name: record["ft"] for name, record in claims.records.items()}
                sent = {name: time for post in stage.workspace.data_posts for name, time, _ in post}
                assert all(counted[name] >= time for name, time in sent.items())
        assert {name: record["seq"] for name, record in claims.records.items()} == {"web": 5, "db": 5}


async def test_where_the_others_know_all_our_own_lease_is_read(tmp_path: Path) -> None:
    async with staged(tmp_path, "web") as stage:
        carrier, claims = begin(stage, "web")
        stage.collect("web", "1")
        queue = stage.queue("web")

        await carrier.confirm([queue])
        assert claims.confirmed == 0
        await carrier.confirm([queue])
        assert claims.confirmed == 1


async def test_one_setting_in_trouble_does_not_keep_the_others_records_back(tmp_path: Path) -> None:
    async with staged(tmp_path, "web", "db") as stage:
        carrier, claims = begin(stage, "web", "db")
        claims.troubles["web"] = UNREACHABLE
        for name in ("web", "db"):
            stage.collect(name, "1")
        async with stage.running(confirm=carrier.confirm):
            await stage.settled("db")
            assert stage.workspace.count("web") == 0
            claims.troubles.clear()
            await stage.settled("web")


async def test_the_record_of_a_setting_is_written_by_one_at_a_time(tmp_path: Path) -> None:
    async with staged(tmp_path, "web") as stage:
        carrier, claims = begin(stage, "web")
        stage.collect("web", "1")
        queue = stage.queue("web")

        written = await asyncio.gather(*(carrier.carry([queue]) for _ in range(5)))

        assert sorted(map(list, written)) == [[False]] * 4 + [[True]]
        assert claims.most_at_once == 1


@pytest.mark.parametrize("engine", ["auto", "none", "volume"])
def test_volumes_of_their_own_need_leases(tmp_path: Path, engine: str) -> None:
    environment = {
        "EXASTRO_URL": "http://127.0.0.1",
        "EXASTRO_ORGANIZATION_ID": "org001",
        "EXASTRO_WORKSPACE_ID": "ws01",
        "EXASTRO_REFRESH_TOKEN": "token",
        "AGENT_NAME": "agent-1",
        "EVENT_COLLECTION_SETTINGS_NAMES": "web",
        "STORAGE_PATH": str(tmp_path),
        "COORDINATION": engine,
        "COORDINATION_VOLUME": "own",
    }
    config, _ = load_config(environment)

    with pytest.raises(ConfigError, match="COORDINATION_VOLUME is own, but COORDINATION is"):
        build_coordination(config, Telemetry())
