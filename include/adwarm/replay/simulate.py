"""Plays opens and decisions against the cache, in the order of time."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adwarm.patterns.opens import Opens
from adwarm.replay.cache_simulation import Cache, Counts, Delays, Longs, Tally
from adwarm.replay.entry_lifetimes import Life
from adwarm.replay.evaluation_period import Stretch
from adwarm.replay.policy import Scores, Terms

Floats = npt.NDArray[np.float64]
RequestCounter = Callable[[Tally, Stretch], Counts]
NOTHING: Longs = np.zeros(0, np.int64)


@dataclass(frozen=True)
class World:
    """What is played with: the log, the terms, how long entries live and fetches take.

    Attributes:
        requests: counts the requests of the recorded fetches, cells x columns; None: each fetched key is one call.
    """

    opens: Opens
    terms: Terms
    life: Life
    delays: Delays
    requests: RequestCounter | None = None

    def calls(self, tally: Tally, stretch: Stretch) -> Counts:
        """Return the upstream calls, cells x columns, by the chosen price."""
        return tally.calls() if self.requests is None else self.requests(tally, stretch)


def play(
    world: World, stretch: Stretch, said: Iterable[tuple[int, Scores]], thresholds: Floats, record: Longs = NOTHING
) -> Tally:
    """Return what happens at each threshold.

    A decision comes before the opens of the same moment. The cache is empty at the start.

    Args:
        said: decisions in the order of time, with the policy's scores.
        record: columns whose warms are kept one by one.
    """
    columns: Longs = np.arange(len(thresholds), dtype=np.int64) if (world.requests is not None) else record
    cache = Cache(
        world.opens, thresholds, world.life, world.delays, stretch.start, stretch.end, columns,
        record_misses=(world.requests is not None),
    )  # fmt: skip
    opens = world.opens.since(stretch.start).before(stretch.end)
    moments = zip(opens.ts.tolist(), opens.key.tolist(), opens.first.tolist(), strict=True)
    at, key, first = next(moments, (stretch.end, 0, False))
    for decided_at, scores in _and_the_end(said, stretch.end):
        while at < decided_at:
            cache.open(at, key, first)
            at, key, first = next(moments, (stretch.end, 0, False))
        if scores is not None:
            cache.decide(decided_at, min(decided_at + world.terms.step, stretch.end), scores)
    return cache.tally


def _and_the_end(said: Iterable[tuple[int, Scores]], end: int) -> Iterator[tuple[int, Scores | None]]:
    yield from said
    yield end, None
