"""One request to the workspace and everything that follows from its answer (table of design section 6)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from oase_agent.deliver.course import Course
from oase_agent.deliver.gate import Gate
from oase_agent.deliver.post_limit import PostLimit
from oase_agent.deliver.verdicts import Sent, SettingRefused, Unclear, Verdict, judge, position_in
from oase_agent.errors import (
    CoordinationUnavailable,
    OwnershipLost,
    Reason,
    RequestTooLarge,
    SpoolUnavailable,
    WorkspaceRejected,
    WorkspaceUnavailable,
)
from oase_agent.retry import RetryPolicy
from oase_agent.spool.queue import SettingQueue
from oase_agent.telemetry import Telemetry
from oase_agent.workspace.client import WorkspaceClient
from oase_agent.workspace.refusals import Refusal
from oase_agent.workspace.wire import EventGroup

# Asked before a POST whether this replica still owns what it sends from these queues: the answer must be younger than
# their `changed_at_s` (invariant I9). Raises OwnershipLost, CoordinationUnavailable or SpoolUnavailable.
Confirm = Callable[[Sequence[SettingQueue]], Awaitable[None]]


async def alone(_queues: Sequence[SettingQueue]) -> None:
    """Confirm where no replicas share the settings: the lock on the directory, and the claim there, are enough."""


# What is under way of the chosen settings: each course with its batches.
Chosen = Sequence[tuple[Course, Sent]]


@dataclass(frozen=True, slots=True)
class Handover:
    """What one request needs. `reload_settings` is awaited once before events are buried for their setting's name."""

    workspace: WorkspaceClient
    telemetry: Telemetry
    gate: Gate
    limit: PostLimit
    policy: RetryPolicy
    monotonic: Callable[[], float]
    reload_settings: Callable[[], Awaitable[None]]
    confirm: Confirm = alone

    async def hand_over(self, chosen: Chosen, size_bytes: int) -> None:
        """Post batches and settle them; every failure ends as a wait, a smaller request or a dead letter."""
        unproven = [(course, sent) for course, sent in chosen if not course.queue.position_is_known]
        try:
            if unproven:
                await self._learn_positions(unproven)
            else:
                await self._post(chosen, size_bytes)
        except WorkspaceUnavailable as error:
            self._wait(chosen, error)
        except (OwnershipLost, CoordinationUnavailable):
            # Told where owners come and go, which also decides what becomes of these settings.
            for course, _ in chosen:
                course.back_off(self.monotonic(), self.policy)
        except SpoolUnavailable as error:
            for course, _ in chosen:
                self.volume_failed(course, error)

    def volume_failed(self, course: Course, error: SpoolUnavailable) -> None:
        """Hold a course back whose volume failed; what was sent may be sent again, which the fence makes harmless."""
        self.telemetry.volume_failed(course.setting_name, error)
        course.back_off(self.monotonic(), self.policy)

    async def _post(self, chosen: Chosen, size_bytes: int) -> None:
        await asyncio.to_thread(_before_sending, chosen)
        await self.confirm([course.queue for course, _ in chosen])
        groups = [
            EventGroup(sent.setting_name, batch.group_time, batch.events)
            for _, sent in chosen
            for batch in sent.batches
        ]
        try:
            refusals = await self.workspace.post_events(groups)
        except WorkspaceUnavailable as error:
            if not error.certainly_not_stored:
                _answer_lost(chosen)
                if error.reason is Reason.UNREACHABLE:
                    self.limit.cut(size_bytes)
            raise
        except RequestTooLarge:
            await self._too_large(chosen, size_bytes)
        except WorkspaceRejected as error:
            await self._rejected(chosen, error)
        except asyncio.CancelledError:
            _answer_lost(chosen)
            raise
        else:
            self.limit.accepted(size_bytes)
            self._workspace_answers()
            await self._settle(chosen, refusals)

    async def _settle(self, chosen: Chosen, refusals: Sequence[Refusal]) -> None:
        verdicts = judge([sent for _, sent in chosen], refusals)
        for (course, sent), verdict in zip(chosen, verdicts, strict=True):
            try:
                await self._apply(course, sent, verdict)
            except SpoolUnavailable as error:
                self.volume_failed(course, error)

    async def _apply(self, course: Course, sent: Sent, verdict: Verdict) -> None:
        if isinstance(verdict, SettingRefused):
            if not course.asked_for_settings:
                await self._ask_for_settings(course)
                return
        else:
            course.asked_for_settings = False
        await asyncio.to_thread(course.apply, sent, verdict)
        self.telemetry.delivery_works_again(course.setting_name)

    async def _ask_for_settings(self, course: Course) -> None:
        course.asked_for_settings = True
        course.is_alone = True
        await self.reload_settings()

    async def _learn_positions(self, unproven: Chosen) -> None:
        """Ask where the fence of each setting stands before anything of it is sent in this life."""
        # Positions are told by setting id. A setting whose id was never learned is asked for alone.
        nameless = [(course, sent) for course, sent in unproven if not sent.setting_id]
        unproven = nameless[:1] or unproven
        if any(
            [await asyncio.to_thread(course.must_settle_down, self.monotonic()) for course, _ in unproven]
        ):
            return
        try:
            refusals = await self.workspace.probe_positions([sent.setting_name for _, sent in unproven])
        except (WorkspaceRejected, RequestTooLarge) as error:
            raise WorkspaceUnavailable(str(error), error.reason, request_only=True) from error
        self._workspace_answers()
        for course, sent in unproven:
            await self._take_position(course, sent, position_in(sent, refusals))

    async def _take_position(self, course: Course, sent: Sent, position: int | Verdict | None) -> None:
        if isinstance(position, Unclear):
            raise WorkspaceUnavailable(
                f"the workspace's position for {course.setting_name!r} could not be read",
                Reason.UNKNOWN_ANSWER,
                request_only=True,
            )
        if isinstance(position, int | None):
            is_ours = await asyncio.to_thread(course.queue.learn_position, position)
            if not is_ours:
                self.telemetry.foreign_writer(course.setting_name)
        else:
            await self._apply(course, sent, position)

    async def _too_large(self, chosen: Chosen, size_bytes: int) -> None:
        self._workspace_answers()
        is_lower = self.limit.refused(size_bytes)
        if is_lower:
            self.telemetry.post_limit_lowered(self.limit.bytes)
        # Several batches: the next request is filled up to the lower limit only. Where it cannot be lowered any more,
        # and for a single batch, the size is a matter of the content.
        if not is_lower or len(chosen) == len(chosen[0][1].batches) == 1:
            await self._split(chosen, Reason.TOO_LARGE, "refused for its size (413)")

    async def _rejected(self, chosen: Chosen, error: WorkspaceRejected) -> None:
        self._workspace_answers()
        if len(chosen) == 1 and error.reason is Reason.UNKNOWN_SETTING:
            course, sent = chosen[0]
            await self._apply(course, sent, SettingRefused(error.reason, error.answer))
        else:
            await self._split(chosen, error.reason, error.answer)

    async def _split(self, chosen: Chosen, reason: Reason, answer: str) -> None:
        """Nothing of the request was stored: send less of it, by setting, then batch, then event."""
        if len(chosen) > 1:
            for course, _ in chosen:
                course.is_alone = True
        else:
            course, sent = chosen[0]
            await asyncio.to_thread(course.narrow, sent, reason, answer)

    def _wait(self, chosen: Chosen, error: WorkspaceUnavailable) -> None:
        if not error.request_only:
            self.telemetry.workspace_away(error)
            self.gate.close(error, self.monotonic())
            return
        for course, _ in chosen:
            self.telemetry.delivery_hindered(course.setting_name, error)
            course.back_off(self.monotonic(), self.policy, error.retry_after_s)

    def _workspace_answers(self) -> None:
        self.gate.open()
        self.telemetry.workspace_back()


def _before_sending(chosen: Chosen) -> None:
    for course, sent in chosen:
        course.queue.before_sending(sent.batches[-1])


def _answer_lost(chosen: Chosen) -> None:
    for course, sent in chosen:
        course.queue.answer_lost(sent.batches[-1])
