"""Calibrates predicted chances with a monotonic curve of three parameters, fitted on time the model has not seen.

Beta calibration (Kull et al., 2017): a logistic regression on log(p) and -log(1-p). Unlike isotonic regression it keeps
the order of any two chances, so calibration never changes what is warmed first.
"""

from dataclasses import dataclass

import numpy as np

from adwarm.foundation.arrow_arrays import Bools, Floats

_MIN_CHANCE = 1e-6
_MIN_LABELS = 30


@dataclass(frozen=True, slots=True)
class Calibration:
    """A calibration curve; the default is the identity.

    Attributes:
        low: slope near 0; 1 leaves the chances as they are.
        high: slope near 1; likewise.
        shift: added to the log odds.
    """

    low: float = 1.0
    high: float = 1.0
    shift: float = 0.0

    def __call__(self, chance: Floats) -> Floats:
        """Return calibrated chances; monotonic in `chance`."""
        bounded = np.clip(chance, _MIN_CHANCE, 1.0 - _MIN_CHANCE)
        log_odds = self.low * np.log(bounded) - self.high * np.log1p(-bounded) + self.shift
        result: Floats = 1.0 / (1.0 + np.exp(-log_odds))
        return result

    def shrunk(self, trust: float) -> "Calibration":
        """Return the curve between the identity (`trust` 0) and this one (1)."""
        return Calibration(1.0 + trust * (self.low - 1.0), 1.0 + trust * (self.high - 1.0), trust * self.shift)


def calibrate(chance: Floats, label: Bools, weight: Floats) -> Calibration:
    """Return the curve fitted to labels; the identity with fewer than `_MIN_LABELS` positive or negative ones."""
    if label.sum() < _MIN_LABELS or (~label).sum() < _MIN_LABELS:
        return Calibration()
    from sklearn.linear_model import LogisticRegression

    bounded = np.clip(chance, _MIN_CHANCE, 1.0 - _MIN_CHANCE)
    sides = np.stack([np.log(bounded), -np.log1p(-bounded)], axis=1)
    # A negative slope would reverse the order of chances; then one side alone is fitted.
    for columns in ([0, 1], [0], [1]):
        fitted = LogisticRegression(C=100.0, max_iter=200).fit(sides[:, columns], label, weight)
        slope = np.zeros(2)
        slope[columns] = fitted.coef_[0]
        if slope.min() >= 0.0 and slope.max() > 0.0:
            return Calibration(float(slope[0]), float(slope[1]), float(fitted.intercept_[0]))
    return Calibration()
