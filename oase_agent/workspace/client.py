"""Speak the workspace API: fetch settings, post events, ask for positions (contract section 3).

Every answer becomes either data or one error of the tree in `oase_agent.errors`. After a 401-00002 the token is
renewed once and the request repeated once. Nothing is kept here and nothing waits here: order, back-off and what
happens to a refused batch belong to the deliverer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from oase_agent.errors import Reason, RequestTooLarge, WorkspaceRejected, WorkspaceUnavailable
from oase_agent.model import AgentIdentity
from oase_agent.workspace.answers import (
    EventsRefused,
    Refusal,
    accepted_data,
    parse_refusals,
    read_answer,
)
from oase_agent.workspace.token import Credentials
from oase_agent.workspace.transport import Call, Transport
from oase_agent.workspace.wire import (
    EMPTY_EVENTS,
    EventGroup,
    Piece,
    WorkspaceAddress,
    events_pieces,
    settings_request,
)

_JSON = "application/json"
_PROBE_TIME = 1  # epoch seconds; older than anything stored, so the fence always names its position


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits of a whole request in seconds.

    Events have the reference's read timeout (contract 2): a busy gateway may queue them for minutes, and a repeat
    would only add to its queue.
    """

    settings_s: float = 60.0
    events_s: float = 600.0


DEFAULT_TIMEOUTS = Timeouts()


class WorkspaceClient:
    """The workspace API for one agent. Use it as a context manager: it opens and closes `transport`.

    `agent` is the identity in every POST. Every method raises WorkspaceUnavailable when the same may work later.
    """

    def __init__(
        self,
        transport: Transport,
        address: WorkspaceAddress,
        credentials: Credentials,
        agent: AgentIdentity,
        *,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
    ) -> None:
        self._transport = transport
        self._address = address
        self._credentials = credentials
        self._agent = agent
        self._timeouts = timeouts

    async def __aenter__(self) -> Self:
        """Open the transport."""
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the credentials, which still need the transport, and then the transport."""
        try:
            await self._credentials.close()
        finally:
            await self._transport.__aexit__(kind, error, trace)

    async def fetch_settings(self, names: Sequence[str]) -> list[object]:
        """Return the raw rows of the settings with these names; secrets are still encrypted.

        The workspace leaves out unknown and discarded names. No names, no request.
        """
        if not names:
            return []
        body = [settings_request(names)]
        try:
            return await self._call("settings", self._address.settings_url, body, self._timeouts.settings_s)
        except (WorkspaceRejected, RequestTooLarge) as error:
            # No event is at stake here, so there is nothing to split or to set aside: ask again later.
            raise WorkspaceUnavailable(f"settings: {error}", error.reason) from error

    async def post_events(self, groups: Sequence[EventGroup]) -> tuple[Refusal, ...]:
        """Post `groups`, at least one, and return what the workspace refused of them; `()` is: all stored.

        Raises EventsRefused (a WorkspaceRejected) when the content was refused as a whole, RequestTooLarge for its
        size. Unless a WorkspaceUnavailable is `certainly_not_stored`, the events may have been stored.
        """
        return await self._post("events", groups)

    async def probe_positions(self, names: Sequence[str]) -> tuple[Refusal, ...]:
        """Ask where the fence of each setting stands, without side effect (contract 3.2, consequence 8).

        A `NotLatest` names the latest stored group time of a setting; a setting without any text has no history.
        """
        if not names:
            return ()
        groups = [EventGroup(name, _PROBE_TIME, EMPTY_EVENTS) for name in names]
        try:
            return await self._post("positions", groups)
        except EventsRefused as error:
            # An unknown name turns the answer into a 499-01802, which still holds all texts. Without any text, "no
            # history" would be a guess.
            if error.reason is not Reason.UNKNOWN_SETTING or not error.refusals:
                raise
            return error.refusals

    async def _post(self, endpoint: str, groups: Sequence[EventGroup]) -> tuple[Refusal, ...]:
        body = events_pieces(groups, self._agent)
        return parse_refusals(
            await self._call(endpoint, self._address.events_url, body, self._timeouts.events_s)
        )

    async def _call(self, endpoint: str, url: str, body: Sequence[Piece], timeout_s: float) -> list[object]:
        used = await self._credentials.authorization()
        try:
            return await self._send(endpoint, Call(url, body, _JSON, timeout_s, used))
        except WorkspaceUnavailable as error:
            is_refused = error.reason is Reason.TOKEN_REFUSED
            if not is_refused or not await self._credentials.renew_after_refusal(used):
                raise
        # Outside the handler: a second refusal is final, and is not reported as a failure of handling the first.
        renewed = await self._credentials.authorization()
        return await self._send(endpoint, Call(url, body, _JSON, timeout_s, renewed))

    async def _send(self, endpoint: str, call: Call) -> list[object]:
        with self._transport.observed(endpoint):
            raw = await self._transport.post(call)
            return accepted_data(read_answer(raw.status, raw.body, raw.retry_after_s))
