"""Curves from a measured decline to a score, 0 (fresh) to 100 (fatigued); continuous and never decreasing."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

META_EXPONENT: Final = 0.43
"""Clicks fall as the power -0.43 of the exposures, attributed to a study of Meta."""
_POWER_LAW_EXPOSURES: Final = 60


@dataclass(frozen=True, slots=True)
class ScoreCurve:
    """Linear interpolation through `points`, constant before the first and after the last.

    Raises:
        ValueError: x does not increase, or y decreases, from one point to the next.
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if len(self.points) < 2 or any(a[0] >= b[0] or a[1] > b[1] for a, b in pairwise(self.points)):
            raise ValueError("a curve needs at least two points, each further right than the last and none lower")

    def __call__(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the score at each `x`; nan where it is nan."""
        xs, ys = zip(*self.points, strict=True)
        scores: npt.NDArray[np.float64] = np.interp(x, xs, ys)
        return scores


CREATIVE_CURVE: Final = ScoreCurve(((0.0, 0.0), (0.10, 20.0), (0.25, 60.0), (0.50, 90.0), (0.75, 100.0)))
"""By the share of its usual click-through rate that an ad lost."""

AUDIENCE_CURVE: Final = ScoreCurve(((1.0, 0.0), (2.0, 20.0), (3.5, 65.0), (5.0, 90.0), (8.0, 100.0)))
"""By frequency: how often a person saw the ad in the range."""

ALGORITHM_CURVE: Final = ScoreCurve(((0.0, 0.0), (0.10, 20.0), (0.20, 50.0), (0.40, 90.0), (0.80, 100.0)))
"""By the increase of the price of a thousand impressions, as a share of the usual price."""


def _power_law(exponent: float) -> ScoreCurve:
    """Return the curve of the mean loss of clicks over the exposures of a person, by their number.

    The k-th exposure earns `k ** -exponent` of the first one's clicks; the curve is 100 times one minus the mean of
    these over the exposures, linear between whole numbers.
    """
    exposures = np.arange(1, _POWER_LAW_EXPOSURES + 1)
    kept = np.cumsum(exposures**-exponent) / exposures
    return ScoreCurve(tuple((float(k), float(100 * (1 - share))) for k, share in zip(exposures, kept, strict=True)))


META_POWER_LAW: Final = _power_law(META_EXPONENT)
"""By frequency, like `AUDIENCE_CURVE`: the loss that the wear law of Meta's study implies."""

AUDIENCE_CURVES: Final = {"anchors": AUDIENCE_CURVE, "meta_power_law": META_POWER_LAW}
"""By the setting ADWARM_FATIGUE__AUDIENCE_CURVE."""
