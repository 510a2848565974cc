"""Runs a policy over a stretch of time: it is fitted at the start and every week, and asked day by day.

A policy is handed the opens before the last cutoff of the chunk and nothing else; scores for keys that were not known
at their decision's cutoff are dropped here, whatever the policy says.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from adwarm.foundation.arrow_arrays import Floats, Ints, Ints32
from adwarm.patterns.opens import Opens
from adwarm.replay.cache_simulation import CacheSimulation, FetchDelays, SimulationCounts
from adwarm.replay.entry_lifetimes import EntryLifetime
from adwarm.replay.policy import DecisionTimes, Policy, Ranking, ReplayTiming

DAY = 86_400_000_000

ProgressCallback = Callable[[float], None]
"""Told which share of the work, 0 to 1, was just done."""


def ignore_progress(_share: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class EvaluationPeriod:
    """A part of the log in which decisions are taken, `[start, end)`; microseconds."""

    start: int
    end: int
    refit_every: int = 7 * DAY

    def iter_days(self, timing: ReplayTiming) -> Iterator[tuple[bool, DecisionTimes]]:
        """Yield the decisions day by day, and whether the policy is fitted before."""
        at = np.arange(self.start, self.end, timing.step, dtype=np.int64)
        day = (at - self.start) // DAY
        fitted = -1
        for number in np.unique(day).tolist():
            mine = at[day == number]
            era = (int(mine[0]) - self.start) // self.refit_every
            yield era != fitted, DecisionTimes(mine, mine - timing.lag, timing)
            fitted = era


def iter_rankings(
    policy: Policy,
    opens: Opens,
    period: EvaluationPeriod,
    timing: ReplayTiming,
    progress: ProgressCallback = ignore_progress,
) -> Iterator[tuple[int, Ranking]]:
    """Yield each decision's moment with what the policy says; decisions without a word get empty scores."""
    share = timing.step / max(period.end - period.start, 1)
    for fit, decisions in period.iter_days(timing):
        if fit:
            policy.fit(opens.before(int(decisions.cutoff[0])), timing)
        known = opens.before(int(decisions.cutoff[-1]))
        given = {found.decision: found for found in policy.rank(known, decisions)}
        for index, (at, cutoff) in enumerate(zip(decisions.at.tolist(), decisions.cutoff.tolist(), strict=True)):
            found = given.get(index)
            yield at, _known_keys_only(found, opens, cutoff) if found is not None else _empty_ranking(index)
        progress(share * len(decisions))


def _empty_ranking(index: int) -> Ranking:
    return Ranking(index, np.zeros(0, np.int32), np.zeros(0))


def _known_keys_only(ranking: Ranking, opens: Opens, cutoff: int) -> Ranking:
    """Leave out keys that were unknown, and scores that say never."""
    known = int(np.searchsorted(opens.first_ts, cutoff, "left"))
    good = (ranking.key < known) & ((ranking.warm_value > 0) | (ranking.probability is not None))
    score = np.where(ranking.warm_value > 0, ranking.warm_value, -np.inf)  # NaN is not above 0 either
    probability = None if ranking.probability is None else np.clip(np.nan_to_num(ranking.probability[good]), 0.0, 1.0)
    warm_at = None if ranking.warm_at is None else ranking.warm_at[good]
    return Ranking(ranking.decision, ranking.key[good], score[good], probability, warm_at, ranking.renew_at_expiry)


RequestCounter = Callable[[SimulationCounts, EvaluationPeriod], Ints32]
NO_COLUMNS: Ints = np.zeros(0, np.int64)


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
    record: Ints = NO_COLUMNS,
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


COARSE, FINE = 32, 40
NEVER_WARM = np.inf
_SLACK = 1.02


@dataclass(frozen=True)
class Thresholds:
    """What was learned in training.

    Attributes:
        curve: descending, infinity first.
        target: per target, its threshold.
    """

    curve: Floats
    target: Floats


def learn_thresholds(
    policy: Policy,
    inputs: SimulationInputs,
    period: EvaluationPeriod,
    targets: Sequence[float],
    progress: ProgressCallback = ignore_progress,
) -> Thresholds:
    """Return the thresholds that meet `targets` on `stretch`, and those of the curve around them."""
    said = list(iter_rankings(policy, inputs.opens, period, inputs.timing, progress))
    ranked = _sorted_warm_values(said)
    if not len(ranked):
        return Thresholds(np.array([NEVER_WARM]), np.full(len(targets), NEVER_WARM))
    ranks = np.unique(np.geomspace(1, len(ranked), COARSE).astype(np.int64))
    coarse = _with_never_warm(ranked[ranks - 1])
    multiple, _ = _simulate_thresholds(inputs, period, said, coarse)
    wanted = np.unique([*np.linspace(1.02, max(*targets, 3.0) * 1.15, FINE), *targets])
    fine = _with_never_warm(np.concatenate([_interpolate_thresholds(ranked, coarse, multiple, wanted), coarse]))
    multiple, _ = _simulate_thresholds(inputs, period, said, fine)
    nearer = _interpolate_thresholds(ranked, fine, multiple, np.array(targets))
    curve = _with_never_warm(np.concatenate([fine, nearer]))
    multiple, hits = _simulate_thresholds(inputs, period, said, curve)
    return Thresholds(curve, np.array([_best_threshold(curve, multiple, hits, target) for target in targets]))


def _sorted_warm_values(rankings: list[tuple[int, Ranking]]) -> Floats:
    """Return all scores that may warm, highest first."""
    scores = np.concatenate([found.warm_value for _, found in rankings]) if rankings else np.zeros(0)
    return np.sort(scores[np.isfinite(scores)])[::-1]


def _with_never_warm(thresholds: Floats) -> Floats:
    return np.concatenate([[NEVER_WARM], np.unique(thresholds[np.isfinite(thresholds)])[::-1]])


def _simulate_thresholds(
    inputs: SimulationInputs, period: EvaluationPeriod, rankings: list[tuple[int, Ranking]], thresholds: Floats
) -> tuple[Floats, Floats]:
    """Return per threshold the calls as multiples of no warming, and the first opens served fresh."""
    tally = simulate(inputs, period, rankings, thresholds)
    calls = inputs.calls(tally, period).sum(axis=0).astype(np.float64)
    return calls / max(float(calls[0]), 1.0), tally.first_hits.sum(axis=0).astype(np.float64)


def _interpolate_thresholds(ranked: Floats, thresholds: Floats, multiple: Floats, targets: Floats) -> Floats:
    """Return thresholds that should give the `wanted` multiples, by the rank of the score between known ones."""
    rank = np.searchsorted(-ranked, -thresholds, "right").astype(np.float64)
    rising = np.maximum.accumulate(multiple)
    ranks = np.exp(np.interp(targets, rising, np.log(np.maximum(rank, 0.5))))
    return np.asarray(ranked[np.clip(np.round(ranks).astype(np.int64) - 1, 0, len(ranked) - 1)])


def _best_threshold(thresholds: Floats, multiple: Floats, hits: Floats, target: float) -> float:
    """Return the threshold that serves most first opens without going far over the target."""
    affordable = np.where(multiple <= target * _SLACK, hits, -1.0)
    return float(thresholds[np.argmax(affordable)])
