"""The metrics that facts move; those of the queues are read from their own figures (serve/queue_metrics.py)."""

import math

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# Seconds; collections and POSTs end between milliseconds on a LAN and the minutes of a time limit.
_DURATION_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)


class Metrics:
    """Every metric that `Telemetry` moves, registered in `registry`. Times are in seconds, durations as well."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.collections = Counter(
            "oase_agent_collections", "Collections that ended", ["setting", "outcome"], registry=registry
        )
        self.collection_seconds = Histogram(
            "oase_agent_collection_duration_seconds",
            "From the request to the commit",
            registry=registry,
            buckets=_DURATION_BUCKETS,
        )
        self.last_success = Gauge(
            "oase_agent_collection_last_success_timestamp_seconds",
            "When a collection last succeeded",
            ["setting"],
            registry=registry,
        )
        self.requests = Histogram(
            "oase_agent_workspace_request_duration_seconds",
            "Requests to the workspace",
            ["endpoint", "outcome"],
            registry=registry,
            buckets=_DURATION_BUCKETS,
        )
        self.last_delivery = Gauge(
            "oase_agent_delivery_last_success_timestamp_seconds",
            "When events of a setting were last accepted",
            ["setting"],
            registry=registry,
        )
        self.fence_resolved = Counter(
            "oase_agent_fence_resolved_events",
            "Events whose answer was lost and that the workspace's position proved stored",
            ["setting"],
            registry=registry,
        )
        self.foreign_writer = Counter(
            "oase_agent_foreign_writer",
            "Times the workspace named a group time that is not ours",
            ["setting"],
            registry=registry,
        )
        self.damaged = Counter(
            "oase_agent_spool_damaged", "Files or batches set aside", ["setting"], registry=registry
        )
        self.fsync_seconds = Gauge(
            "oase_agent_volume_fsync_seconds",
            "How long a page took to reach the disk when the agent started; NaN when that was not measured",
            registry=registry,
        )
        self.fsync_seconds.set(math.nan)
