"""Run as a program: collect one mailbox as the agent does, and print how much memory that took at most.

Arguments: an empty directory, the port of the server, and the user.
"""

import asyncio
import json
import re
import sys
import threading
from dataclasses import replace
from pathlib import Path

from oase_agent.cli.memory import return_large_blocks
from tests.mail.mail_stage import SETTING, MailLife


def own_memory_kib() -> int:
    """Return the memory that belongs to this process alone."""
    found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


async def main(directory: Path, port: int, user: str) -> None:
    life = MailLife(directory, replace(SETTING, port=port, username=user))
    # What a first collection imports is not what mails cost.
    empty = MailLife(directory / "other", replace(SETTING, port=port, username=user, mailbox_name="Empty"))
    await empty.collect()
    before_kib = own_memory_kib()
    peaks = [before_kib]
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.002):
            peaks.append(own_memory_kib())

    watcher = threading.Thread(target=watch)
    watcher.start()
    await life.collect()
    is_over.set()
    watcher.join()
    figures = life.spool.queue("mail").figures()
    assert figures is not None
    troubles = [str(failure) for failure in (*empty.telemetry.failures, *life.telemetry.failures)]
    print(
        json.dumps({"waiting": figures.waiting, "grown_kib": max(peaks) - before_kib, "troubles": troubles})
    )


if __name__ == "__main__":
    return_large_blocks()
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
