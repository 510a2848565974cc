"""The metrics of a serving process for Prometheus. No label names an account, so that their number is bounded."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from adwarm.foundation import telemetry
from adwarm.foundation.telemetry import Metric, MetricKind
from adwarm.maintenance.state_metrics import StateReader
from adwarm.model import Actor
from adwarm.serving.reader import ReadStatus

METRICS_TYPE: Final = CONTENT_TYPE_LATEST
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class ServingMetrics:
    """Counts the reads and events of this process, and shows the state that all processes share.

    It is a sink of `adwarm.foundation.telemetry` for what happens in this process.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        family = self._histogram(telemetry.READ_SECONDS)
        waiting = telemetry.WAITING_READERS
        self._waiting = Gauge(waiting.prometheus_name, waiting.meaning, registry=self._registry)
        # Children are looked up once: `labels` costs more than the observation.
        self._reads = {(s.value, a): family.labels(s.value, a.value) for s in ReadStatus for a in Actor}
        self._events = {metric: self._make(metric) for metric in telemetry.EVENTS}

    def observe_read(self, result: str, actor: Actor, seconds: float) -> None:
        """Count one read.

        Args:
            result: a value of `ReadStatus`.
            actor: who opened the report.
            seconds: how long the answer took.
        """
        self._reads[result, actor].observe(seconds)

    def record(self, metric: Metric, value: float, tags: Mapping[str, str]) -> None:
        """Take a value of an event metric; the state is read when it is shown."""
        family = self._events.get(metric)
        if family is None:
            return
        child = family.labels(*(tags[name] for name in metric.tags)) if metric.tags else family
        if isinstance(child, Histogram):
            child.observe(value)
        elif isinstance(child, Counter):
            child.inc(value)
        else:
            child.set(value)

    def show_waiting(self, count: Callable[[], int]) -> None:
        """Show how many readers wait, counted whenever metrics are shown."""
        self._waiting.set_function(count)

    def show_state(self, reader: StateReader) -> None:
        """Add the metrics that are read when they are shown."""
        self._registry.register(StateCollector(reader))

    def expose(self) -> bytes:
        """Return the metrics in Prometheus' text format. Reads the database."""
        return generate_latest(self._registry)

    def _make(self, metric: Metric) -> Counter | Gauge | Histogram:
        if metric.kind is MetricKind.TIMER:
            return self._histogram(metric)
        kind = Counter if metric.kind is MetricKind.COUNTER else Gauge
        return kind(metric.prometheus_name, metric.meaning, metric.tags, registry=self._registry)

    def _histogram(self, metric: Metric) -> Histogram:
        name = metric.prometheus_name
        return Histogram(name, metric.meaning, metric.tags, buckets=_BUCKETS, registry=self._registry)


class StateCollector(Collector):
    """Reads the state metrics from the database whenever metrics are shown."""

    def __init__(self, reader: StateReader) -> None:
        self._reader = reader

    def describe(self) -> list[GaugeMetricFamily]:
        """Return nothing: registering must not read the database."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the metrics as of now."""
        metrics = telemetry.STATES
        families = {item: GaugeMetricFamily(item.prometheus_name, item.meaning, labels=item.tags) for item in metrics}
        for sample in self._reader.read():
            families[sample.metric].add_metric(sample.tags, sample.value)
        yield from families.values()
