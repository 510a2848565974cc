"""The simulated cache: each rule, and all of them against a plain simulation."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.patterns.opens import Opens, opens_from_frame
from adwarm.replay.cache_simulation import (
    WEEK,
    CacheSimulation,
    EvaluationPeriod,
    FetchDelays,
    SimulationCounts,
    SimulationInputs,
    age_quantile,
)
from adwarm.replay.policy import FixedLifetime, Ranking, ReplayTiming

MINUTE = 60_000_000
TTL = 180 * MINUTE
ONE = np.array([0], np.int32)


def _keys(count: int) -> Opens:
    frame = pd.DataFrame({"account_id": [f"act_{n}" for n in range(count)], "date_range": "today"})
    return opens_from_frame(frame.assign(ts=pd.to_datetime([0] * count, utc=True)))


def _cache(warm: int = 0, fill: int = 0, thresholds: tuple[float, ...] = (0.5,), keys: int = 1) -> CacheSimulation:
    marks, columns = np.array(thresholds), np.arange(len(thresholds))
    timing = ReplayTiming(60 * MINUTE, 0, warm, TTL)
    inputs = SimulationInputs(
        _keys(keys), timing, FixedLifetime(TTL), FetchDelays(warm, fill), lambda counts, _: counts.calls()
    )
    return CacheSimulation(inputs, EvaluationPeriod(0, WEEK), marks, columns)


def _warm(cache: CacheSimulation, at: int, warm_at: int | None = None, *, renew: bool = False) -> None:
    moment = None if warm_at is None else np.array([warm_at])
    cache.decide(at, at + 60 * MINUTE, Ranking(0, ONE, np.ones(1), warm_at=moment, renew_at_expiry=renew))


def _figures(counts: SimulationCounts) -> tuple[int, int, int, int]:
    return tuple(int(part.sum()) for part in (counts.hits, counts.misses, counts.warms, counts.used))  # type: ignore[return-value]


def test_a_miss_fills_the_cache_until_the_entry_is_stale() -> None:
    """Opens after a miss are served while the entry is fresh, and not after."""
    cache = _cache()
    for at in (0, TTL - 1, TTL):
        cache.open(at, 0, first=True)

    assert _figures(cache.counts) == (1, 2, 0, 0)


def test_a_warm_serves_and_counts_as_used_once() -> None:
    """Two opens after a warm are hits; the warm was used, once."""
    cache = _cache()
    _warm(cache, 0)
    cache.open(MINUTE, 0, first=True)
    cache.open(2 * MINUTE, 0, first=False)

    assert _figures(cache.counts) == (2, 0, 1, 1)


def test_a_fresh_entry_is_not_warmed() -> None:
    """A warm is skipped while the entry is fresh, whatever fetched it."""
    cache = _cache()
    cache.open(0, 0, first=True)
    _warm(cache, 60 * MINUTE)
    assert _figures(cache.counts) == (0, 1, 0, 0)

    _warm(cache, TTL)
    assert _figures(cache.counts) == (0, 1, 1, 0)


def test_an_open_before_the_warm_has_landed_waits_and_makes_no_call() -> None:
    """It joins the fetch in progress and counts as a miss; after the landing the entry serves."""
    cache = _cache(warm=2 * MINUTE)
    _warm(cache, 0)
    cache.open(MINUTE, 0, first=True)
    cache.open(3 * MINUTE, 0, first=False)

    assert _figures(cache.counts) == (1, 0, 1, 1)
    assert (cache.counts.joined_opens.tolist(), cache.counts.wait_micros.tolist()) == ([1], [MINUTE])


def test_opens_during_the_fetch_of_a_miss_share_it() -> None:
    """All opens that wait for it share one call."""
    cache = _cache(fill=MINUTE)
    for at in (0, MINUTE // 2, MINUTE):
        cache.open(at, 0, first=at == 0)

    assert _figures(cache.counts) == (1, 1, 0, 0)


def test_a_warm_starts_at_its_chosen_moment() -> None:
    """An open before that moment is a miss, which makes the warm unnecessary."""
    cache = _cache()
    _warm(cache, 0, warm_at=30 * MINUTE)
    cache.open(29 * MINUTE, 0, first=True)
    cache.open(31 * MINUTE, 0, first=False)

    assert _figures(cache.counts) == (1, 1, 0, 0)


def test_renewing_fetches_at_the_moment_of_expiry() -> None:
    """An entry that expires before the next decision is fetched at that moment if the policy asks for it."""
    for renew, expected in ((True, (1, 1, 1, 1)), (False, (0, 2, 0, 0))):
        cache = _cache()
        cache.open(0, 0, first=True)
        _warm(cache, TTL - 10 * MINUTE, renew=renew)
        cache.open(TTL + MINUTE, 0, first=True)
        assert _figures(cache.counts) == expected


def test_ages_are_counted_in_minutes() -> None:
    """The age at an open is the time since the entry landed."""
    cache = _cache()
    cache.open(0, 0, first=True)
    for minute in (10, 20, 90):
        cache.open(minute * MINUTE, 0, first=False)

    assert [age_quantile(cache.counts.ages[0], share) for share in (0.5, 0.95)] == [20.0, 90.0]
    assert age_quantile(np.zeros(5), 0.5) is None


@dataclass
class _Plain:
    """A cache of one threshold, one key at a time, written straight from the rules."""

    threshold: float
    warm_delay: int
    fill_delay: int
    land: dict[int, int] = field(default_factory=dict)
    fresh: dict[int, int] = field(default_factory=dict)
    unused: set[int] = field(default_factory=set)
    hits: int = 0
    misses: int = 0
    warms: int = 0
    used: int = 0

    def decide(self, at: int, scores: dict[int, float]) -> None:
        for key, score in scores.items():
            if score >= self.threshold and self.fresh.get(key, -1) <= at:
                self.warms += 1
                self._fetch(key, at + self.warm_delay)
                self.unused.add(key)

    def open(self, at: int, key: int) -> None:
        if self.fresh.get(key, -1) > at:
            if self.land[key] <= at:
                self.hits += 1
                self.used += key in self.unused
                self.unused.discard(key)
            return
        self.misses += 1
        self.unused.discard(key)
        self._fetch(key, at + self.fill_delay)

    def _fetch(self, key: int, landed: int) -> None:
        self.land[key], self.fresh[key] = landed, landed + TTL


STEPS = st.lists(
    st.tuples(
        st.integers(1, 120),
        st.one_of(st.integers(0, 2), st.dictionaries(st.integers(0, 2), st.sampled_from([0.2, 0.5, 0.9]), min_size=1)),
    ),
    max_size=40,
)


@given(STEPS, st.integers(0, 20), st.integers(0, 20))
def test_all_columns_equal_a_plain_simulation(steps: list[tuple[int, object]], warm: int, fill: int) -> None:
    """For any sequence of steps each column counts what a cache of its own would."""
    thresholds = (np.inf, 0.9, 0.5, 0.1)
    cache = _cache(warm * MINUTE, fill * MINUTE, thresholds, keys=3)
    plain = [_Plain(mark, warm * MINUTE, fill * MINUTE) for mark in thresholds]
    at = 0
    for gap, what in steps:
        at += gap * MINUTE
        if isinstance(what, dict):
            keys, values = np.array(list(what), np.int32), np.array(list(what.values()))
            cache.decide(at, at + 60 * MINUTE, Ranking(0, keys, values))
            [one.decide(at, what) for one in plain]
        else:
            assert isinstance(what, int)
            cache.open(at, what, first=True)
            [one.open(at, what) for one in plain]

    for name in ("hits", "misses", "warms", "used"):
        assert getattr(cache.counts, name).sum(axis=0).tolist() == [getattr(one, name) for one in plain]
    assert len(cache.counts.fetches) == 0 or sum(len(b.at) for b in cache.counts.fetches) == cache.counts.calls().sum()


def test_an_infinite_threshold_warms_nothing() -> None:
    """The column of no warming makes no warms."""
    cache = _cache(thresholds=(np.inf,))
    _warm(cache, 0)

    assert cache.counts.warms.sum() == pytest.approx(0)
