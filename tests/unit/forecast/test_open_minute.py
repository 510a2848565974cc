"""The early minute inside an hour."""

import pandas as pd
import pytest

from adwarm.forecast.open_minute import LEAN, early_minutes


def _events(minutes: list[float], hour: int = 9, row: int = 0) -> pd.DataFrame:
    return pd.DataFrame({"row": row, "hour_of_week": hour, "minute": minutes})


def test_a_steady_key_gets_its_own_minute() -> None:
    """With much evidence the prediction comes close to, and not after, the usual minute."""
    _, cell = early_minutes(_events([40.0] * 100), 1)
    assert cell.tolist() == pytest.approx([40.0])


def test_few_observations_lean_on_the_earlier_population() -> None:
    """One late open among many early ones does not make the fetch late."""
    crowd = _events([5.0] * 50, row=0)
    _, cell = early_minutes(pd.concat([crowd, _events([50.0], row=1)], ignore_index=True), 2)
    assert cell[1] == pytest.approx(5.0, abs=(50 - 5) / LEAN * 2)
    assert cell[1] < 20


def test_nobody_makes_a_prediction_later() -> None:
    """A key that is early stays early, however late the others are."""
    late = _events([55.0] * 50, row=0)
    key, cell = early_minutes(pd.concat([late, _events([3.0], row=1)], ignore_index=True), 2)
    assert key[1] == cell[1] == pytest.approx(3.0)
