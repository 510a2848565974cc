"""Plays opens and decisions against the cache, in the order of time."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from adwarm.foundation.arrow_arrays import Floats, Ints, Ints32
from adwarm.patterns.opens import Opens
from adwarm.replay.cache_simulation import CacheSimulation, FetchDelays, SimulationCounts
from adwarm.replay.entry_lifetimes import EntryLifetime
from adwarm.replay.evaluation_period import EvaluationPeriod
from adwarm.replay.policy import Ranking, ReplayTiming

RequestCounter = Callable[[SimulationCounts, EvaluationPeriod], Ints32]
NOTHING: Ints = np.zeros(0, np.int64)


@dataclass(frozen=True)
class SimulationInputs:
    """What is played with: the log, the terms, how long entries live and fetches take.

    Attributes:
        requests: counts the requests of the recorded fetches, cells x columns; None: each fetched key is one call.
    """

    opens: Opens
    timing: ReplayTiming
    lifetime: EntryLifetime
    delays: FetchDelays
    count_requests: RequestCounter | None = None

    def calls(self, counts: SimulationCounts, period: EvaluationPeriod) -> Ints32:
        """Return the upstream calls, cells x columns, by the chosen price."""
        return counts.calls() if self.count_requests is None else self.count_requests(counts, period)


def simulate(
    inputs: SimulationInputs,
    period: EvaluationPeriod,
    rankings: Iterable[tuple[int, Ranking]],
    thresholds: Floats,
    record: Ints = NOTHING,
) -> SimulationCounts:
    """Return what happens at each threshold.

    A decision comes before the opens of the same moment. The cache is empty at the start.

    Args:
        said: decisions in the order of time, with the policy's scores.
        record: columns whose warms are kept one by one.
    """
    columns: Ints = np.arange(len(thresholds), dtype=np.int64) if (inputs.count_requests is not None) else record
    cache = CacheSimulation(
        inputs.opens,
        thresholds,
        inputs.lifetime,
        inputs.delays,
        period.start,
        period.end,
        columns,
        record_misses=(inputs.count_requests is not None),
    )
    opens = inputs.opens.since(period.start).before(period.end)
    moments = zip(opens.ts.tolist(), opens.key.tolist(), opens.first.tolist(), strict=True)
    at, key, first = next(moments, (period.end, 0, False))
    for decided_at, scores in _with_end(rankings, period.end):
        while at < decided_at:
            cache.open(at, key, first)
            at, key, first = next(moments, (period.end, 0, False))
        if scores is not None:
            cache.decide(decided_at, min(decided_at + inputs.timing.step, period.end), scores)
    return cache.counts


def _with_end(rankings: Iterable[tuple[int, Ranking]], end: int) -> Iterator[tuple[int, Ranking | None]]:
    yield from rankings
    yield end, None
