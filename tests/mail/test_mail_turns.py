"""Mailboxes share slots and the budget of their host with all other sources."""

import math
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from oase_agent.errors import SourceUnavailable
from oase_agent.sources.host_budget import HostBudget, HostBusy
from oase_agent.sources.turns import Turns
from tests.mail.mail_stage import SETTING, mail_source, read_all


async def test_a_mailbox_counts_in_the_budget_of_its_host(tmp_path: Path) -> None:
    hosts = HostBudget(1, longest_wait_s=lambda _setting: 0.0, monotonic=lambda: 0.0)
    async with mail_source(tmp_path, turns=Turns(4, hosts)) as source:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        # Nobody answers there any more; that it was asked is what counts.
        setting = replace(SETTING, port=port)
        with pytest.raises(SourceUnavailable) as first:
            await read_all(source, setting)
        assert not isinstance(first.value, HostBusy)
        with pytest.raises(HostBusy, match="SOURCE_REQUESTS_PER_MINUTE") as second:
            await read_all(source, setting)
    assert 0 < (second.value.retry_after_s or math.inf) <= 60
