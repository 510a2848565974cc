"""Shorter training of the boosted forecast, for tests that need a forecast and not its quality."""

import pytest

from adwarm.forecast.models import classifiers
from adwarm.forecast.training import boosted_training


def shorten_training(patch: pytest.MonkeyPatch) -> None:
    """Let trees and regressions learn from a tenth of the usual rows, in a tenth of the rounds."""
    for name, rows in {"_ROWS": 12_000, "_TRIAL_ROWS": 5_000, "_CALIBRATION_ROWS": 2_500}.items():
        patch.setattr(boosted_training, name, rows)
    patch.setattr(classifiers, "_ITERATIONS", 10)
