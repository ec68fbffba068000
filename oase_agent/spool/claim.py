"""Which life of which process may write in a setting's directory: the one with the highest claim.

    owner/<epoch>      empty; made once, by the life that writes under this epoch

The lock of the spool keeps a second process away. It can be lost without its holder knowing: on a network volume
after a partition, or where locks do not pass between hosts (durability study 1.2). So every opening of a queue claims
an epoch of its own before it looks at anything else, and a writer looks for a higher claim at two moments:

C1 After a commit and before a POST (invariant I9). What was committed before the new owner looked is in its queue
   with the same group time, so the workspace stores it once. What was committed later is never sent by the old one.
C2 After a checkpoint and before what it settles is unlinked. What an old owner may still unlink, its checkpoint
   called settled before the new owner looked.

The new owner's first write is a checkpoint that names the last batch it found (`seal`). Files of an older epoch with
a later batch were renamed by an old owner that did not know yet: they are orphans (invariant I10), set aside.

Only listing and creating are used, because these are what a network volume shows at once; reading order is the proof.
"""

import contextlib
import errno
from pathlib import Path

from oase_agent.disk import Disk
from oase_agent.errors import OwnershipLost

OWNER_DIRECTORY = "owner"


def claim(disk: Disk, directory: Path, *, above: int) -> int:
    """Claim the lowest epoch higher than `above` and every claim so far; return it. Raises OSError.

    `directory` is the setting's; `above` is the highest epoch in the names of its files, which a power cut may have
    kept although it took the claim.
    """
    folder = directory / OWNER_DIRECTORY
    disk.make_directory(folder)
    earlier = _claims(disk, folder)
    epoch = 1 + max([above, *earlier])
    while not _create(disk, folder, epoch):
        epoch += 1
    for lower in earlier:
        # Only weight: the claim is made, and must not look like a failed one.
        with contextlib.suppress(OSError):
            disk.unlink(folder / _name(lower))
    return epoch


def confirm(disk: Disk, directory: Path, setting_name: str, epoch: int) -> None:
    """Return if the setting is still claimed by `epoch`, and by nobody after it.

    Raises OwnershipLost, and OSError also when the claim is gone: then the queue must be opened anew.
    """
    if epoch not in refuse_if_newer(disk, directory, setting_name, epoch):
        raise OSError(errno.ESTALE, "The claim on the setting is gone")


def refuse_if_newer(disk: Disk, directory: Path, setting_name: str, epoch: int) -> list[int]:
    """Return the claims there are if none came after `epoch`; raises OwnershipLost and OSError."""
    claims = _claims(disk, directory / OWNER_DIRECTORY)
    if max(claims, default=epoch) > epoch:
        raise OwnershipLost(
            f"Another process has taken over setting {setting_name!r} in STORAGE_PATH although this one holds the "
            "lock: stop one of them, and check that the volume passes locks between hosts (NFS without nolock or "
            "local_lock, SMB without nobrl)."
        )
    return claims


def _claims(disk: Disk, folder: Path) -> list[int]:
    return [int(name) for name in disk.names(folder) if name.isascii() and name.isdecimal()]


def _create(disk: Disk, folder: Path, epoch: int) -> bool:
    try:
        descriptor = disk.create(folder / _name(epoch))
    except FileExistsError:
        # Another process was faster; or, on NFS, our own request was repeated. The next number is free for one of us.
        return False
    # The name is the claim: there is no content that closing could lose.
    with contextlib.suppress(OSError):
        disk.close(descriptor)
    return True


def _name(epoch: int) -> str:
    return f"{epoch:06}"
