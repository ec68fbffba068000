"""`oase-agent status`: ask the running agent on this host how it is."""

import sys
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any

import orjson

from oase_agent.cli.main import EXIT_FAILED, EXIT_FINE
from oase_agent.cli.terminal import duration, local_time, printable, table
from oase_agent.config.groups import AdminOptions
from oase_agent.config.load import load_admin
from oase_agent.errors import ConfigError

# The agent answers from memory; what takes longer than this, in seconds, is not going to come.
_TIMEOUT_S = 5.0
# "Any address" is good for listening, not for connecting. The two families do not stand in for each other.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing listens here
_HEADINGS = ("SETTING", "STATE", "COLLECTED", "DELIVERED", "WAITING", "DEAD", "OLDEST", "TROUBLE")
_NUMBERS = range(2, 7)
_SHOWN_MOVES = 5


class _NoAgent(Exception):
    """What answers, if anything, is not a running agent; the text says why."""


def status(environment: Mapping[str, str], *, as_json: bool) -> int:
    """Print how the running agent is; return 0 when it is ready, else 1. Only ADMIN_* is read. Raises ConfigError."""
    admin = load_admin(environment)
    if admin.port == 0:
        raise ConfigError(
            ("ADMIN_PORT is 0, so the agent chose a port: give the one in its log line admin_listens.",)
        )
    host = _LOOPBACK.get(admin.host, admin.host)
    try:
        answer = _ask(host, admin.port)
        document = _document(answer)
        shown = answer.decode() if as_json else "\n".join(map(printable, _report(document)))
    except _NoAgent as error:
        print(_unreachable(host, admin, error), file=sys.stderr)
        return EXIT_FAILED
    print(shown)
    return EXIT_FINE if document["ready"] else EXIT_FAILED


def _ask(host: str, port: int) -> bytes:
    # http.client knows no proxies, which must not come between the command and its own host.
    connection = HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/api/status")
        response = connection.getresponse()
        body = response.read()
    except OSError as error:
        raise _NoAgent(error.strerror or "no answer in time") from error
    except HTTPException as error:
        raise _NoAgent("what answers does not speak HTTP") from error
    finally:
        connection.close()
    if response.status != 200:
        raise _NoAgent(f"what answers is no agent: status {response.status}")
    return body


def _document(answer: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(answer)
    except orjson.JSONDecodeError as error:
        raise _NoAgent("what answers is no agent: its answer is not JSON") from error
    if not isinstance(document, dict) or not isinstance(document.get("ready"), bool):
        raise _NoAgent("what answers is no agent: its answer says nothing about being ready")
    return document


def _report(document: Mapping[str, Any]) -> Iterator[str]:
    try:
        return iter([*_head(document), "", *table([_HEADINGS, *_rows(document)], right=_NUMBERS)])
    except (KeyError, TypeError, ValueError) as error:
        raise _NoAgent("the agent is of another version: ask it with --json") from error


def _head(document: Mapping[str, Any]) -> Iterator[str]:
    yield "ready" if document["ready"] else "NOT READY"
    for reason in document["unready"]:
        yield f"  {reason}"
    yield f"agent      {document['agent_name']}, version {document['version']}"
    yield f"workspace  {document['workspace_id']} of organization {document['organization_id']}"
    started_s = document["started_at_s"]
    yield f"up         {duration(document['now_s'] - started_s)}, since {local_time(started_s)}"
    yield from _sharing(document.get("sharing"))


def _sharing(sharing: Mapping[str, Any] | None) -> Iterator[str]:
    if sharing is None:
        return
    yield f"replica    {sharing['replica']}, one of {len(sharing['replicas'])} by {sharing['engine']}"
    for move in sharing["moves"][:_SHOWN_MOVES]:
        yield f"           {local_time(move['at_s'])} {move['change'].replace('_', ' ')}: {move['setting']}"


def _rows(document: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for setting in document["settings"]:
        yield (
            setting["name"],
            setting["state"],
            *_figures(setting["figures"], document["now_s"]),
            "; ".join(_remarks(setting, document["now_s"])),
        )


def _remarks(setting: Mapping[str, Any], now_s: float) -> Iterator[str]:
    """Yield why a setting is not collected or not delivered, and when its source is asked again."""
    owner, since_s = setting.get("owner"), setting.get("owned_since_s")
    if since_s is not None:
        yield f"owned here since {local_time(since_s)}"
    elif owner is not None:
        yield f"owned by {owner}"
    if setting["trouble"]:
        yield setting["trouble"]
    again_s = setting.get("next_attempt_at_s")
    if again_s is not None:
        yield f"asked again in {duration(again_s - now_s)}"


def _figures(figures: Mapping[str, Any] | None, now_s: float) -> tuple[str, ...]:
    if figures is None:  # the queue was not opened yet
        return ("-",) * len(_NUMBERS)
    oldest = figures["oldest_group_time"]
    counts = (str(figures[name]) for name in ("collected", "delivered", "waiting", "dead"))
    return *counts, "-" if oldest is None else duration(now_s - oldest)


def _unreachable(host: str, admin: AdminOptions, error: _NoAgent) -> str:
    return printable(
        f"oase-agent: no agent answers at {host} port {admin.port} ({error}): is it running, and is ADMIN_PORT the "
        "one it listens on?"
    )
