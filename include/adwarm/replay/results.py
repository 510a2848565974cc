"""The results of a policy's replay: curve with intervals, probability metrics, targets, comparison with others."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adwarm.foundation.arrow_arrays import Floats, Ints, Ints32
from adwarm.patterns.opens import Opens
from adwarm.replay.cache_simulation import SimulationCounts, age_quantile
from adwarm.replay.policy import Policy, Ranking, ReplayTiming, find_evaluated
from adwarm.replay.simulate import Thresholds

READ_AT = (1.5, 2.0, 3.0)
"""Multiples at which curves are always read."""
HIT_SECONDS = 0.05
"""How long an open takes that is served from the cache."""
REFERENCE_POLICIES = ("forecast-adwarm", "adwarm", "hour-of-week")
"""The policy that others are compared with by default: the first of these that was replayed."""
SEED = 20_130_411
ROUNDS = 1_000
"""Bootstrap rounds."""
_ROUNDS_PER_BLOCK = 50
BINS = 20_000
MIN_PROBABILITY = 0.1
"""Calibration is measured over cases with at least this probability."""
CALIBRATION_BINS = 10
_MAX_LOGIT = 14.0
_TINY = 1e-6


@dataclass(frozen=True)
class PolicyResult:
    """The results of one policy.

    Attributes:
        target_columns: per target, the column of its threshold.
        read_at: the multiples at which the curve was read.
        document: all figures as JSON values.
    """

    name: str
    target_columns: list[tuple[float, int]]
    points: "CurvePoints"
    read_at: list[float]
    document: dict[str, Any]


def policy_result(
    policy: Policy,
    thresholds: Thresholds,
    counts: SimulationCounts,
    calls: Ints32,
    fetch_seconds: float,
    *,
    probability: dict[str, Any] | None,
    as_deployed: dict[str, Any] | None,
) -> PolicyResult:
    """Return the results of a policy.

    Args:
        thresholds: one per column of `counts`.
        calls: upstream calls, cells x columns.
        fetch_seconds: how long a reader waits at a miss.
        probability: metrics of its probabilities; None when it states none.
        as_deployed: the figures of its deployed plan; None when it is not a forecast.
    """
    read_at = sorted({*READ_AT, *thresholds.targets})
    points = curve_points(counts, calls, np.array(read_at))
    columns = np.searchsorted(-thresholds.curve, -thresholds.target)
    target_columns = [(float(target), int(col)) for target, col in zip(thresholds.targets, columns, strict=True)]
    seconds = _response_seconds(counts, fetch_seconds)
    document = {
        "name": policy.name,
        "about": policy.about,
        "targets": [
            {
                "target": target,
                "threshold": _finite(thresholds.curve[column]),
                "multiple": float(points.multiple[column]),
                "calls": int(calls[:, column].sum()),
                **_column_figures(counts, points, column),
                "response_seconds": float(seconds[column]),
                "response_against_none": _share(seconds[column], seconds[0]),
            }
            for target, column in target_columns
        ],
        "read_off_curve": _read_curve(points, read_at),
        "curve": _curve_document(thresholds.curve, counts, points),
        "probability": probability,
        "as_deployed": as_deployed,
    }
    return PolicyResult(policy.name, target_columns, points, read_at, document)


def compare_policies(
    results: Sequence[PolicyResult], names: Sequence[str] = REFERENCE_POLICIES
) -> dict[str, Any] | None:
    """Return by how much the reference policy's first-open hit ratio exceeds each other's at equal calls.

    The reference is the first of `names` that was replayed; None without one, or with nothing to compare it with.
    """
    by_name = {result.name: result for result in results}
    reference = next((by_name[name] for name in names if name in by_name), None)
    if reference is None or len(results) < 2:
        return None
    others = [result for result in results if result.name != reference.name]
    return {"policy": reference.name, "against": {other.name: _difference(reference, other) for other in others}}


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


def _column_figures(counts: SimulationCounts, points: "CurvePoints", column: int) -> dict[str, Any]:
    """Return the hits, warms and ages at one threshold."""
    warms, used = int(counts.warms[:, column].sum()), int(counts.used[:, column].sum())
    return {
        "hit_ratio": _share(counts.hits[:, column].sum(), counts.opens.sum()),
        "first_open_hit_ratio": float(points.ratio[column]),
        "first_open_hit_ratio_interval": confidence_interval(resampled_ratio(counts, column)),
        "warms": warms,
        "used": used,
        "cache_efficiency": _share(used, warms),
        "wasted": warms - used,
        "age_minutes_median": age_quantile(counts.ages[column], 0.5),
        "age_minutes_p95": age_quantile(counts.ages[column], 0.95),
    }


def _read_curve(points: "CurvePoints", read_at: Sequence[float]) -> list[dict[str, Any]]:
    most = float(points.multiple.max())
    return [
        {
            "multiple": multiple,
            "first_open_hit_ratio": float(points.ratio_at[n]),
            "interval": confidence_interval(points.resampled[:, n]),
            "within_reach": bool(multiple <= most + 1e-9),
        }
        for n, multiple in enumerate(read_at)
    ]


def _curve_document(thresholds: Floats, counts: SimulationCounts, points: "CurvePoints") -> list[dict[str, Any]]:
    hits, opens = counts.hits.sum(axis=0), int(counts.opens.sum())
    warms, used = counts.warms.sum(axis=0), counts.used.sum(axis=0)
    order = np.argsort(points.multiple, kind="stable").tolist()
    return [
        {
            "threshold": _finite(thresholds[n]),
            "multiple": float(points.multiple[n]),
            "first_open_hit_ratio": float(points.ratio[n]),
            "hit_ratio": _share(hits[n], opens),
            "cache_efficiency": _share(used[n], warms[n]),
        }
        for n in order
    ]


def _response_seconds(counts: SimulationCounts, fetch_seconds: float) -> Floats:
    """Return the mean time of an open per column: a miss waits for its fetch, a joined open for the rest of one."""
    hits, misses = counts.hits.sum(axis=0), counts.misses.sum(axis=0)
    waits = np.minimum(counts.wait_micros / 1e6, counts.joined_opens * fetch_seconds)
    return np.asarray((hits * HIT_SECONDS + misses * fetch_seconds + waits) / max(int(counts.opens.sum()), 1))


def _finite(threshold: Any) -> float | None:
    return float(threshold) if np.isfinite(threshold) else None


def _share(part: Any, whole: Any) -> float | None:
    return float(part) / float(whole) if whole else None


@dataclass(frozen=True)
class CurvePoints:
    """A policy's curve with bootstrap copies.

    The bootstrap draws cells, an account in a week each, because the opens of a cell are correlated.

    Attributes:
        multiple: calls as multiples of no warming, per threshold.
        ratio: first-open hit ratio, per threshold.
        ratio_at: ratio at each multiple that the curve was read at, interpolated.
        resampled: the same per bootstrap round; rounds x multiples.
    """

    multiple: Floats
    ratio: Floats
    ratio_at: Floats
    resampled: Floats


def curve_points(counts: SimulationCounts, calls: Ints32, read_at: Floats) -> CurvePoints:
    """Return the curve read at the multiples `read_at`, with bootstrap copies.

    Equal logs are resampled alike, so that the difference of two policies can be taken round by round.
    """
    used = np.flatnonzero((counts.opens > 0) | (calls > 0).any(axis=1))  # a week without an open may have its warms
    called, hits, first = (part[used].astype(np.float64) for part in (calls, counts.first_hits, counts.first_opens))
    multiple, ratio = _weighted_curve(np.ones((1, len(used))), called, hits, first)
    rng = np.random.default_rng(SEED)
    samples = []
    for _ in range(-(-ROUNDS // _ROUNDS_PER_BLOCK)):
        weights = _draw_weights(rng, len(used), _ROUNDS_PER_BLOCK)
        samples.append(_interpolate(*_weighted_curve(weights, called, hits, first), read_at))
    resampled = np.concatenate(samples)[:ROUNDS]
    return CurvePoints(multiple[0], ratio[0], _interpolate(multiple, ratio, read_at)[0], resampled)


def confidence_interval(samples: Floats) -> list[float]:
    """Return the 95 % interval of the samples."""
    low, high = np.quantile(samples, [0.025, 0.975])
    return [float(low), float(high)]


def resampled_ratio(counts: SimulationCounts, column: int) -> Floats:
    """Return the first-open hit ratio at one threshold per bootstrap round."""
    used = np.flatnonzero(counts.opens)
    rng = np.random.default_rng(SEED)
    weights = _draw_weights(rng, len(used), ROUNDS)
    return np.asarray((weights @ counts.first_hits[used, column]) / np.maximum(weights @ counts.first_opens[used], 1.0))


def _draw_weights(rng: np.random.Generator, cells: int, rounds: int) -> Floats:
    """Return how often each cell is drawn in each round; there may be no cells at all."""
    drawn = rng.multinomial(cells, np.full(cells, 1 / cells), rounds) if cells else np.zeros((rounds, 0))
    return drawn.astype(np.float64)


def _weighted_curve(weights: Floats, calls: Floats, hits: Floats, first: Floats) -> tuple[Floats, Floats]:
    called = weights @ calls
    return called / np.maximum(called[:, :1], 1.0), (weights @ hits) / np.maximum(weights @ first, 1.0)[:, None]


def _interpolate(multiple: Floats, ratio: Floats, read_at: Floats) -> Floats:
    # Perfect foresight saves a few calls against no warming; a curve starts at the calls of no warming.
    multiple = np.maximum(multiple, 1.0)
    order = np.argsort(multiple, axis=1, kind="stable")
    pairs = zip(np.take_along_axis(multiple, order, 1), np.take_along_axis(ratio, order, 1), strict=True)
    return np.array([np.interp(read_at, x, y) for x, y in pairs])


class ProbabilityMetrics:
    """Compares stated probabilities with what happened, in narrow bins, so that memory does not grow with the log.

    Every known key at every decision is a case; a key that the policy does not name counts as probability 0. Keys that
    `find_evaluated` leaves out are none.

    Args:
        policy: its event is known after its first fit, which happens at the first ranking.
        timing: its lag tells which keys are known.
        end: end of the log, microseconds since 1970; later horizons are not counted.
    """

    def __init__(self, policy: Policy, opens: Opens, timing: ReplayTiming, end: int) -> None:
        self._policy, self._opens, self._first_opens = policy, opens, opens.only_first()
        self._timing, self._end, self._horizon = timing, end, 0
        self._cases = np.zeros(BINS, np.int64)
        self._true = np.zeros(BINS, np.int64)
        self._sum = np.zeros(BINS)
        self._squares = 0.0
        self._loss = 0.0

    def observe(self, rankings: Iterable[tuple[int, Ranking]]) -> Iterator[tuple[int, Ranking]]:
        """Yield the rankings unchanged, and count their probabilities, unless their horizon ends after the log."""
        for at, ranking in rankings:
            event = self._policy.predicted_event
            if event is not None and ranking.probability is not None and at + event.horizon <= self._end:
                self._horizon = event.horizon
                self._count(at, ranking, ranking.probability)
            yield at, ranking

    def _count(self, at: int, ranking: Ranking, probability: Floats) -> None:
        key_count = int(np.searchsorted(self._opens.first_ts, at - self._timing.lag, "left"))
        stated: Floats = np.zeros(key_count)
        stated[ranking.key] = probability
        happened = np.zeros(key_count, np.bool_)
        opened = self._first_opens.since(at).before(at + self._horizon).key
        happened[opened[opened < key_count]] = True
        evaluated = find_evaluated(ranking, self._opens, at)[:key_count]
        stated, happened = stated[evaluated], happened[evaluated]
        bins = _bin(stated)
        self._cases += np.bincount(bins, minlength=BINS)
        self._true += np.bincount(bins[happened], minlength=BINS)
        self._sum += np.bincount(bins, stated, minlength=BINS)
        self._squares += float(np.square(stated - happened).sum())
        likelihood = np.clip(np.where(happened, stated, 1.0 - stated), _TINY, 1.0)
        self._loss -= float(np.log(likelihood).sum())

    def compute(self) -> dict[str, Any] | None:
        """Return Brier score, log loss, PR-AUC and calibration as JSON values; None when no probability was stated."""
        cases, true = int(self._cases.sum()), int(self._true.sum())
        if not cases:
            return None
        rate = true / cases
        likely = np.arange(BINS) >= int(_bin(np.array([MIN_PROBABILITY]))[0])
        bins = _equal_mass_bins(self._cases[likely], self._true[likely], self._sum[likely])
        mass = sum(row["cases"] for row in bins)
        gap = sum(row["cases"] * abs(row["stated"] - row["came_true"]) for row in bins)
        brier, brier_of_rate = self._squares / cases, rate * (1 - rate)
        return {
            "cases": cases,
            "base_rate": rate,
            "horizon_seconds": self._horizon / 1e6,
            "brier": brier,
            "skill": 1 - brier / brier_of_rate if brier_of_rate else None,
            "log_loss": self._loss / cases,
            "pr_auc": self._pr_auc(),
            "ece": gap / mass if mass else None,
            "ece_share_of_cases": mass / cases,
            "bins": bins,
        }

    def _pr_auc(self) -> float | None:
        """Return the average precision, with each bin as one score that its cases share."""
        if not self._true.any():
            return None
        true, cases = np.cumsum(self._true[::-1]), np.cumsum(self._cases[::-1])
        recalls = self._true[::-1] / true[-1]
        return float(recalls @ (true / np.maximum(cases, 1)))


def _bin(probability: Floats) -> Ints:
    """Return the bin of each probability; bins are equally wide in the logit, so narrow near 0 and 1."""
    bounded = np.clip(probability, _TINY, 1 - _TINY)
    logit = np.log(bounded / (1 - bounded))
    return np.asarray((logit + _MAX_LOGIT) / (2 * _MAX_LOGIT) * BINS, np.int64)


def _equal_mass_bins(cases: Ints, true: Ints, total: Floats) -> list[dict[str, float]]:
    """Return up to ten bins with about the same number of cases: cases, mean probability, share that came true."""
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
