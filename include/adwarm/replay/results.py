"""What a policy's replay amounts to: per target, along the whole curve, and against another policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from adwarm.foundation.arrow_arrays import Ints32
from adwarm.replay.cache_simulation import SimulationCounts, age_quantile
from adwarm.replay.intervals import CurvePoints, confidence_interval, curve_points, resampled_ratio
from adwarm.replay.policy import Policy
from adwarm.replay.threshold_curve import Thresholds

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
