"""What every queue of a spool shares."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from oase_agent.disk import Disk
from oase_agent.errors import OwnershipLost
from oase_agent.spool.collection_file import BatchLimits
from oase_agent.spool.journal import SENT_WINDOW
from oase_agent.spool.known_ids import IdPolicy
from oase_agent.spool.packing import PackLimits
from oase_agent.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class QueueTools:
    """The volume, the clock, the limits, and who is told of what.

    `on_full` is called when the volume has no space left for opening a queue, or for what lets batches leave.
    `sent_window` is how many batches may be sent before a checkpoint must raise what may be on the wire.
    `check_place` raises OSError when the directory is not the one that is owned: a queue must not begin anew in the
    empty place of a volume that is gone. `on_taken_over` is called with the name of a setting that another process
    was found to own; the queue is of no use from then on. `monotonic` is seconds that count while the host sleeps.
    """

    disk: Disk
    policy: IdPolicy
    now: Callable[[], float]
    telemetry: Telemetry
    on_full: Callable[[], None] = lambda: None
    batches: BatchLimits = field(default_factory=BatchLimits)
    sent_window: int = SENT_WINDOW
    check_place: Callable[[], None] = lambda: None
    on_taken_over: Callable[[str, OwnershipLost], None] = lambda _name, _error: None
    packing: PackLimits = field(default_factory=PackLimits)
    monotonic: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
