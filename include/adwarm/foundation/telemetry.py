"""Every metric of adwarm, and how code reports one: a list, three functions and the sinks of the process.

Reporting never fails and never waits. Without a sink it does nothing: a command emits nothing, a task of Airflow adds a
sink for Airflow's statistics, `adwarm serve` one for `/metrics`. No tag names an account, a report or a person, so that
the number of series is bounded.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

log = logging.getLogger(__name__)


class MetricKind(StrEnum):
    """What a metric's values mean: events that add up, a state, or durations in seconds."""

    COUNTER = "counter"
    GAUGE = "gauge"
    TIMER = "timer"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: with dots, as Airflow's statistics name it; see `prometheus_name` for the name at `/metrics`.
    """

    name: str
    kind: MetricKind
    unit: str
    tags: tuple[str, ...]
    meaning: str

    @property
    def prometheus_name(self) -> str:
        """The name at `/metrics`: with underscores, and `_total` or `_seconds` behind a counter or a timer."""
        suffix = {MetricKind.COUNTER: "_total", MetricKind.TIMER: "_seconds"}.get(self.kind, "")
        return self.name.replace(".", "_") + suffix


class Sink(Protocol):
    """Takes what is reported."""

    def record(self, metric: Metric, value: float, tags: Mapping[str, str]) -> None:
        """Take a value: how many more for a counter, the state for a gauge, seconds for a timer."""
        ...


def _counter(name: str, unit: str, tags: tuple[str, ...], meaning: str) -> Metric:
    return Metric(name, MetricKind.COUNTER, unit, tags, meaning)


def _timer(name: str, tags: tuple[str, ...], meaning: str) -> Metric:
    return Metric(name, MetricKind.TIMER, "seconds", tags, meaning)


def _gauge(name: str, unit: str, tags: tuple[str, ...], meaning: str) -> Metric:
    return Metric(name, MetricKind.GAUGE, unit, tags, meaning)


LOG_EVENTS: Final = _counter(
    "adwarm.log.events", "events", ("result",), "Events of the access log, by result: `read`, `rejected`."
)
FORECAST_KEYS: Final = _gauge("adwarm.forecast.keys", "keys", ("kind",), "Report keys that the trained forecast knows.")
FORECAST_ECE: Final = _gauge(
    "adwarm.forecast.ece", "probability", ("kind",), "Expected calibration error of the trained forecast."
)
PLANS: Final = _counter("adwarm.plans", "plans", ("mode",), "Plans that were made, by mode: `live`, `shadow`.")
PLANNED: Final = _counter(
    "adwarm.plan.warms",
    "warms",
    ("result",),
    "Warms of plans: `planned`, `closing` (ended days), `cut` (by the budget), `fresh` (nothing to do).",
)
WARMS: Final = _counter("adwarm.warms", "warms", ("status",), "Warms that a batch has dealt with, by their status.")
WARM_OUTCOMES: Final = _counter(
    "adwarm.warm.outcomes", "warms", ("outcome",), "Warms marked as `used`, `wasted` or `superseded`."
)
BATCH_SECONDS: Final = _timer("adwarm.batch.duration", (), "Time of a batch of warms.")
CALLS: Final = _counter(
    "adwarm.upstream.calls",
    "calls",
    ("source", "outcome"),
    "Calls of an upstream: `ok`, `throttled`, `failed`, `timeout`, `skipped`.",
)
CALL_SECONDS: Final = _timer("adwarm.upstream.duration", ("source",), "Time of a call of an upstream.")
ADMISSIONS: Final = _counter(
    "adwarm.admissions",
    "calls",
    ("priority", "decision"),
    "Decisions on calls: `granted`, `postponed` (the wait would be too long), `rejected` (a breaker is open).",
)
ADMISSION_SECONDS: Final = _timer("adwarm.admission.wait", ("priority",), "How long a granted call waited.")
REQUESTS: Final = _counter(
    "adwarm.requests", "requests", ("result",), "Queued requests: `completed`, `failed`, `given_back` (tried again)."
)
ERRORS: Final = _counter("adwarm.errors", "errors", ("kind",), "Recorded errors, by class.")
HEALINGS: Final = _counter("adwarm.healings", "actions", ("action", "result"), "Healing actions: `helped`, `failed`.")
ALERTS: Final = _counter("adwarm.alerts", "alerts", ("kind", "change"), "Alerts that were `opened` or `resolved`.")
SCORED_ADS: Final = _counter(
    "adwarm.fatigue.ads", "ads", ("status",), "Ads that were scored, by status; those of one creative count once."
)
STEP_SECONDS: Final = _timer("adwarm.maintenance.duration", ("step", "status"), "Time of a step of maintenance.")

QUEUE_PENDING: Final = _gauge("adwarm.queue.pending", "requests", ("priority",), "Requests that wait, by class.")
QUEUE_PROCESSING: Final = _gauge(
    "adwarm.queue.processing", "requests", ("priority",), "Requests that a worker holds, by class."
)
QUEUE_OLDEST: Final = _gauge(
    "adwarm.queue.oldest_seconds", "seconds", ("priority",), "How long the oldest pending request has waited."
)
QUEUE_SIZE: Final = _gauge("adwarm.queue.size", "requests", (), "The most requests that may be pending.")
GATES: Final = _gauge(
    "adwarm.gates", "gates", ("rule", "kind", "state"), "What is not called now: of an account, or shared by accounts."
)
OPEN_ALERTS: Final = _gauge("adwarm.open_alerts", "alerts", (), "Alerts that are open.")
ENTRIES: Final = _gauge("adwarm.entries", "entries", (), "Stored entries.")
ENTRY_BYTES: Final = _gauge("adwarm.entry_bytes", "bytes", ("form",), "Their bytes, decoded and as stored.")
TOKENS: Final = _gauge("adwarm.tokens", "tokens", (), "Valid tokens of the read API.")
COMPRESSION_PACKED: Final = _gauge(
    "adwarm.compression.packed", "payloads", ("codec",), "Payloads compressed in the last 30 days."
)
COMPRESSION_UNPACKED: Final = _gauge(
    "adwarm.compression.unpacked", "payloads", ("codec",), "Payloads decompressed in the last 30 days."
)
COMPRESSION_RAW_BYTES: Final = _gauge(
    "adwarm.compression.raw_bytes", "bytes", ("codec",), "Bytes before compression in the last 30 days."
)
COMPRESSION_STORED_BYTES: Final = _gauge(
    "adwarm.compression.stored_bytes", "bytes", ("codec",), "Bytes after compression in the last 30 days."
)
COMPRESSION_PACK_SECONDS: Final = _gauge(
    "adwarm.compression.pack_seconds", "seconds", ("codec",), "Time spent compressing in the last 30 days."
)
COMPRESSION_UNPACK_SECONDS: Final = _gauge(
    "adwarm.compression.unpack_seconds", "seconds", ("codec",), "Time spent decompressing in the last 30 days."
)
COMPRESSION_ERRORS: Final = _gauge(
    "adwarm.compression.errors", "payloads", ("codec",), "Payloads that failed in the last 30 days."
)
COMPRESSION_CACHE_HITS: Final = _gauge(
    "adwarm.compression.cache_hits",
    "payloads",
    ("codec",),
    "Payloads that a cache saved from being decompressed in the last 30 days.",
)
COMPRESSION_LATENCY: Final = _gauge(
    "adwarm.compression.latency",
    "seconds",
    ("codec", "operation", "quantile"),
    "How long a payload took in the last 30 days: `pack` or `unpack`, `median` or `p95`.",
)

READ_SECONDS: Final = _timer(
    "adwarm.read.duration",
    ("result", "actor"),
    "Time to answer a read of the read API, by its result and who opened it; the count is the number of reads.",
)
WAITING_READERS: Final = _gauge(
    "adwarm.waiting_readers", "requests", (), "Requests that wait for a missing report in this process."
)

EVENTS: Final = (
    LOG_EVENTS,
    FORECAST_KEYS,
    FORECAST_ECE,
    PLANS,
    PLANNED,
    WARMS,
    WARM_OUTCOMES,
    BATCH_SECONDS,
    CALLS,
    CALL_SECONDS,
    ADMISSIONS,
    ADMISSION_SECONDS,
    REQUESTS,
    ERRORS,
    HEALINGS,
    ALERTS,
    SCORED_ADS,
    STEP_SECONDS,
)
"""Reported where something happens: by the task or the server in which it happens."""
STATES: Final = (
    QUEUE_PENDING,
    QUEUE_PROCESSING,
    QUEUE_OLDEST,
    QUEUE_SIZE,
    GATES,
    OPEN_ALERTS,
    ENTRIES,
    ENTRY_BYTES,
    TOKENS,
    COMPRESSION_PACKED,
    COMPRESSION_UNPACKED,
    COMPRESSION_RAW_BYTES,
    COMPRESSION_STORED_BYTES,
    COMPRESSION_PACK_SECONDS,
    COMPRESSION_UNPACK_SECONDS,
    COMPRESSION_ERRORS,
    COMPRESSION_CACHE_HITS,
    COMPRESSION_LATENCY,
)
"""Read from the database: by `/metrics` when it is asked, and for Airflow's statistics by the step `emit_metrics`."""
SERVER: Final = (READ_SECONDS, WAITING_READERS)
"""Only at `/metrics` of the read API, about the process that answers."""
METRICS: Final = (*EVENTS, *STATES, *SERVER)
"""Every metric."""

_sinks: tuple[Sink, ...] = ()


def add_sink(sink: Sink) -> None:
    """Let this process report to `sink`, too; adding it again changes nothing."""
    global _sinks  # noqa: PLW0603 - one list per process, like the handlers of logging
    if sink not in _sinks:
        _sinks = (*_sinks, sink)


def remove_sink(sink: Sink) -> None:
    """Stop reporting to `sink`."""
    global _sinks  # noqa: PLW0603
    _sinks = tuple(item for item in _sinks if item is not sink)


def has_sinks() -> bool:
    """Return whether this process reports to anything."""
    return bool(_sinks)


def report(metric: Metric, value: float = 1.0, **tags: str) -> None:
    """Report a value of a metric: how many more, the state, or seconds, as its kind says.

    Args:
        value: a counter's value of 0 is left out.
        tags: a value for each of the metric's tags.
    """
    if not _sinks or (metric.kind is MetricKind.COUNTER and not value):
        return
    for sink in _sinks:
        try:
            sink.record(metric, value, tags)
        except Exception as error:  # a broken statistics client must not break a batch
            log.warning("the metric %s is not reported: %s", metric.name, type(error).__name__)
