"""The delivery of one setting: what of its queue goes next, and what to do with each answer.

Strictly one POST at a time carries batches of a setting. A batch whose content was refused is narrowed down by
halves until the one event is found that the workspace cannot take; the others go on (promise D3).

The methods that touch the volume block and raise SpoolUnavailable; the deliverer calls them in a thread.
"""

from collections.abc import Callable
from dataclasses import dataclass

from oase_agent.deliver.verdicts import Delivered, Fenced, Sent, SettingRefused, Unclear, Verdict
from oase_agent.errors import Reason
from oase_agent.retry import MIN_DELAY_S, RetryPolicy
from oase_agent.spool.outgoing import Outgoing
from oase_agent.spool.queue import SettingQueue
from oase_agent.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A range that was refused as a whole: batches up to `until_seq`, or of that batch events up to `until_event`."""

    until_seq: int
    until_event: int | None = None


class Course:
    """One setting's way to the workspace."""

    def __init__(
        self,
        queue: SettingQueue,
        telemetry: Telemetry,
        *,
        now: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self.queue = queue
        self._telemetry = telemetry
        self._now = now
        self._random = random
        self._attempts = 0
        self._suspect: _Suspect | None = None
        self.setting_name = queue.setting_name
        # A course whose last request failed or was refused shares no request with others.
        self.is_alone = False
        self.is_in_flight = False
        self.asked_for_settings = False
        # Monotonic seconds before which nothing is sent.
        self.not_before_s = 0.0
        self._has_settled_down = False

    # -- before sending -----------------------------------------------------------------------------------

    def load(self, max_bytes: int, overhead_bytes: int) -> Sent:
        """Return what goes next, up to `max_bytes`; without batches if nothing waits. Buries what is never posted.

        `overhead_bytes` is what each batch adds to its events in a request.
        """
        batches = self.queue.peek(max_bytes, overhead_bytes)
        while batches and batches[0].is_refused:
            self._bury(batches[0], Reason.UNSTORABLE_VALUE, "set aside when it was collected", attempts=0)
            batches = self.queue.peek(max_bytes, overhead_bytes)
        if batches and self._suspect is not None:
            batches = self._less_than_suspect(batches, self._suspect)
        return Sent(self.setting_name, self.queue.setting_id, batches)

    def _less_than_suspect(self, batches: list[Outgoing], suspect: _Suspect) -> list[Outgoing]:
        """Take half of what is left of a refused range: it is known to hold what cannot be stored."""
        first = batches[0]
        if first.seq < suspect.until_seq or suspect.until_event is None:
            within = [batch for batch in batches if batch.seq <= suspect.until_seq]
            is_whole_range = bool(within) and within[-1].seq == suspect.until_seq
            return within[: max(1, len(within) // 2)] if is_whole_range else within or batches
        half = max(1, (suspect.until_event - first.first_event) // 2)
        if first.seq > suspect.until_seq or first.until_event < suspect.until_event or first.count <= half:
            return batches[:1]
        self.queue.narrow(first, half)
        return self.queue.peek(0)

    def must_settle_down(self, monotonic_s: float) -> bool:
        """Put the first request off for a moment if an earlier life may have had one under way.

        The workspace may still be working on it, and its fence is not atomic: two requests must not race there
        (contract 3.2). Blocks like `load`.
        """
        if self._has_settled_down or not self.queue.may_have_been_sent:
            return False
        self._has_settled_down = True
        self.not_before_s = monotonic_s + MIN_DELAY_S
        return True

    # -- after an answer ----------------------------------------------------------------------------------

    def apply(self, sent: Sent, verdict: Verdict) -> None:
        """Do what a verdict asks for; raises SpoolUnavailable, after which the same may be sent again."""
        match verdict:
            case Delivered():
                self._delivered(sent)
            case Fenced(refused, latest):
                self._fenced(sent, refused, latest)
            case SettingRefused(reason, answer):
                self.refuse(sent, reason, answer)
            case Unclear(answer):
                for batch in sent.batches:
                    self._bury(batch, Reason.UNKNOWN_ANSWER, answer)
        self.succeeded()

    def _delivered(self, sent: Sent) -> None:
        self.queue.settle(sent.batches)
        self._telemetry.events_delivered(self.setting_name, self._now())
        last = sent.batches[-1]
        if self._suspect is not None and last.is_last_part and last.seq >= self._suspect.until_seq:
            self._suspect = None

    def _fenced(self, sent: Sent, refused: int, latest: int) -> None:
        if self.queue.owns(latest):
            # Stored by an attempt whose answer was lost; what of this request is newer was stored by this one.
            self.queue.learn_position(latest)
            rest = [batch for batch in sent.batches if batch.group_time > latest]
            if rest:
                self._delivered(Sent(sent.setting_name, sent.setting_id, rest))
            return
        self._telemetry.foreign_writer(self.setting_name)
        if refused < len(sent.batches):
            self.queue.requeue(sent.batches[:refused])
            self._delivered(Sent(sent.setting_name, sent.setting_id, sent.batches[refused:]))
        else:
            self.queue.learn_position(latest)

    def refuse(self, sent: Sent, reason: Reason, answer: str) -> None:
        """Bury everything sent: the workspace will not take it."""
        for batch in sent.batches:
            self._bury(batch, reason, answer)

    def narrow(self, sent: Sent, reason: Reason, answer: str) -> None:
        """The content was refused and nothing of it stored: send less of it, down to the one event at fault.

        Where an earlier attempt may have been stored, the workspace's position is asked for first.
        """
        first = sent.batches[0]
        if self.queue.may_have_been_sent:
            self.queue.doubt_position()
            return
        self.is_alone = True
        if len(sent.batches) > 1:
            self._suspect = _Suspect(sent.batches[-1].seq)
        elif first.count > 1:
            self._suspect = _Suspect(first.seq, first.until_event)
        else:
            self._bury(first, reason, answer)

    def _bury(self, batch: Outgoing, reason: Reason, answer: str, *, attempts: int | None = None) -> None:
        tried = self._attempts + 1 if attempts is None else attempts
        events = self.queue.bury(batch, reason.value, answer=answer, attempts=tried)
        self._telemetry.events_buried(self.setting_name, events, reason.value)
        # What is left of the range may hold more of the kind, or not: it is tried as a whole first.
        self._suspect = None

    # -- waiting ------------------------------------------------------------------------------------------

    def succeeded(self) -> None:
        """A request of this course was answered for good."""
        self._attempts = 0
        self.is_alone = self._suspect is not None
        self.not_before_s = 0.0

    def back_off(self, monotonic_s: float, policy: RetryPolicy, retry_after_s: float | None = None) -> None:
        """Wait before the next request of this course, longer each time, and share none with others."""
        self._attempts += 1
        self.is_alone = True
        self.not_before_s = monotonic_s + policy.delay_s(self._attempts, retry_after_s, self._random)
