"""Metrics of the queues, read from their own figures at each scrape: accounting is kept in one place only."""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from oase_agent.serve.status import AgentStatus


class QueueMetrics(Collector):
    """Turns the status into metric families: `collected = delivered + waiting + dead` holds in every scrape (O3)."""

    def __init__(self, status: Callable[[], AgentStatus]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Yield the families; the totals are those since the queue's first event, also over restarts."""
        status = self._status()
        counters = {
            name: CounterMetricFamily(f"oase_agent_events_{name}", text, labels=["setting"])
            for name, text in (
                ("collected", "Events collected"),
                ("delivered", "Events that the workspace has"),
                ("dead", "Events set aside with a reason"),
            )
        }
        gauges = {
            name: GaugeMetricFamily(f"oase_agent_{name}", text, labels=["setting"])
            for name, text in (
                ("waiting_events", "Events on the volume that wait for the workspace"),
                ("waiting_bytes", "Size of the waiting batches"),
                ("waiting_oldest_age_seconds", "Age of the oldest waiting batch"),
                ("known_ids", "Event ids that are not collected again"),
            )
        }
        for setting in status.settings:
            figures = setting.figures
            if figures is None:
                continue
            label = [setting.name]
            counters["collected"].add_metric(label, figures.collected)
            counters["delivered"].add_metric(label, figures.delivered)
            counters["dead"].add_metric(label, figures.dead)
            oldest = figures.oldest_group_time
            age_s = 0.0 if oldest is None else max(0.0, status.now_s - oldest)
            gauges["waiting_events"].add_metric(label, figures.waiting)
            gauges["waiting_bytes"].add_metric(label, figures.waiting_bytes)
            gauges["waiting_oldest_age_seconds"].add_metric(label, age_s)
            gauges["known_ids"].add_metric(label, figures.known_ids)
        yield from counters.values()
        yield from gauges.values()
        yield GaugeMetricFamily("oase_agent_ready", "1 when the agent is ready", value=float(status.is_ready))
        yield GaugeMetricFamily(
            "oase_agent_start_time_seconds", "When the agent started", value=status.started_at_s
        )
