"""Curves from a measured decline to a score, 0 (fresh) to 100 (fatigued); continuous and never decreasing."""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Final


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

    def __call__(self, x: float) -> float:
        """Return the score at `x`."""
        right = bisect_right(self.points, x, key=lambda point: point[0])
        if right == 0:
            return self.points[0][1]
        if right == len(self.points):
            return self.points[-1][1]
        (x0, y0), (x1, y1) = self.points[right - 1], self.points[right]
        return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


CREATIVE_CURVE: Final = ScoreCurve(((0.0, 0.0), (0.10, 20.0), (0.25, 60.0), (0.50, 90.0), (0.75, 100.0)))
"""By the share of its usual click-through rate that an ad lost."""

AUDIENCE_CURVE: Final = ScoreCurve(((1.0, 0.0), (2.0, 20.0), (3.5, 65.0), (5.0, 90.0), (8.0, 100.0)))
"""By frequency: how often a person saw the ad in the range."""

ALGORITHM_CURVE: Final = ScoreCurve(((0.0, 0.0), (0.10, 20.0), (0.20, 50.0), (0.40, 90.0), (0.80, 100.0)))
"""By the increase of the price of a thousand impressions, as a share of the usual price."""
