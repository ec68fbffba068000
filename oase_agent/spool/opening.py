"""From a setting's directory to its open journal, and what becomes of that after trouble.

O1 The epoch is claimed before anything is read (see claim.py). Opening again after trouble confirms first: the
   setting must not be taken from who took it over meanwhile.
O2 Any trouble of the volume forgets the journal, and the next use recovers it from disk.
O3 Who has lost a setting to another process, or let it go, never opens it again.
O4 A full disk takes the reserve for opening and for what lets batches leave. What brings new ones fails instead, so
   that the room is left for those that wait.
"""

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oase_agent.errors import OwnershipLost, Reason, SpoolUnavailable
from oase_agent.spool.batch_file import Damage, NewerFormat
from oase_agent.spool.claim import claim, refuse_if_newer
from oase_agent.spool.dead import tidy
from oase_agent.spool.fence import OnTheWire
from oase_agent.spool.journal import Journal
from oase_agent.spool.queue_tools import QueueTools
from oase_agent.spool.recovery import highest_epoch
from oase_agent.spool.replay import is_waiting


class Opening:
    """Opens the journal of one setting when it is needed; `wire` is told what may be on the wire then.

    Epochs are above `epoch_floor`, which is that of the claim where replicas share the settings.
    """

    def __init__(
        self, directory: Path, setting_name: str, tools: QueueTools, wire: OnTheWire, epoch_floor: int = 0
    ) -> None:
        self._directory = directory
        self._setting_name = setting_name
        self._tools = tools
        self._wire = wire
        self._epoch_floor = epoch_floor
        self.changed_at_s = tools.monotonic()
        self._lock = threading.RLock()
        # The epoch of the last opening; who comes after it has taken over.
        self._epoch: int | None = None
        self._lost: OwnershipLost | None = None
        self._journal: Journal | None = None

    @property
    def journal(self) -> Journal | None:
        """The journal if it is open, for a look from any thread."""
        return self._journal

    @contextmanager
    def use(self, *, may_use_reserve: bool = True) -> Iterator[Journal]:
        """Give the journal to one thread at a time, recovered from disk if need be; raises SpoolUnavailable.

        Unless it `may_use_reserve`, what the caller does with the open journal just fails on a full disk.
        """
        with self._lock:
            if self._lost is not None:
                # A new one: an error that is raised again grows, and keeps what its traceback names.
                raise OwnershipLost(str(self._lost))
            try:
                if self._journal is None:
                    self._journal = self._recovered()
                yield self._journal
                self._tell(self._journal.troubles)
            except OwnershipLost as error:
                self._journal, self._lost = None, error
                self._tools.on_taken_over(self._setting_name, error)
                raise
            except OSError as error:
                was_opening, self._journal = self._journal is None, None
                raise self.failure(error, may_use_reserve=may_use_reserve or was_opening) from error
            except (NewerFormat, Damage) as error:
                self._journal = None
                raise SpoolUnavailable(
                    f"The spool of setting {self._setting_name!r} cannot be used: {error}.", Reason.DAMAGED
                ) from error

    def forget(self) -> None:
        """Let the next use recover the journal from disk."""
        with self._lock:
            self._journal = None

    def let_go(self, *, save: bool) -> None:
        """Never open the setting again here; first make durable what memory knows, if told to `save`.

        Returns when no thread works with the journal any more. Raises SpoolUnavailable if it could not be saved.
        """
        with self._lock:
            journal, self._journal = self._journal, None
            if self._lost is None:
                self._lost = OwnershipLost(f"Setting {self._setting_name!r} was let go.")
            if journal is None or not save:
                return
            try:
                journal.save_cursor()
            except OSError as error:
                raise self.failure(error, may_use_reserve=True) from error

    def failure(self, error: OSError, *, may_use_reserve: bool) -> SpoolUnavailable:
        """Return what to raise for an error of the volume, after the reserve was given up if that may help."""
        if may_use_reserve and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            self._tools.on_full()
        return SpoolUnavailable(
            f"The volume failed for setting {self._setting_name!r}: {error.strerror or error}. "
            "Check the volume behind STORAGE_PATH.",
            Reason.DISK,
        )

    def _recovered(self) -> Journal:
        if self._epoch is not None:
            refuse_if_newer(self._tools.disk, self._directory, self._setting_name, self._epoch)
        self._tools.check_place()
        epoch = self._claimed()
        # What is found here counts as committed now: another owner may have written it.
        self.changed_at_s = self._tools.monotonic()
        troubles: list[str] = []
        try:
            journal = Journal.open(
                self._tools.disk,
                self._directory,
                self._setting_name,
                epoch=epoch,
                first_cursor_time=int(self._tools.now()),
                sent_window=self._tools.sent_window,
                troubles=troubles,
            )
            self._wire.opened(journal.checkpoint)
            # An older checkpoint may call waiting what had left as a letter: after damage no letter is given up.
            self._tidy_letters(journal, is_sure=not troubles)
        finally:
            # Also when it failed after something was set aside: the next attempt finds nothing to tell.
            self._tell(troubles)
        return journal

    def _claimed(self) -> int:
        """Claim the epoch of this opening."""
        disk, directory = self._tools.disk, self._directory
        disk.make_directory(directory)
        # Known from here on, whatever fails after it: our own claim must not look like somebody else's.
        highest = max(highest_epoch(disk.names(directory)), self._epoch_floor)
        self._epoch = claim(disk, directory, above=highest)
        return self._epoch

    def _tidy_letters(self, journal: Journal, *, is_sure: bool) -> None:
        tidy(
            self._tools.disk,
            self._directory,
            lambda name: is_sure and is_waiting(journal, name),
            before_removing=journal.begin_writing,
        )

    def _tell(self, troubles: list[str]) -> None:
        """Tell what was found damaged, once."""
        for trouble in troubles:
            self._tools.telemetry.spool_damaged(self._setting_name, trouble)
        troubles.clear()
