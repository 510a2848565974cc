"""The population's weekly profile as a forecast."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from adwarm.forecast.models.population import KIND, PopulationForecast
from adwarm.forecast.models.seasonal import SeasonalForecast
from adwarm.forecast.training.observations import build_observations
from adwarm.foundation.errors import Corrupt
from adwarm.settings import Settings
from tests.unit.forecast.conftest import MakeOpens

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAY, WEEK = timedelta(days=1), timedelta(days=7)


@pytest.fixture
def opens(make_opens: MakeOpens) -> pd.DataFrame:
    """Nine keys of three accounts that are opened on working days at nine, one of them at five, one almost never."""
    days = [MONDAY - n * DAY for n in range(1, 57) if (MONDAY - n * DAY).weekday() < 5]
    frames = [
        make_opens([day + timedelta(hours=9, minutes=number) for day in days], f"act_{number % 3}", f"last_{number}d")
        for number in range(1, 8)
    ]
    frames.append(make_opens([day + timedelta(hours=17) for day in days], "act_1", "today"))
    frames.append(make_opens([MONDAY - 30 * DAY], "act_2", "yesterday"))
    return pd.concat(frames, ignore_index=True)


def profile(opens: pd.DataFrame) -> PopulationForecast:
    """The profile trained up to Monday."""
    return PopulationForecast(build_observations(opens, Settings(), MONDAY))


def chance(model: SeasonalForecast, date_range: str, hour: int) -> float:
    """The chance of a key in an hour of the week."""
    place = int((model.keys["date_range"] == date_range).to_numpy().argmax())
    return float(model.rates(hour)[place])


def test_every_key_has_the_population_s_profile(opens: pd.DataFrame) -> None:
    """A key with hours of its own gets the population's profile at its own level."""
    model = profile(opens)
    assert chance(model, "today", 9) > 0.5 > chance(model, "today", 17)
    assert chance(model, "last_3d", 9) == pytest.approx(chance(model, "today", 9), rel=0.05)
    assert chance(model, "last_3d", 24 * 5 + 9) < 0.05


def test_rare_and_new_keys_get_small_chances(opens: pd.DataFrame, make_opens: MakeOpens) -> None:
    """A key that was opened once, long ago or yesterday, gets a small part of what a busy one gets."""
    idle = [make_opens([MONDAY - n * DAY], f"act_{n}", "last_90d") for n in range(10, 30)]
    newcomer = make_opens([MONDAY - DAY], "act_9", "last_month")
    model = profile(pd.concat([opens, *idle, newcomer], ignore_index=True))
    busy = chance(model, "last_3d", 9)
    assert chance(model, "yesterday", 9) < 0.25 * busy
    assert chance(model, "last_month", 9) < 0.4 * busy


def test_expected_opens_match_observed_ones(opens: pd.DataFrame) -> None:
    """Over a week like the others, the chances of all keys add up to about the opens of all keys."""
    model = profile(opens)
    stated = sum(float(model.rates(hour).sum()) for hour in range(168))
    assert stated == pytest.approx(len(opens) / 8, rel=0.15)


def test_the_stored_form_gives_the_same_forecast(opens: pd.DataFrame) -> None:
    """Its id is stored, and differs from that of the seasonal forecast of the same opens."""
    model = profile(opens)
    again = PopulationForecast.from_bytes(model.to_bytes())
    assert (again.id, again.kind) == (model.id, KIND)
    assert model.id != SeasonalForecast(model.observations).id
    assert_frame_equal(again.predict(MONDAY, DAY), model.predict(MONDAY, DAY), check_dtype=False)
    with pytest.raises(Corrupt, match="hour_of_week"):
        PopulationForecast.from_bytes(SeasonalForecast(model.observations).to_bytes())


def test_an_empty_log_gives_an_empty_forecast(opens: pd.DataFrame) -> None:
    """Without a log there is an empty forecast."""
    assert profile(opens[:0]).predict(MONDAY, DAY).empty
