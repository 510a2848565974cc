"""Makes stated chances come true: a rising curve with three numbers, learned on weeks the model has not seen.

Beta calibration (Kull et al., 2017): a logistic regression on log(p) and -log(1-p). Unlike steps it keeps the order of
any two chances, so that calibrating never changes what is warmed first.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from adwarm.foundation.arrow_arrays import Floats

_EDGE = 1e-6
_LEAST = 30


@dataclass(frozen=True, slots=True)
class Calibration:
    """`low` and `high` stretch the chance near 0 and near 1 (1 is as it was), `shift` moves all."""

    low: float = 1.0
    high: float = 1.0
    shift: float = 0.0

    def __call__(self, chance: Floats) -> Floats:
        """Return calibrated chances; never falls where `chance` rises."""
        sure = np.clip(chance, _EDGE, 1.0 - _EDGE)
        odds = self.low * np.log(sure) - self.high * np.log1p(-sure) + self.shift
        result: Floats = 1.0 / (1.0 + np.exp(-odds))
        return result

    def shrunk(self, trust: float) -> "Calibration":
        """Return the curve between leaving chances as they are (`trust` 0) and this one (1)."""
        return Calibration(1.0 + trust * (self.low - 1.0), 1.0 + trust * (self.high - 1.0), trust * self.shift)


def calibrate(chance: Floats, happened: npt.NDArray[np.bool_], weight: Floats) -> Calibration:
    """Return the curve that fits what happened; the identity when too little happened to tell."""
    if happened.sum() < _LEAST or (~happened).sum() < _LEAST:
        return Calibration()
    sure = np.clip(chance, _EDGE, 1.0 - _EDGE)
    sides = np.stack([np.log(sure), -np.log1p(-sure)], axis=1)
    for columns in ([0, 1], [0], [1]):
        fitted = LogisticRegression(C=100.0, max_iter=200).fit(sides[:, columns], happened, weight)
        slope = np.zeros(2)
        slope[columns] = fitted.coef_[0]
        if slope.min() >= 0.0 and slope.max() > 0.0:
            return Calibration(float(slope[0]), float(slope[1]), float(fitted.intercept_[0]))
    return Calibration()
