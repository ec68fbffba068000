"""Ten thousand mails at once: every one arrives, in memory that does not grow with their number."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tests.mail import memory_of_collecting
from tests.mail.dovecot import Dovecot, Mailbox, needs_dovecot
from tests.mail.mail_stage import NOW_S, a_mail

pytestmark = needs_dovecot

MAILS = 10_000
# The parts of an agent at rest take some 35 MiB of the 64 MiB of its container.
MAX_GROWTH_KIB = 16 * 1024


async def test_ten_thousand_mails_take_the_memory_of_a_page(
    dovecot: Dovecot, mailbox: Mailbox, tmp_path: Path, count: Callable[[str, object], None]
) -> None:
    mailbox.make_folder(".Empty")
    for number in range(MAILS):
        mailbox.deliver(a_mail(number, body="the disk of web01 is full\r\n" * 40), arrived_s=NOW_S + 5)
    (tmp_path / "other").mkdir()
    root = Path(__file__).parents[2]
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, memory_of_collecting.__file__, str(tmp_path), str(dovecot.port), mailbox.user),
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await program.communicate()
    figures = json.loads(told)
    assert figures["troubles"] == []
    assert figures["waiting"] == MAILS
    count(f"KiB that {MAILS} mails took at most", figures["grown_kib"])
    assert figures["grown_kib"] < MAX_GROWTH_KIB
