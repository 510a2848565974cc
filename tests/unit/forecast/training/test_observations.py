"""Observations of first opens, and early minutes."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from adwarm.forecast.training.observations import PRIOR_OPENS, build_observations, early_minutes
from adwarm.settings import Settings
from tests.unit.forecast.conftest import MakeOpens

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
SETTINGS = Settings(default_zone="Asia/Tokyo")


def test_one_open_counts_per_hour_and_week(make_opens: MakeOpens) -> None:
    """Three opens within one hour of one day are one observation; the same hour a week later is another."""
    first = MONDAY - timedelta(weeks=2) + timedelta(hours=9)
    moments = [first, first + timedelta(minutes=31), first + timedelta(minutes=59), first + timedelta(weeks=1)]
    seen = build_observations(make_opens(moments), SETTINGS, MONDAY)
    assert seen.cell_hour.tolist() == [9]
    assert seen.cell_opens.tolist() == [2]


def test_observations_decay_with_age(make_opens: MakeOpens) -> None:
    """An open one half-life ago counts half."""
    old = MONDAY - timedelta(days=28)
    seen = build_observations(make_opens([old, MONDAY - timedelta(hours=1)]), SETTINGS, MONDAY)
    assert dict(zip(seen.cell_hour.tolist(), seen.cell_weight.tolist(), strict=True)) == {
        0: pytest.approx(0.5),
        167: pytest.approx(0.5 ** (1 / 672)),
    }


def test_a_newcomers_first_open_is_no_evidence(make_opens: MakeOpens) -> None:
    """The first open of a new key shows when it appeared, not how often it is opened."""
    long_known = make_opens([MONDAY - timedelta(weeks=7)], "act_1")
    new = make_opens([MONDAY - timedelta(weeks=2)], "act_2")
    seen = build_observations(pd.concat([long_known, new]), SETTINGS, MONDAY)
    assert seen.newcomer.tolist() == [False, True]
    weights = dict(zip(seen.cell_key.tolist(), seen.cell_weight.tolist(), strict=True))
    assert weights[0] > 0
    assert weights[1] == 0
    assert seen.span_hours.tolist() == [7 * 168, 2 * 168 - 1]


def test_rows_before_the_history_only_make_a_key_no_newcomer(make_opens: MakeOpens) -> None:
    """An open older than the history is not counted, but its key is not a newcomer."""
    moments = [MONDAY - timedelta(days=80), MONDAY - timedelta(days=10)]
    seen = build_observations(make_opens(moments), SETTINGS, MONDAY)
    assert seen.newcomer.tolist() == [False]
    assert seen.cell_opens.sum() == 1
    assert seen.trained_from == MONDAY - timedelta(days=SETTINGS.forecast.history_days)


def test_a_keys_zone_is_that_of_its_latest_open(make_opens: MakeOpens) -> None:
    """The zone of the last open counts; an unknown zone becomes the default."""
    hour = timedelta(hours=1)
    moved = [make_opens([MONDAY - 9 * hour], zone="Europe/Rome"), make_opens([MONDAY - hour], zone="Asia/Kolkata")]
    lost = make_opens([MONDAY - hour], "act_2", zone="Nowhere/At_All")
    unsaid = make_opens([MONDAY - hour], "act_3", zone=None)
    seen = build_observations(pd.concat([*moved, lost, unsaid]), SETTINGS, MONDAY)
    assert seen.keys["time_zone"].tolist() == ["Asia/Kolkata", "Asia/Tokyo", "Asia/Tokyo"]


def test_an_empty_log_is_no_error(make_opens: MakeOpens) -> None:
    """An empty log gives empty observations."""
    seen = build_observations(make_opens([]), SETTINGS, MONDAY)
    assert len(seen.keys) == 0
    assert np.sum(seen.cell_opens) == 0


def _events(minutes: list[float], hour: int = 9, row: int = 0) -> pd.DataFrame:
    return pd.DataFrame({"row": row, "hour_of_week": hour, "minute": minutes})


def test_a_steady_key_gets_its_own_minute() -> None:
    """With much evidence the prediction comes close to, and not after, the usual minute."""
    _, cell = early_minutes(_events([40.0] * 100), 1)
    assert cell.tolist() == pytest.approx([40.0])


def test_few_observations_are_shrunk_to_the_earlier_population() -> None:
    """One late open among many early ones does not make the fetch late."""
    population = _events([5.0] * 50, row=0)
    _, cell = early_minutes(pd.concat([population, _events([50.0], row=1)], ignore_index=True), 2)
    assert cell[1] == pytest.approx(5.0, abs=(50 - 5) / PRIOR_OPENS * 2)
    assert cell[1] < 20


def test_shrinking_never_makes_a_minute_later() -> None:
    """A key that is early stays early, however late the others are."""
    late = _events([55.0] * 50, row=0)
    key, cell = early_minutes(pd.concat([late, _events([3.0], row=1)], ignore_index=True), 2)
    assert key[1] == cell[1] == pytest.approx(3.0)
