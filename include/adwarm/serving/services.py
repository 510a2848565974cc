"""What the parts of the read API work with: metrics of the process, services of the routes."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from adwarm.backpressure import RequestQueue
from adwarm.foundation import telemetry
from adwarm.foundation.clock import Clock
from adwarm.foundation.telemetry import Metric, MetricKind
from adwarm.maintenance.state_metrics import StateReader
from adwarm.model import Actor
from adwarm.serving.drainers import Fetcher
from adwarm.serving.misses import QueueMissHandler
from adwarm.serving.open_log import Open, OpenLog
from adwarm.serving.read_chain import ReadChain
from adwarm.serving.read_counter import ReadCounter
from adwarm.serving.reader import Reader, ReadStatus
from adwarm.serving.tokens import TokenAuthenticator
from adwarm.store import Context
from adwarm.store.entries import Entry

METRICS_TYPE: Final = CONTENT_TYPE_LATEST
WORKERS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Variable with the folder of the metrics of a process and of others that serve the same port."""
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class ServingMetrics:
    """Counts the reads and events of this process, and shows the state that all processes share.

    It is a sink of `adwarm.foundation.telemetry` for what happens in this process.
    """

    def __init__(self) -> None:
        self._registry = self._counted = CollectorRegistry()
        self._state = CollectorRegistry()
        if WORKERS_FOLDER in os.environ:
            self._counted = CollectorRegistry()
            MultiProcessCollector(self._counted)  # type: ignore[no-untyped-call]
        family = self._histogram(telemetry.READ_SECONDS)
        # Children are looked up once: `labels` costs more than the observation.
        self._reads = {(s.value, a): family.labels(s.value, a.value) for s in ReadStatus for a in Actor}
        self._events = {metric: self._make(metric) for metric in (*telemetry.EVENTS, telemetry.WAITING_READERS)}

    def observe_read(self, result: str, actor: Actor, seconds: float) -> None:
        """Count one read.

        Args:
            result: a value of `ReadStatus`.
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

    def show_state(self, reader: StateReader) -> None:
        """Add the metrics that are read when they are shown."""
        self._state.register(StateCollector(reader))

    def expose(self) -> bytes:
        """Return the metrics in Prometheus' text format; those of all workers are added up. Reads the database."""
        return generate_latest(self._counted) + generate_latest(self._state)

    def _make(self, metric: Metric) -> Counter | Gauge | Histogram:
        if metric.kind is MetricKind.TIMER:
            return self._histogram(metric)
        name, meaning, tags = metric.prometheus_name, metric.meaning, metric.tags
        if metric.kind is MetricKind.COUNTER:
            return Counter(name, meaning, tags, registry=self._registry)
        return Gauge(name, meaning, tags, registry=self._registry, multiprocess_mode="livesum")

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


@dataclass(frozen=True, slots=True)
class ServingServices:
    """The objects of one serving process.

    Attributes:
        counter: counts reads for `adwarm status`.
        metrics: counts reads for Prometheus.
        fetch_mode: how a missing report is fetched: this process `drains` the queue, or `waits` for the next run
            of the DAG that does.
    """

    context: Context
    clock: Clock
    chain: ReadChain
    queue: RequestQueue
    authenticator: TokenAuthenticator
    misses: QueueMissHandler
    opens: OpenLog
    counter: ReadCounter
    metrics: ServingMetrics
    fetch_mode: Fetcher = "waits"

    @property
    def reader(self) -> Reader:
        """The stored entries."""
        return self.chain.reader

    def record(self, item: Open, entry: Entry | None = None) -> None:
        """Record an open, and count it as a read of `entry`; never blocks and never fails."""
        self.metrics.observe_read(item.status, item.actor, item.latency_ms / 1000)
        self.counter.count(item.at, item.key, item.actor, status=item.status, latency_ms=item.latency_ms, entry=entry)
        if item.actor is not Actor.WARMER:
            self.opens.record(item)
