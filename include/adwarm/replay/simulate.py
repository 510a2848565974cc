"""Runs policies over a period, simulates their warms against the cache, and learns the thresholds that meet targets.

A policy gets the opens before a day's last cutoff and nothing else; values for keys that were not known at their
decision's cutoff are dropped here, whatever the policy returns.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from adwarm.foundation.arrow_arrays import Floats, Ints
from adwarm.patterns.opens import Opens
from adwarm.replay.cache_simulation import CacheSimulation, EvaluationPeriod, SimulationCounts, SimulationInputs
from adwarm.replay.policy import Policy, Ranking, ReplayTiming

NO_COLUMNS: Ints = np.zeros(0, np.int64)
NEVER_WARM = np.inf
_COARSE_THRESHOLDS, _FINE_MULTIPLES = 32, 40
_SLACK = 1.02
"""Calls may exceed a target by this factor while thresholds are learned."""

ProgressCallback = Callable[[float], None]
"""Called with the share of the work, 0 to 1, that was just done."""


def ignore_progress(_share: float) -> None:
    """Do nothing."""


def iter_rankings(
    policy: Policy,
    opens: Opens,
    period: EvaluationPeriod,
    timing: ReplayTiming,
    on_progress: ProgressCallback = ignore_progress,
) -> Iterator[tuple[int, Ranking]]:
    """Yield each decision's moment with the policy's ranking; an empty one where the policy yields none.

    The policy is fitted at the start of the period and every `refit_every` after it.
    """
    share = timing.step / max(period.end - period.start, 1)
    for needs_fit, decisions in period.iter_days(timing):
        if needs_fit:
            policy.fit(opens.before(int(decisions.cutoff[0])), timing)
        history = opens.before(int(decisions.cutoff[-1]))
        rankings = {ranking.decision: ranking for ranking in policy.rank(history, decisions)}
        for index, (at, cutoff) in enumerate(zip(decisions.at.tolist(), decisions.cutoff.tolist(), strict=True)):
            ranking = rankings.get(index)
            yield at, _empty_ranking(index) if ranking is None else _drop_unknown_keys(ranking, opens, cutoff)
        on_progress(share * len(decisions))


def _empty_ranking(index: int) -> Ranking:
    return Ranking(index, np.zeros(0, np.int32), np.zeros(0))


def _drop_unknown_keys(ranking: Ranking, opens: Opens, cutoff: int) -> Ranking:
    """Drop keys first opened after the cutoff, and values of 0 or less that come without a probability."""
    key_count = int(np.searchsorted(opens.first_ts, cutoff, "left"))
    selected = (ranking.key < key_count) & ((ranking.warm_value > 0) | (ranking.probability is not None))
    value = np.where(ranking.warm_value > 0, ranking.warm_value, -np.inf)  # NaN is not above 0 either
    probability = None
    if ranking.probability is not None:
        probability = np.clip(np.nan_to_num(ranking.probability[selected]), 0.0, 1.0)
    warm_at = None if ranking.warm_at is None else ranking.warm_at[selected]
    return replace(
        ranking, key=ranking.key[selected], warm_value=value[selected], probability=probability, warm_at=warm_at
    )


def simulate(
    inputs: SimulationInputs,
    period: EvaluationPeriod,
    rankings: Iterable[tuple[int, Ranking]],
    thresholds: Floats,
    record: Ints = NO_COLUMNS,
) -> SimulationCounts:
    """Return the counts at each threshold.

    A decision comes before the opens of the same moment. The cache is empty at the start.

    Args:
        inputs: the log and how the cache works.
        rankings: decisions in the order of time, with the policy's ranking.
        thresholds: a key is warmed when its value reaches the threshold.
        record: indices of thresholds whose warms are recorded; with `inputs.count_requests` all are.
    """
    columns: Ints = record if inputs.count_requests is None else np.arange(len(thresholds), dtype=np.int64)
    cache = CacheSimulation(inputs, period, thresholds, columns)
    opens = inputs.opens.since(period.start).before(period.end)
    moments = zip(opens.ts.tolist(), opens.key.tolist(), opens.first.tolist(), strict=True)
    at, key, first = next(moments, (period.end, 0, False))
    for decided_at, ranking in _with_end(rankings, period.end):
        while at < decided_at:
            cache.open(at, key, first)
            at, key, first = next(moments, (period.end, 0, False))
        if ranking is not None:
            cache.decide(decided_at, min(decided_at + inputs.timing.step, period.end), ranking)
    return cache.counts


def _with_end(rankings: Iterable[tuple[int, Ranking]], end: int) -> Iterator[tuple[int, Ranking | None]]:
    yield from rankings
    yield end, None


@dataclass(frozen=True)
class Thresholds:
    """Thresholds learned in training.

    Attributes:
        curve: the thresholds that draw a policy's curve, descending, infinity first.
        targets: multiples of the calls without warming.
        target: per target, the threshold that meets it.
    """

    curve: Floats
    targets: Sequence[float]
    target: Floats


def learn_thresholds(
    policy: Policy,
    inputs: SimulationInputs,
    period: EvaluationPeriod,
    targets: Sequence[float],
    on_progress: ProgressCallback = ignore_progress,
) -> Thresholds:
    """Return the thresholds that meet `targets` on `period`, and those of the curve around them.

    The policy is fitted on the time before `period`, which is the end of the training part.
    """
    rankings = [
        (at, _keep_warmable(ranking))
        for at, ranking in iter_rankings(policy, inputs.opens, period, inputs.timing, on_progress)
    ]
    values = _sorted_warm_values(rankings)
    if not len(values):
        return Thresholds(np.array([NEVER_WARM]), targets, np.full(len(targets), NEVER_WARM))
    ranks = np.unique(np.geomspace(1, len(values), _COARSE_THRESHOLDS).astype(np.int64))
    coarse = _with_never_warm(values[ranks - 1])
    multiple, _ = _simulate_thresholds(inputs, period, rankings, coarse)
    multiples = np.unique([*np.linspace(1.02, max(*targets, 3.0) * 1.15, _FINE_MULTIPLES), *targets])
    fine = _with_never_warm(np.concatenate([_interpolate_thresholds(values, coarse, multiple, multiples), coarse]))
    multiple, _ = _simulate_thresholds(inputs, period, rankings, fine)
    at_targets = _interpolate_thresholds(values, fine, multiple, np.array(targets))
    curve = _with_never_warm(np.concatenate([fine, at_targets]))
    multiple, hits = _simulate_thresholds(inputs, period, rankings, curve)
    best = np.array([_best_threshold(curve, multiple, hits, target) for target in targets])
    return Thresholds(curve, targets, best)


def _keep_warmable(ranking: Ranking) -> Ranking:
    """Drop the keys that no threshold warms, and the probabilities: the rankings of weeks are held in memory."""
    warmable = np.isfinite(ranking.warm_value)
    warm_at = None if ranking.warm_at is None else ranking.warm_at[warmable]
    return replace(
        ranking, key=ranking.key[warmable], warm_value=ranking.warm_value[warmable], probability=None, warm_at=warm_at
    )


def _sorted_warm_values(rankings: list[tuple[int, Ranking]]) -> Floats:
    """Return all values that may warm, highest first."""
    values = np.concatenate([ranking.warm_value for _, ranking in rankings]) if rankings else np.zeros(0)
    return np.sort(values[np.isfinite(values)])[::-1]


def _with_never_warm(thresholds: Floats) -> Floats:
    return np.concatenate([[NEVER_WARM], np.unique(thresholds[np.isfinite(thresholds)])[::-1]])


def _simulate_thresholds(
    inputs: SimulationInputs, period: EvaluationPeriod, rankings: list[tuple[int, Ranking]], thresholds: Floats
) -> tuple[Floats, Floats]:
    """Return, per threshold, the calls as multiples of no warming, and the first opens served fresh."""
    counts = simulate(inputs, period, rankings, thresholds)
    calls = inputs.calls(counts, period).sum(axis=0).astype(np.float64)
    return calls / max(float(calls[0]), 1.0), counts.first_hits.sum(axis=0).astype(np.float64)


def _interpolate_thresholds(values: Floats, thresholds: Floats, multiple: Floats, targets: Floats) -> Floats:
    """Return thresholds that should give the multiples `targets`, interpolated by the rank of the value."""
    rank = np.searchsorted(-values, -thresholds, "right").astype(np.float64)
    rising = np.maximum.accumulate(multiple)
    ranks = np.exp(np.interp(targets, rising, np.log(np.maximum(rank, 0.5))))
    return np.asarray(values[np.clip(np.round(ranks).astype(np.int64) - 1, 0, len(values) - 1)])


def _best_threshold(thresholds: Floats, multiple: Floats, hits: Floats, target: float) -> float:
    """Return the threshold that serves most first opens with at most `_SLACK` times the target's calls."""
    affordable = np.where(multiple <= target * _SLACK, hits, -1.0)
    return float(thresholds[np.argmax(affordable)])
