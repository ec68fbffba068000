"""What the agent tells of itself: one method for every fact moves the metric and writes the log line.

`facts.py` has the methods, `troubles.py` what is wrong at the moment, `metrics.py` the metrics, `logs.py` the look of
a log line.
"""

from oase_agent.telemetry.facts import Telemetry
from oase_agent.telemetry.logs import LOGGER_NAME, configure_logging
from oase_agent.telemetry.troubles import Trouble

__all__ = ["LOGGER_NAME", "Telemetry", "Trouble", "configure_logging"]
