"""Uncertainty by bootstrap over accounts x weeks: opens of one account in one week rise and fall together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score

from adwarm.foundation.arrow_arrays import Floats, Ints32
from adwarm.patterns.opens import Opens
from adwarm.replay.cache_simulation import SimulationCounts, age_quantile
from adwarm.replay.policy import Policy, PredictedEvent, Ranking, ReplayTiming
from adwarm.replay.simulate import Thresholds

SEED = 20_130_411
ROUNDS = 1_000
_BLOCK = 50


@dataclass(frozen=True)
class CurvePoints:
    """A policy's curve with its resampled copies.

    Attributes:
        multiple: calls as multiples of no warming, per threshold.
        ratio: first-open hit ratio, per threshold.
        at: ratio at each asked multiple, interpolated.
        resampled: rounds x asked multiples.
    """

    multiple: Floats
    ratio: Floats
    ratio_at: Floats
    resampled: Floats


def curve_points(
    counts: SimulationCounts, calls: npt.NDArray[np.int32], read_at: Floats, rounds: int = ROUNDS
) -> CurvePoints:
    """Return the curve, its values at `wanted` multiples, and the same for resampled cells.

    Equal logs are resampled alike, so that the difference of two policies can be taken round by round.
    """
    live = np.flatnonzero((counts.opens > 0) | (calls > 0).any(axis=1))  # a week without an open may have its warms
    called, hits, first = (part[live].astype(np.float64) for part in (calls, counts.first_hits, counts.first_opens))
    multiple, ratio = _resampled_curve(np.ones((1, len(live))), called, hits, first)
    rng = np.random.default_rng(SEED)
    samples = []
    for _ in range(-(-rounds // _BLOCK)):
        weights = _resampling_weights(rng, len(live), _BLOCK)
        samples.append(_interpolate(*_resampled_curve(weights, called, hits, first), read_at))
    resampled = np.concatenate(samples)[:rounds]
    return CurvePoints(multiple[0], ratio[0], _interpolate(multiple, ratio, read_at)[0], resampled)


def confidence_interval(samples: Floats) -> list[float]:
    """Return the 95 % interval of the samples."""
    low, high = np.quantile(samples, [0.025, 0.975])
    return [float(low), float(high)]


def resampled_ratio(counts: SimulationCounts, column: int, rounds: int = ROUNDS) -> Floats:
    """Return resampled first-open hit ratios at one threshold."""
    live = np.flatnonzero(counts.opens)
    rng = np.random.default_rng(SEED)
    weights = _resampling_weights(rng, len(live), rounds)
    return np.asarray((weights @ counts.first_hits[live, column]) / np.maximum(weights @ counts.first_opens[live], 1.0))


def _resampling_weights(rng: np.random.Generator, cells: int, rounds: int) -> Floats:
    """Return how often each cell is drawn in each round; there may be no cells at all."""
    drawn = rng.multinomial(cells, np.full(cells, 1 / cells), rounds) if cells else np.zeros((rounds, 0))
    return drawn.astype(np.float64)


def _resampled_curve(weights: Floats, calls: Floats, hits: Floats, first: Floats) -> tuple[Floats, Floats]:
    called = weights @ calls
    return called / np.maximum(called[:, :1], 1.0), (weights @ hits) / np.maximum(weights @ first, 1.0)[:, None]


def _interpolate(multiple: Floats, ratio: Floats, wanted: Floats) -> Floats:
    # Perfect foresight saves a few calls against none; a curve starts at the calls of none.
    multiple = np.maximum(multiple, 1.0)
    order = np.argsort(multiple, axis=1, kind="stable")
    pairs = zip(np.take_along_axis(multiple, order, 1), np.take_along_axis(ratio, order, 1), strict=True)
    return np.array([np.interp(wanted, x, y) for x, y in pairs])


BINS = 20_000
MIN_PROBABILITY = 0.1
"""Calibration is judged where the probability is at least this."""
CALIBRATION_BINS = 10
_SPREAD = 14.0
_TINY = 1e-6


class ProbabilityMetrics:
    """Compares probabilities with what came true."""

    def __init__(self, opens: Opens, event: PredictedEvent, timing: ReplayTiming, end: int) -> None:
        self._opens = opens.only_first() if event.first_opens_only else opens
        self._first_ts = opens.first_ts
        self._event, self._timing, self._end = event, timing, end
        self._cases = np.zeros(BINS, np.int64)
        self._true = np.zeros(BINS, np.int64)
        self._sum = np.zeros(BINS)
        self._squares = 0.0
        self._loss = 0.0

    def update(self, at: int, ranking: Ranking) -> None:
        """Count what was said at a decision, unless its horizon ends after the log."""
        if ranking.probability is not None and at + self._event.horizon <= self._end:
            self._count(at, ranking.key, ranking.probability)

    def _count(self, at: int, key: npt.NDArray[np.int32], probability: Floats) -> None:
        known = int(np.searchsorted(self._first_ts, at - self._timing.lag, "left"))
        stated: Floats = np.zeros(known)
        stated[key] = probability
        happened = np.zeros(known, np.bool_)
        coming = self._opens.since(at).before(at + self._event.horizon).key
        happened[coming[coming < known]] = True
        place = _bin(stated)
        self._cases += np.bincount(place, minlength=BINS)
        self._true += np.bincount(place[happened], minlength=BINS)
        self._sum += np.bincount(place, stated, minlength=BINS)
        self._squares += float(np.square(stated - happened).sum())
        sure = np.clip(np.where(happened, stated, 1.0 - stated), _TINY, 1.0)
        self._loss -= float(np.log(sure).sum())

    def compute(self) -> dict[str, Any] | None:
        """Return Brier score, log loss, PR-AUC and calibration; None when no probability was stated."""
        cases, true = int(self._cases.sum()), int(self._true.sum())
        if not cases:
            return None
        rate = true / cases
        likely = np.arange(BINS) >= int(_bin(np.array([MIN_PROBABILITY]))[0])
        bins = _equal_mass(self._cases[likely], self._true[likely], self._sum[likely])
        mass = sum(found["cases"] for found in bins)
        gap = sum(found["cases"] * abs(found["stated"] - found["came_true"]) for found in bins)
        brier, plain = self._squares / cases, rate * (1 - rate)
        return {
            "cases": cases,
            "base_rate": rate,
            "horizon_seconds": self._event.horizon / 1e6,
            "event": "first open" if self._event.first_opens_only else "open",
            "brier": brier,
            "skill": 1 - brier / plain if plain else None,
            "log_loss": self._loss / cases,
            "pr_auc": self._pr_auc(),
            "ece": gap / mass if mass else None,
            "ece_at_least": MIN_PROBABILITY,
            "ece_share_of_cases": mass / cases,
            "bins": bins,
        }

    def _pr_auc(self) -> float | None:
        if not self._true.any():
            return None
        labels, bins = np.repeat([True, False], BINS), np.tile(np.arange(BINS), 2)
        weights = np.concatenate([self._true, self._cases - self._true])
        return float(average_precision_score(labels, bins, sample_weight=weights))


def _bin(probability: Floats) -> npt.NDArray[np.int64]:
    """Return the bin of each probability: narrow near 0 and 1, by the logit."""
    clipped = np.clip(probability, _TINY, 1 - _TINY)
    logit = np.log(clipped / (1 - clipped))
    return np.asarray((logit + _SPREAD) / (2 * _SPREAD) * BINS, np.int64)


def _equal_mass(cases: npt.NDArray[np.int64], true: npt.NDArray[np.int64], total: Floats) -> list[dict[str, float]]:
    """Return up to ten bins of about equal size: cases, mean probability stated, share that came true."""
    if not cases.sum():
        return []
    middle = np.cumsum(cases) - cases / 2
    group = np.minimum((middle / cases.sum() * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    sizes, hits, sums = (np.bincount(group, values, minlength=CALIBRATION_BINS) for values in (cases, true, total))
    return [
        {"cases": int(n), "stated": float(s / n), "came_true": float(h / n)}
        for n, h, s in zip(sizes, hits, sums, strict=True)
        if n
    ]


READ_AT = (1.5, 2.0, 3.0)
"""Multiples at which curves are always read off."""
HIT_SECONDS = 0.05
"""How long an open takes that is served from the cache."""
REFERENCE_POLICIES = ("adwarm", "hour-of-week")
"""Which policy others are compared with by default: the first of these that was replayed."""


@dataclass(frozen=True)
class PolicyResult:
    """One policy's results.

    Attributes:
        name: the policy.
        columns: per target, the column of its threshold.
        points: its curve, with resampled copies.
        read_at: the multiples the curve was read at.
        document: all of it, made of plain values.
    """

    name: str
    target_columns: list[tuple[float, int]]
    points: CurvePoints
    read_at: list[float]
    document: dict[str, Any]


def policy_result(
    policy: Policy,
    thresholds: Thresholds,
    counts: SimulationCounts,
    calls: Ints32,
    targets: Sequence[float],
    fetch: float,
    quality: dict[str, Any] | None,
) -> PolicyResult:
    """Return the results of a policy. `fetch` is how long a miss is waited for, in seconds."""
    read_at = sorted({*READ_AT, *targets})
    points = curve_points(counts, calls, np.array(read_at))
    places = np.searchsorted(-thresholds.curve, -thresholds.target)
    columns = [(float(target), int(place)) for target, place in zip(targets, places, strict=True)]
    seconds = _response_seconds(counts, fetch)
    document = {
        "name": policy.name,
        "about": policy.about,
        "targets": [_at_target(target, place, thresholds, counts, calls, points, seconds) for target, place in columns],
        "read_off_curve": _read_off(points, read_at),
        "curve": _curve(thresholds.curve, counts, points),
        "probability": quality,
    }
    return PolicyResult(policy.name, columns, points, read_at, document)


def compare_policies(
    results: Sequence[PolicyResult], names: Sequence[str] = REFERENCE_POLICIES
) -> dict[str, Any] | None:
    """Return how much our policy's first-open hit ratio exceeds each other's at equal calls; None without ours.

    Ours is the first of `names` that was replayed.
    """
    by_name = {finding.name: finding for finding in results}
    ours = next((by_name[name] for name in names if name in by_name), None)
    if ours is None or len(results) < 2:
        return None
    others = [finding for finding in results if finding.name != ours.name]
    return {"policy": ours.name, "against": {other.name: _difference(ours, other) for other in others}}


def _difference(reference: PolicyResult, other: PolicyResult) -> list[dict[str, Any]]:
    gaps = reference.points.resampled - other.points.resampled
    return [
        {
            "multiple": multiple,
            "difference": float(reference.points.ratio_at[n] - other.points.ratio_at[n]),
            "interval": confidence_interval(gaps[:, n]),
        }
        for n, multiple in enumerate(reference.read_at)
    ]


def _at_target(
    target: float,
    column: int,
    thresholds: Thresholds,
    tally: SimulationCounts,
    calls: Ints32,
    points: CurvePoints,
    seconds: npt.NDArray[np.float64],
) -> dict[str, Any]:
    warms, used = int(tally.warms[:, column].sum()), int(tally.used[:, column].sum())
    threshold = float(thresholds.curve[column])
    return {
        "target": target,
        "threshold": threshold if np.isfinite(threshold) else None,
        "multiple": float(points.multiple[column]),
        "calls": int(calls[:, column].sum()),
        "hit_ratio": _share(tally.hits[:, column].sum(), tally.opens.sum()),
        "first_open_hit_ratio": float(points.ratio[column]),
        "first_open_hit_ratio_interval": confidence_interval(resampled_ratio(tally, column)),
        "first_open_hit_ratio_account_mean": _account_mean(tally, column),
        "warms": warms,
        "used": used,
        "cache_efficiency": _share(used, warms),
        "wasted": warms - used,
        "age_minutes_median": age_quantile(tally.ages[column], 0.5),
        "age_minutes_p95": age_quantile(tally.ages[column], 0.95),
        "response_seconds": float(seconds[column]),
        "response_against_none": _share(seconds[column], seconds[0]),
    }


def _read_off(points: CurvePoints, read_at: Sequence[float]) -> list[dict[str, Any]]:
    reach = float(points.multiple.max())
    return [
        {
            "multiple": multiple,
            "first_open_hit_ratio": float(points.ratio_at[n]),
            "interval": confidence_interval(points.resampled[:, n]),
            "within_reach": bool(multiple <= reach + 1e-9),
        }
        for n, multiple in enumerate(read_at)
    ]


def _curve(thresholds: npt.NDArray[np.float64], tally: SimulationCounts, points: CurvePoints) -> list[dict[str, Any]]:
    hits, opens = tally.hits.sum(axis=0), int(tally.opens.sum())
    warms, used = tally.warms.sum(axis=0), tally.used.sum(axis=0)
    order = np.argsort(points.multiple, kind="stable").tolist()
    return [
        {
            "threshold": float(thresholds[n]) if np.isfinite(thresholds[n]) else None,
            "multiple": float(points.multiple[n]),
            "first_open_hit_ratio": float(points.ratio[n]),
            "hit_ratio": _share(hits[n], opens),
            "cache_efficiency": _share(used[n], warms[n]),
        }
        for n in order
    ]


def _response_seconds(tally: SimulationCounts, fetch: float) -> npt.NDArray[np.float64]:
    """Return the mean time of an open per column: a miss waits for its fetch, a joined one for what is left of it."""
    hits, misses = tally.hits.sum(axis=0), tally.misses.sum(axis=0)
    waits = np.minimum(tally.wait_micros / 1e6, tally.joined_opens * fetch)
    return np.asarray((hits * HIT_SECONDS + misses * fetch + waits) / max(int(tally.opens.sum()), 1))


def _account_mean(tally: SimulationCounts, column: int) -> float | None:
    """Return the mean over accounts of their first-open hit ratio, so that busy accounts do not speak for all."""
    weeks = tally.weeks
    first = tally.first_opens.reshape(-1, weeks).sum(axis=1)
    hits = tally.first_hits[:, column].reshape(-1, weeks).sum(axis=1)
    live = first > 0
    return float((hits[live] / first[live]).mean()) if live.any() else None


def _share(part: Any, whole: Any) -> float | None:
    return float(part) / float(whole) if whole else None
