"""The simulated sources under one name, for the demo, for benchmarks and for tests."""

from oase_agent.simulators.alertmanager import AlertmanagerSimulator
from oase_agent.simulators.log_page import LogPageSimulator
from oase_agent.simulators.odd_answers import EndlessBody, GzipBomb, OddAnswer, Redirect, SlowBody
from oase_agent.simulators.source_base import SourceSimulator
from oase_agent.simulators.zabbix import ZabbixSimulator

__all__ = [
    "AlertmanagerSimulator",
    "EndlessBody",
    "GzipBomb",
    "LogPageSimulator",
    "OddAnswer",
    "Redirect",
    "SlowBody",
    "SourceSimulator",
    "ZabbixSimulator",
]
