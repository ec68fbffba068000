"""All queues of one agent in its directory on the volume.

<STORAGE_PATH>/<organization>/<workspace>/<agent>/
.lock           held by the one process that owns the directory, or by all replicas that share it
reserve.bin     given up when the disk is full
s/<slug>-<hash8>/       one directory a setting: see queue.py, batch_file.py and state.py
out.*.jsonl   state.*.json   seen.*.txt   owner/   dead/   replay/   bad/
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from oase_agent.disk import Disk
from oase_agent.errors import OwnershipLost, SpoolUnavailable
from oase_agent.spool.batch_file import Damage, FileName, NewerFormat
from oase_agent.spool.collection_file import BatchLimits
from oase_agent.spool.journal import SENT_WINDOW
from oase_agent.spool.known_ids import IdPolicy
from oase_agent.spool.leftovers import has_leftovers
from oase_agent.spool.limits import Admission, Reserve, SpoolLimits, VolumeSpace, space_of
from oase_agent.spool.lock import DirectoryLock
from oase_agent.spool.outgoing import setting_name_of
from oase_agent.spool.packing import PackLimits
from oase_agent.spool.queue import SettingQueue
from oase_agent.spool.queue_tools import QueueTools
from oase_agent.spool.state import StateName, read_checkpoint
from oase_agent.spool.succession import Inherited
from oase_agent.telemetry import Telemetry

SETTINGS_DIRECTORY = "s"
_SLUG_LENGTH = 40
# A slow volume must not delay a stop, in seconds.
_CLOSING_S = 0.3


def setting_directory(setting_name: str) -> str:
    """Return the name of a setting's directory: readable, unique, and safe on every file system.

    Lower case only, because SMB does not tell cases apart; the hash is over the exact name.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", setting_name.lower()).strip("-")[:_SLUG_LENGTH] or "setting"
    digest = hashlib.blake2b(setting_name.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{slug}-{digest}"


def setting_name_in(disk: Disk, directory: Path) -> str | None:
    """Return whose directory it is, by its checkpoints, else by its batches; None if nothing in it tells.

    Writes nothing, so that it may be asked while another process owns the spool. Raises OSError.
    """
    names = disk.names(directory)
    for name in sorted(filter(None, map(StateName.parse, names)), reverse=True):
        try:
            return read_checkpoint(disk, directory / str(name)).setting_name
        except (Damage, NewerFormat):
            continue
    for file in sorted(filter(None, map(FileName.parse, names)), key=lambda file: file.first):
        labelled = setting_name_of(disk, directory / str(file))
        if labelled is not None:
            return labelled
    return None


class Spool:
    """Opens, lists and guards the queues of one agent."""

    def __init__(
        self,
        directory: Path,
        *,
        limits: SpoolLimits,
        ids: IdPolicy,
        now: Callable[[], float],
        telemetry: Telemetry,
        disk: Disk | None = None,
        space: Callable[[Path], VolumeSpace] = space_of,
        batches: BatchLimits | None = None,
        sent_window: int = SENT_WINDOW,
        packing: PackLimits | None = None,
    ) -> None:
        self._directory = directory
        self._disk = disk or Disk()
        self._lock = DirectoryLock(self._disk, directory)
        self._reserve = Reserve(self._disk, directory)
        self._tools = QueueTools(
            self._disk,
            ids,
            now,
            telemetry,
            self._reserve.release,
            batches or BatchLimits(),
            sent_window,
            self._lock.check_place,
            self._tell_taken_over,
            packing or PackLimits(),
        )
        self._on_taken_over: Callable[[str, OwnershipLost], None] = lambda _name, _error: None
        self._queues: dict[str, SettingQueue] = {}
        self._is_shared = False
        self._names: dict[str, str] = {}
        self._listeners: list[Callable[[], None]] = []
        self._space = space
        self.admission = Admission(limits, self._used_bytes, lambda: space(directory))

    # -- the directory ------------------------------------------------------------------------------------

    def try_own(self) -> bool:
        """Take the directory for this process; return False while another one has it. Raises OSError."""
        return self._lock.acquire()

    def try_share(self) -> bool:
        """Use the directory together with other replicas: settings must be taken one by one.

        Raises OSError and SpoolUnavailable. Returns False while an agent that does not share has it.
        """
        # What was opened while the directory was ours alone is anybody's now.
        for setting_name in list(self._queues):
            self.let_go(setting_name, save=True)
        self._is_shared = self._lock.share()
        return self._is_shared

    def share_alone(self) -> None:
        """Share the settings with replicas that have volumes of their own: they must be taken one by one.

        Raises SpoolUnavailable.
        """
        for setting_name in list(self._queues):
            self.let_go(setting_name, save=True)
        self._is_shared = True

    def disown(self) -> None:
        """Let another process have the directory."""
        self._lock.release()

    def when_taken_over(self, listener: Callable[[str, OwnershipLost], None]) -> None:
        """Call `listener`, from any thread, with a setting that another process owns. It must not block."""
        self._on_taken_over = listener

    def _tell_taken_over(self, setting_name: str, error: OwnershipLost) -> None:
        self._on_taken_over(setting_name, error)

    def open_existing(self) -> None:
        """Make a queue of every setting that left a directory, so that its batches are delivered. Raises OSError."""
        for setting_name in self.existing_names():
            self.queue(setting_name)

    def existing_names(self) -> list[str]:
        """Return the names of all settings that have a directory here, whoever owns them. Raises OSError."""
        settings = self._directory / SETTINGS_DIRECTORY
        try:
            directories = self._disk.names(settings)
        except FileNotFoundError:
            return []
        for name in directories:
            if name in self._names:
                continue
            try:
                setting_name = self._setting_name_in(settings / name)
            except NotADirectoryError:
                continue
            except OSError as error:
                self._tools.telemetry.spool_damaged(
                    name, f"directory {name} cannot be read: {error.strerror}"
                )
                continue
            if setting_name is not None:
                self._names[name] = setting_name
        return [self._names[name] for name in directories if name in self._names]

    def names_with_leftovers(self) -> list[str]:
        """Return the settings of which batches wait here, and whose queues are not in use. Raises OSError."""
        self.existing_names()
        settings = self._directory / SETTINGS_DIRECTORY
        return [
            setting_name
            for directory, setting_name in self._names.items()
            if setting_name not in self._queues and has_leftovers(self._disk, settings / directory)
        ]

    def _setting_name_in(self, directory: Path) -> str | None:
        names = self._disk.names(directory)
        setting_name = setting_name_in(self._disk, directory)
        if setting_name is not None:
            return setting_name
        if any(StateName.parse(name) or FileName.parse(name) for name in names):
            self._tools.telemetry.spool_damaged(
                directory.name,
                f"nothing in {directory.name} tells which setting it belongs to; it is left alone",
            )
        return None

    # -- queues -------------------------------------------------------------------------------------------

    def queue(self, setting_name: str) -> SettingQueue:
        """Return the queue of a setting; it is recovered from disk at its first use.

        Raises OwnershipLost for a setting that was not taken, where the directory is shared.
        """
        if setting_name not in self._queues:
            if self._is_shared:
                raise OwnershipLost(f"Setting {setting_name!r} is another replica's.")
            self._queues[setting_name] = self._new_queue(setting_name, 0)
        return self._queues[setting_name]

    def take(self, setting_name: str, epoch: int) -> SettingQueue:
        """Own a setting of a shared directory under a claim's `epoch`. Raises SpoolUnavailable."""
        queue = self._new_queue(setting_name, epoch - 1)
        queue.open()
        self._queues[setting_name] = queue
        return queue

    def inherit(self, setting_name: str, epoch: int, record: str | None) -> Inherited:
        """Own a setting as `take` does, and go on from where the owner before us left it (see succession.py).

        `record` is what that one left in the claim. Raises SpoolUnavailable.
        """
        queue = self._new_queue(setting_name, epoch - 1)
        inherited = queue.succession.inherit(setting_name, epoch, record)
        # Not earlier: nothing may be sent from it before.
        self._queues[setting_name] = queue
        return inherited

    def let_go(self, setting_name: str, *, save: bool) -> None:
        """Let another replica own a setting: nothing of it is read or written here any more.

        With `save`, what memory knows is made durable first. Blocks until no thread works with its queue; raises
        SpoolUnavailable if it could not be saved.
        """
        queue = self._queues.pop(setting_name, None)
        if queue is not None:
            queue.let_go(save=save)

    def _new_queue(self, setting_name: str, epoch_floor: int) -> SettingQueue:
        directory = self._directory / SETTINGS_DIRECTORY / setting_directory(setting_name)
        return SettingQueue(directory, setting_name, self._tools, epoch_floor)

    def open_queues(self, setting_names: Iterable[str]) -> None:
        """Recover or begin the queues of these settings; one that fails is told, and tried again when it is used."""
        for name in setting_names:
            try:
                self.queue(name).open()
            except SpoolUnavailable as error:
                self._tools.telemetry.volume_failed(name, error)

    def queues(self) -> Iterator[SettingQueue]:
        """Yield every queue there is."""
        yield from list(self._queues.values())

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever something new waits; it must not block."""
        self._listeners.append(listener)

    def announce(self) -> None:
        """Tell the listeners that something new waits."""
        for listener in self._listeners:
            listener()

    # -- upkeep -------------------------------------------------------------------------------------------

    def maintain(self) -> None:
        """Pack small files, revive marked letters, restore the reserve; now and then, from a thread.

        Trouble of one queue is told, and the others are maintained. Raises OSError if the reserve cannot be restored.
        """
        self._reserve.restore(self._space(self._directory).free_bytes)
        for queue in self.queues():
            try:
                self._maintain(queue)
            except SpoolUnavailable as error:
                self._tools.telemetry.volume_failed(queue.setting_name, error)
            else:
                self._tools.telemetry.volume_works_again(queue.setting_name)

    def _maintain(self, queue: SettingQueue) -> None:
        while queue.pack():
            pass
        if queue.replay():
            self.announce()

    def close(self) -> None:
        """Make the cursors durable, as far as time allows, and let the directory go.

        A cursor that is not saved costs nothing but asking again for a time that had no events.
        """
        deadline_s = time.monotonic() + _CLOSING_S
        for queue in self.queues():
            if time.monotonic() > deadline_s:
                break
            try:
                queue.checkpoint()
            except SpoolUnavailable as error:
                self._tools.telemetry.volume_failed(queue.setting_name, error)
        self.disown()

    def _used_bytes(self) -> int:
        figures = (queue.figures() for queue in self.queues())
        return sum(queue.waiting_bytes for queue in figures if queue is not None)
