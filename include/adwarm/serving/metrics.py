"""The metrics of a serving process for Prometheus. No label names an account, so that their number is bounded."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from adwarm.backpressure import RequestQueue
from adwarm.backpressure.status import AdmissionStatus, ScopeStatus
from adwarm.compression import get_compression_totals
from adwarm.foundation.clock import Clock
from adwarm.model import Actor
from adwarm.serving.reader import ReadStatus
from adwarm.store import Context, access_tokens, entries

METRICS_TYPE: Final = CONTENT_TYPE_LATEST
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BREAKER_STATES = ("closed", "half_open", "open")
_COMPRESSION_DAYS = timedelta(days=30)


class ServingMetrics:
    """Counts the reads of this process, and shows the state that all processes share."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        family = Histogram(
            "adwarm_read_seconds",
            "Time to answer a read, by its result and who opened it; the count is the number of reads.",
            ("result", "actor"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._waiting = Gauge(
            "adwarm_waiting_readers",
            "Requests that wait for a missing report in this process.",
            registry=self._registry,
        )
        # Children are looked up once: `labels` costs more than the observation.
        self._reads = {(s.value, a): family.labels(s.value, a.value) for s in ReadStatus for a in Actor}

    def observe_read(self, result: str, actor: Actor, seconds: float) -> None:
        """Count one read.

        Args:
            result: a value of `ReadStatus`.
            actor: who opened the report.
            seconds: how long the answer took.
        """
        self._reads[result, actor].observe(seconds)

    def show_waiting(self, count: Callable[[], int]) -> None:
        """Show how many readers wait, counted whenever metrics are shown."""
        self._waiting.set_function(count)

    def show_state(self, collector: Collector) -> None:
        """Add metrics that are read when they are shown."""
        self._registry.register(collector)

    def expose(self) -> bytes:
        """Return the metrics in Prometheus' text format. Reads the database."""
        return generate_latest(self._registry)


class StateCollector(Collector):
    """Reads queue, limits, entries, compression and tokens from the database whenever metrics are shown.

    Args:
        context: the database.
        clock: judges which tokens are valid.
        queue: the request queue.
        read_admission: returns the state of the shared budget.
    """

    def __init__(
        self, context: Context, clock: Clock, queue: RequestQueue, read_admission: Callable[[], AdmissionStatus]
    ) -> None:
        self._engine = context.engine
        self._clock = clock
        self._queue = queue
        self._read_admission = read_admission

    def describe(self) -> list[Metric]:
        """Return nothing: registering must not read the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as of now."""
        yield from self._queue_metrics()
        yield from self._admission_metrics()
        yield from self._entry_metrics()
        yield from self._compression_metrics()
        yield self._token_metric()

    def _queue_metrics(self) -> Iterator[Metric]:
        status = self._queue.status()
        pending = GaugeMetricFamily("adwarm_queue_pending", "Requests that wait, by class.", labels=("priority",))
        processing = GaugeMetricFamily(
            "adwarm_queue_processing", "Requests that a worker holds, by class.", labels=("priority",)
        )
        oldest = GaugeMetricFamily(
            "adwarm_queue_oldest_seconds", "How long the oldest pending request has waited.", labels=("priority",)
        )
        for priority, item in status.classes.items():
            label = (priority.name.lower(),)
            pending.add_metric(label, item.pending)
            processing.add_metric(label, item.processing)
            oldest.add_metric(label, item.oldest_seconds or 0.0)
        yield from (pending, processing, oldest)
        yield GaugeMetricFamily("adwarm_queue_size", "The most requests that may be pending.", value=status.size)

    def _admission_metrics(self) -> Iterator[Metric]:
        status = self._read_admission()
        breakers = GaugeMetricFamily(
            "adwarm_breakers", "Circuit breakers of sources and accounts, by state.", labels=("kind", "state")
        )
        for kind in ("source", "account"):
            states = [item.state for item in status.breakers if (item.account is None) == (kind == "source")]
            for state in _BREAKER_STATES:
                breakers.add_metric((kind, state), states.count(state))
        parked = GaugeMetricFamily(
            "adwarm_parked_scopes", "Scopes that must not be called now, by kind.", labels=("kind",)
        )
        kinds = [_kind(item) for item in status.parked]
        for kind in ("account", "app", "token", "fleet"):
            parked.add_metric((kind,), kinds.count(kind))
        yield from (breakers, parked)

    def _entry_metrics(self) -> Iterator[Metric]:
        totals = entries.get_totals(self._engine)
        yield GaugeMetricFamily("adwarm_entries", "Stored entries.", value=totals["entries"])
        size = GaugeMetricFamily("adwarm_entry_bytes", "Their bytes, decoded and as stored.", labels=("form",))
        size.add_metric(("raw",), totals["raw_bytes"])
        size.add_metric(("stored",), totals["stored_bytes"])
        yield size

    def _compression_metrics(self) -> Iterator[Metric]:
        totals = get_compression_totals(self._engine, self._clock.now() - _COMPRESSION_DAYS)
        shown = {
            "packed": ("adwarm_compression_packed", "Payloads compressed in the last 30 days, by codec."),
            "unpacked": ("adwarm_compression_unpacked", "Payloads decompressed in the last 30 days, by codec."),
            "raw_bytes": ("adwarm_compression_raw_bytes", "Bytes before compression in the last 30 days."),
            "stored_bytes": ("adwarm_compression_stored_bytes", "Bytes after compression in the last 30 days."),
            "pack_seconds": ("adwarm_compression_pack_seconds", "Seconds spent compressing in the last 30 days."),
            "unpack_seconds": ("adwarm_compression_unpack_seconds", "Seconds spent decompressing in the last 30 days."),
            "errors": ("adwarm_compression_errors", "Payloads that failed in the last 30 days."),
        }
        for column, (name, text) in shown.items():
            family = GaugeMetricFamily(name, text, labels=("codec",))
            for codec, counts in totals.codecs.items():
                family.add_metric((codec,), getattr(counts, column))
            yield family

    def _token_metric(self) -> Metric:
        now = self._clock.now()
        valid = sum(item.token.is_valid(now) for item in access_tokens.list_tokens(self._engine))
        return GaugeMetricFamily("adwarm_tokens", "Valid tokens.", value=valid)


def _kind(scope: ScopeStatus) -> str:
    return scope.scope.partition(":")[0]
