"""Give the folders of spools to the agent's user: own_storage.py UID GID shallow|deep FOLDER...

Only for volumes whose owner Kubernetes does not set, such as hostPath. It runs as root before the agents and never
fails: an agent that cannot write says so itself, with the remedy.
"""

import os
import sys
from collections.abc import Iterator


def entries(folder: str, depth: str) -> Iterator[str]:
    """Yield `folder` and what is in it; below that only if `depth` is deep."""
    yield folder
    for parent, folders, files in os.walk(folder):
        yield from (f"{parent}/{name}" for name in (*folders, *files))
        if depth != "deep":
            return


def give(path: str, uid: int, gid: int) -> None:
    """Change the owner of `path` itself, not of what it links to, if it is another."""
    try:
        found = os.lstat(path)
        if (found.st_uid, found.st_gid) != (uid, gid):
            os.lchown(path, uid, gid)
    except OSError as error:
        sys.stderr.write(f"{path}: owner not changed ({error.strerror})\n")


def main(uid: str, gid: str, depth: str, *folders: str) -> None:
    """Go through all folders."""
    for folder in folders:
        for path in entries(folder, depth):
            give(path, int(uid), int(gid))


main(*sys.argv[1:])
