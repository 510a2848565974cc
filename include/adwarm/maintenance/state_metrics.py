"""The state metrics, read from the database: for `/metrics`, and for the statistics of Airflow by `emit_metrics`."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from typing import Any, Final, NamedTuple

from adwarm.backpressure import RequestQueue
from adwarm.compression import get_compression_totals
from adwarm.foundation import telemetry
from adwarm.foundation.clock import Clock
from adwarm.foundation.gate import GateState, Rule
from adwarm.foundation.telemetry import Metric
from adwarm.maintenance.runner import Step, StepBudget, StepResult
from adwarm.store import Context, access_tokens, alerts, entries
from adwarm.store.gates import list_closed

_RULES: Final = [
    rule for rule in Rule if rule not in {Rule.STOP, Rule.FIELD, Rule.COOLDOWN}
]  # no rows; never closed; no calls
_GATES: Final = list(product(_RULES, ("account", "shared"), (GateState.CLOSED, GateState.TESTING)))
_COMPRESSION_DAYS: Final = timedelta(days=30)
_COMPRESSION: Final = {
    telemetry.COMPRESSION_PACKED: "packed",
    telemetry.COMPRESSION_UNPACKED: "unpacked",
    telemetry.COMPRESSION_RAW_BYTES: "raw_bytes",
    telemetry.COMPRESSION_STORED_BYTES: "stored_bytes",
    telemetry.COMPRESSION_PACK_SECONDS: "pack_seconds",
    telemetry.COMPRESSION_UNPACK_SECONDS: "unpack_seconds",
    telemetry.COMPRESSION_ERRORS: "errors",
    telemetry.COMPRESSION_CACHE_HITS: "cache_hits",
}
_LATENCIES: Final = [(quantile, operation) for operation in ("pack", "unpack") for quantile in ("median", "p95")]


class Sample(NamedTuple):
    """One value of a state metric; `tags` has a value for each of the metric's tags, in their order."""

    metric: Metric
    value: float
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StateReader:
    """Reads the state of an installation."""

    context: Context
    clock: Clock
    queue: RequestQueue

    def read(self) -> Iterator[Sample]:
        """Yield the state as of now; the samples of one metric follow each other."""
        yield from self._read_queue()
        yield from self._read_gates()
        yield from self._read_stored()

    def _read_queue(self) -> Iterator[Sample]:
        status = self.queue.status()
        classes = [((priority.name.lower(),), item) for priority, item in status.classes.items()]
        yield from (Sample(telemetry.QUEUE_PENDING, item.pending, tag) for tag, item in classes)
        yield from (Sample(telemetry.QUEUE_PROCESSING, item.processing, tag) for tag, item in classes)
        yield from (Sample(telemetry.QUEUE_OLDEST, item.oldest_seconds or 0.0, tag) for tag, item in classes)
        yield Sample(telemetry.QUEUE_SIZE, status.size)

    def _read_gates(self) -> Iterator[Sample]:
        closed = list_closed(self.context.engine)
        counts = Counter((gate.rule, "account" if gate.account_id else "shared", gate.state) for gate in closed)
        yield from (Sample(telemetry.GATES, counts[gate], tuple(map(str, gate))) for gate in _GATES)
        yield Sample(telemetry.OPEN_ALERTS, alerts.count_open(self.context.engine))

    def _read_stored(self) -> Iterator[Sample]:
        totals = entries.get_totals(self.context.engine)
        yield Sample(telemetry.ENTRIES, totals["entries"])
        yield Sample(telemetry.ENTRY_BYTES, totals["raw_bytes"], ("raw",))
        yield Sample(telemetry.ENTRY_BYTES, totals["stored_bytes"], ("stored",))
        now = self.clock.now()
        valid = sum(item.token.is_valid(now) for item in access_tokens.list_tokens(self.context.engine))
        yield Sample(telemetry.TOKENS, valid)
        codecs = get_compression_totals(self.context.engine, now - _COMPRESSION_DAYS).codecs
        for metric, column in _COMPRESSION.items():
            yield from (Sample(metric, getattr(counts, column), (codec,)) for codec, counts in codecs.items())
        for codec, counts in codecs.items():
            figures = counts.to_dict()
            for quantile, operation in _LATENCIES:
                took = figures[f"{quantile}_{operation}_ms"]
                if took is not None:
                    yield Sample(telemetry.COMPRESSION_LATENCY, took / 1000, (codec, operation, quantile))


def make_emit_metrics(reader: StateReader) -> Step:
    """Return the step `emit_metrics`, which reports the state to the sinks of this process."""

    def step(cursor: Any, budget: StepBudget) -> StepResult:
        del cursor, budget  # it takes a few statements
        if not telemetry.has_sinks():
            return StepResult(skipped="this process reports no metrics")
        count = 0
        for sample in reader.read():
            telemetry.report(sample.metric, sample.value, **dict(zip(sample.metric.tags, sample.tags, strict=True)))
            count += 1
        return StepResult({"reported": count})

    return step
