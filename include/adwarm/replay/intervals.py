"""Uncertainty by bootstrap over accounts x weeks: opens of one account in one week rise and fall together."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adwarm.foundation.arrow_arrays import Floats
from adwarm.replay.cache_simulation import SimulationCounts

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
    multiple, ratio = _curve(np.ones((1, len(live))), called, hits, first)
    rng = np.random.default_rng(SEED)
    samples = []
    for _ in range(-(-rounds // _BLOCK)):
        weights = _weights(rng, len(live), _BLOCK)
        samples.append(_read(*_curve(weights, called, hits, first), read_at))
    resampled = np.concatenate(samples)[:rounds]
    return CurvePoints(multiple[0], ratio[0], _read(multiple, ratio, read_at)[0], resampled)


def confidence_interval(samples: Floats) -> list[float]:
    """Return the 95 % interval of the samples."""
    low, high = np.quantile(samples, [0.025, 0.975])
    return [float(low), float(high)]


def resampled_ratio(counts: SimulationCounts, column: int, rounds: int = ROUNDS) -> Floats:
    """Return resampled first-open hit ratios at one threshold."""
    live = np.flatnonzero(counts.opens)
    rng = np.random.default_rng(SEED)
    weights = _weights(rng, len(live), rounds)
    return np.asarray((weights @ counts.first_hits[live, column]) / np.maximum(weights @ counts.first_opens[live], 1.0))


def _weights(rng: np.random.Generator, cells: int, rounds: int) -> Floats:
    """Return how often each cell is drawn in each round; there may be no cells at all."""
    drawn = rng.multinomial(cells, np.full(cells, 1 / cells), rounds) if cells else np.zeros((rounds, 0))
    return drawn.astype(np.float64)


def _curve(weights: Floats, calls: Floats, hits: Floats, first: Floats) -> tuple[Floats, Floats]:
    called = weights @ calls
    return called / np.maximum(called[:, :1], 1.0), (weights @ hits) / np.maximum(weights @ first, 1.0)[:, None]


def _read(multiple: Floats, ratio: Floats, wanted: Floats) -> Floats:
    # Perfect foresight saves a few calls against none; a curve starts at the calls of none.
    multiple = np.maximum(multiple, 1.0)
    order = np.argsort(multiple, axis=1, kind="stable")
    pairs = zip(np.take_along_axis(multiple, order, 1), np.take_along_axis(ratio, order, 1), strict=True)
    return np.array([np.interp(wanted, x, y) for x, y in pairs])
