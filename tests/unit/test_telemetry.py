"""What the agent tells of its volume as a metric."""

import math

from oase_agent.telemetry import Telemetry

FSYNC_SECONDS = "oase_agent_volume_fsync_seconds"


def value_of(telemetry: Telemetry, metric: str) -> float:
    value = telemetry.registry.get_sample_value(metric)
    assert value is not None
    return value


def test_how_long_a_sync_took_is_a_metric() -> None:
    telemetry = Telemetry()

    telemetry.volume_found("ext4", 0.0035, None)

    assert value_of(telemetry, FSYNC_SECONDS) == 0.0035


def test_a_sync_that_was_not_measured_does_not_look_like_a_fast_one() -> None:
    telemetry = Telemetry()
    assert math.isnan(value_of(telemetry, FSYNC_SECONDS))

    telemetry.volume_found("ext4", None, "a warning")

    assert math.isnan(value_of(telemetry, FSYNC_SECONDS))
