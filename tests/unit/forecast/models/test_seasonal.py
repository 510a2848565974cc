"""The seasonal forecast: calibrated chances, the right hours, and no look-ahead."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from adwarm.forecast.models.seasonal import SeasonalForecast
from adwarm.forecast.protocol import PROBABILITY_COLUMNS
from adwarm.forecast.training.observations import build_observations
from adwarm.foundation.errors import Corrupt
from adwarm.settings import Settings
from tests.unit.forecast.conftest import MakeOpens

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
SETTINGS = Settings()
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def _train(opens: pd.DataFrame, until: datetime = MONDAY) -> SeasonalForecast:
    return SeasonalForecast(build_observations(opens, SETTINGS, until))


def _weekly(weeks: int, hours: int = 9, minutes: int = 20, until: datetime = MONDAY) -> list[datetime]:
    return [until - timedelta(weeks=week) + timedelta(hours=hours, minutes=minutes) for week in range(1, weeks + 1)]


def test_a_weekly_profile_is_learned(make_opens: MakeOpens) -> None:
    """Eight Mondays at nine make the next Monday at nine likely, and every other hour unlikely."""
    result = _train(make_opens(_weekly(8))).predict(MONDAY, 7 * DAY, floor=0.0)
    best = result.sort_values("probability").iloc[-1]
    assert best["slot_start"] == MONDAY + 9 * HOUR
    assert best["probability"] > 0.6
    assert (best["opens"], best["weeks"], best["hour_of_week"]) == (8, 8, 9)
    assert best["slot_start"] <= best["predicted_open"] <= best["slot_start"] + timedelta(minutes=20)
    assert result["probability"].drop(best.name).max() < 0.1


def test_rare_and_new_keys_get_small_chances(make_opens: MakeOpens) -> None:
    """A key opened once, long ago or yesterday, gets a small chance at every hour."""
    regular = [make_opens(_weekly(8, hours=h), f"act_{h}") for h in range(8, 18)]
    once = make_opens([MONDAY - 4 * DAY + 9 * HOUR], "act_90")
    old = make_opens([MONDAY - 50 * DAY + 9 * HOUR], "act_91")
    result = _train(pd.concat([*regular, once, old])).predict(MONDAY, 7 * DAY, floor=0.0)
    rare = result[result["account_id"].isin(["act_90", "act_91"])]
    assert len(rare) == 2 * 168
    assert rare["probability"].max() < 0.2


def test_a_new_key_is_shrunk_towards_its_account(make_opens: MakeOpens) -> None:
    """A range opened once is likelier in the account's busy hours than in others."""
    busy = [make_opens(_weekly(8, hours=14), "act_1", name) for name in ("last_14d", "last_30d", "yesterday")]
    new = make_opens([MONDAY - 3 * DAY], "act_1", "today")
    result = _train(pd.concat([*busy, new])).predict(MONDAY, DAY, floor=0.0)
    chance = result[result["date_range"] == "today"].set_index("hour_of_week")["probability"]
    assert chance[14] > 5 * chance[3]


def test_a_part_of_an_hour_has_a_part_of_its_chance(make_opens: MakeOpens) -> None:
    """From half past, half the chance of the hour is left, and the open is predicted in the rest of the hour."""
    model = _train(make_opens(_weekly(8)))
    whole = model.predict(MONDAY + 9 * HOUR, HOUR).iloc[0]
    half = model.predict(MONDAY + 9.5 * HOUR, HOUR / 2).iloc[0]
    assert half["probability"] == pytest.approx(whole["probability"] / 2)
    assert half["slot_start"] == half["predicted_open"] == MONDAY + 9.5 * HOUR


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
def test_the_readers_wall_clock_is_followed(make_opens: MakeOpens, zone: str) -> None:
    """Nine o'clock stays nine o'clock in the reader's zone over clock changes."""
    here = ZoneInfo(zone)
    for change in (datetime(2026, 3, 30), datetime(2026, 4, 6), datetime(2026, 11, 2)):
        days = [change - timedelta(days=back) for back in range(1, 40)]
        moments = [day.replace(hour=9, minute=5, tzinfo=here).astimezone(UTC) for day in days]
        until = change.replace(tzinfo=here).astimezone(UTC)
        result = _train(make_opens(moments, zone=zone), until).predict(until, DAY)
        best = result.sort_values("probability").iloc[-1]
        assert best["slot_start"] == change.replace(hour=9, tzinfo=here).astimezone(UTC)
        assert best["probability"] > 0.4


def test_later_opens_outweigh_earlier_ones(make_opens: MakeOpens) -> None:
    """A key that moved from nine to eleven is expected at eleven."""
    old = [MONDAY - timedelta(weeks=week) + 9 * HOUR for week in (5, 6, 7, 8)]
    new = [MONDAY - timedelta(weeks=week) + 11 * HOUR for week in (1, 2, 3, 4)]
    result = _train(make_opens(old + new)).predict(MONDAY, DAY).set_index("hour_of_week")["probability"]
    assert result[11] > result[9]


def test_the_stored_form_gives_the_same_forecast(make_opens: MakeOpens) -> None:
    """Written and read again it predicts the same, with the same id and the same bytes."""
    parts = [make_opens(_weekly(8, hours=h), f"act_{h % 3}", zone=z) for h, z in ((9, "UTC"), (11, "Asia/Kolkata"))]
    model = _train(pd.concat(parts))
    again = SeasonalForecast.from_bytes(model.to_bytes())
    assert again.id == model.id
    assert again.to_bytes() == model.to_bytes()
    assert_frame_equal(again.predict(MONDAY, DAY), model.predict(MONDAY, DAY), check_dtype=False)


def test_other_bytes_are_corrupt(subtests: pytest.Subtests) -> None:
    """Bytes that are no forecast are rejected."""
    for data in [b"", b"not parquet", b"PAR1" * 4]:
        with subtests.test(data=data), pytest.raises(Corrupt, match="train a new one"):
            SeasonalForecast.from_bytes(data)


def test_an_empty_log_gives_an_empty_forecast(make_opens: MakeOpens) -> None:
    """An empty log gives an empty forecast of the same shape, which can be stored."""
    model = _train(make_opens([]))
    result = model.predict(MONDAY, DAY)
    assert (len(result), list(result.columns)) == (0, PROBABILITY_COLUMNS)
    assert SeasonalForecast.from_bytes(model.to_bytes()).id == model.id


opens_strategy = st.lists(
    st.tuples(st.integers(0, 70 * 24 * 60), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=80
)


def _log(rows: list[tuple[int, int, int]]) -> pd.DataFrame:
    minutes, accounts, zones = (np.array(column) for column in zip(*rows, strict=True))
    start = pd.Timestamp(MONDAY - 60 * DAY).as_unit("us")
    return pd.DataFrame({
        "ts": start + pd.to_timedelta(minutes, unit="min").as_unit("us"),
        "account_id": [f"act_{number}" for number in accounts],
        "date_range": "today",
        "report": "default",
        "time_zone": np.array(["UTC", "Asia/Kathmandu", "America/New_York"], dtype=object)[zones],
    })


@settings(max_examples=10)
@given(opens_strategy, st.integers(1, 70 * 24))
def test_opens_after_training_change_nothing(rows: list[tuple[int, int, int]], hours: int) -> None:
    """A log cut at the end of training gives the same forecast as the whole log."""
    log, until = _log(rows), MONDAY - 60 * DAY + hours * HOUR
    whole, cut = _train(log, until), _train(log[log["ts"] < pd.Timestamp(until)], until)
    assert whole.id == cut.id
    assert_frame_equal(whole.predict(until, DAY), cut.predict(until, DAY))


@settings(max_examples=10)
@given(opens_strategy, st.randoms(use_true_random=False))
def test_chances_are_valid_for_any_row_order(rows: list[tuple[int, int, int]], random: object) -> None:
    """Chances lie in 0 to 1, evidence is consistent, and row order does not matter."""
    log = _log(rows)
    model = _train(log, MONDAY)
    result = model.predict(MONDAY, 2 * DAY, floor=0.0)
    assert result["probability"].between(0, 1).all()
    assert (result["opens"] <= result["weeks"]).all()
    assert ((result["slot_start"] <= result["predicted_open"]) & (result["predicted_open"] < result["slot_end"])).all()
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    counted = _train(_log(shuffled), MONDAY).observations
    assert counted.cell_opens.tolist() == model.observations.cell_opens.tolist()
