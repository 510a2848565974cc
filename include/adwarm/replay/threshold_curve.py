"""Thresholds: which ones draw a policy's curve, and which one meets a target multiple of the calls of no warming.

Both are found on the training part alone: its last weeks are played with a policy that was fitted on the weeks before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adwarm.foundation.arrow_arrays import Floats
from adwarm.replay.evaluation_period import EvaluationPeriod, ProgressCallback, ignore_progress, iter_rankings
from adwarm.replay.policy import Policy, Ranking
from adwarm.replay.simulate import SimulationInputs, simulate

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
