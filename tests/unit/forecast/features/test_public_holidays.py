"""The effect of public holidays: reduced as much as earlier ones of the same country, other days unchanged."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pandas as pd
import pytest

from adwarm.forecast.features.grid import OpenGrid
from adwarm.forecast.features.public_holidays import HolidayEffect, check_country, country_of, days_off
from adwarm.forecast.models.boosted import BoostedForecast, BoostedModel, Horizons
from adwarm.forecast.protocol import RecentOpens
from adwarm.forecast.training.boosted_training import train_model
from adwarm.forecast.training.train import train_seasonal
from adwarm.foundation.errors import BadRequest
from adwarm.patterns.opens import Opens, opens_from_frame
from adwarm.settings import Settings

EASTER_MONDAY, WHIT_MONDAY = date(2026, 4, 6), date(2026, 5, 25)
FIRST = date(2026, 3, 30)


def log(zone: str, closed: set[date], days: int = 56, keys: int = 20) -> Opens:
    """Return opens at ten on each weekday, of eight weeks that begin before Easter, except on closed days."""
    rows = []
    for day in (FIRST + timedelta(days=n) for n in range(days)):
        if day.weekday() < 5 and day not in closed:
            ten = datetime(day.year, day.month, day.day, 10, tzinfo=ZoneInfo(zone))
            rows += [(f"act_{key % 5}", f"last_{key + 1}d", ten + timedelta(minutes=key)) for key in range(keys)]
    frame = pd.DataFrame(rows, columns=["account_id", "date_range", "ts"])
    return opens_from_frame(frame.assign(ts=pd.to_datetime(frame["ts"], utc=True), time_zone=zone))


def micros(day: date, hour: int = 0, zone: str = "Europe/Amsterdam") -> int:
    """Return a moment of the wall clock."""
    moment = datetime(day.year, day.month, day.day, hour, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    return int(moment.timestamp() * 1_000_000)


def shares(opens: Opens, until: date = FIRST + timedelta(days=56)) -> dict[str, float]:
    """Return the fitted shares by country."""
    return HolidayEffect.fit(OpenGrid.from_opens(opens, micros(until))).by_country


def test_the_country_is_that_of_the_zone() -> None:
    """Zones of one country return it; UTC and unknown names return none."""
    assert country_of("Europe/Amsterdam") == "NL"
    assert country_of("America/New_York") == "US"
    assert country_of("UTC") == country_of("Mars/Olympus") == ""


def test_old_names_of_a_zone_have_its_country(subtests: pytest.Subtests) -> None:
    """Old names, which browsers report, return the country of the zone; a clock of several countries returns none."""
    for name, country in [
        ("Asia/Calcutta", "IN"),
        ("Asia/Saigon", "VN"),
        ("Asia/Katmandu", "NP"),
        ("Asia/Rangoon", "MM"),
        ("Europe/Kiev", "UA"),
        ("America/Buenos_Aires", "AR"),
        ("America/Godthab", "GL"),
        ("Atlantic/Faeroe", "FO"),
        ("America/Indianapolis", "US"),
        ("US/Eastern", "US"),
        ("Canada/Pacific", "CA"),
        ("Brazil/East", "BR"),
        ("GB", "GB"),
        ("Japan", "JP"),
        ("NZ", "NZ"),
        ("Turkey", "TR"),
        ("Singapore", "SG"),
        # The clock is that of another country, the holidays are not.
        ("Africa/Asmera", "ER"),
        ("America/Coral_Harbour", "CA"),
        ("Pacific/Truk", "FM"),
        ("Iceland", "IS"),
        ("EST", ""),
        ("CET", ""),
        ("Etc/GMT+5", ""),
        ("EST5EDT", ""),
    ]:
        with subtests.test(name=name, country=country):
            assert country_of(name) == country


def test_every_name_of_a_zone_finds_the_country_of_the_zone() -> None:
    """All names of a zone return its country, unless the link crosses a border or the name is no place."""
    lines = files("tzdata.zoneinfo").joinpath("tzdata.zi").read_text(encoding="utf-8").splitlines()
    target = {name: zone for kind, zone, name, *_ in (line.split(" ") + [""] * 3 for line in lines) if kind == "L"}
    foreign = {
        "Africa/Asmera",
        "Africa/Timbuktu",
        "America/Coral_Harbour",
        "America/Virgin",
        "Antarctica/South_Pole",
        "Atlantic/Jan_Mayen",
        "Iceland",
        "Pacific/Ponape",
        "Pacific/Truk",
        "Pacific/Yap",
    }
    nowhere = {"CET", "CST6CDT", "EET", "EST", "EST5EDT", "HST", "MET", "MST", "MST7MDT", "PST8PDT", "WET"}
    tab = files("tzdata.zoneinfo").joinpath("zone.tab").read_text(encoding="utf-8")
    placed = {line.split("\t")[2] for line in tab.splitlines() if not line.startswith("#")}
    checked = 0
    for name in available_timezones() & target.keys() - placed:
        assert country_of(name) or not country_of(target[name]) or name in nowhere
        if name not in foreign | nowhere:
            assert country_of(name) == country_of(target[name])
            checked += bool(country_of(name))
        elif name in foreign:
            assert country_of(name) not in {"", country_of(target[name])}
    assert checked > 100


def test_an_old_name_has_the_holidays_of_the_new_one() -> None:
    """Republic Day is a holiday for a reader whose browser reports Calcutta."""
    share, noon = HolidayEffect({"IN": 0.25}), datetime(2026, 1, 26, 6, 30, tzinfo=UTC)
    assert share.get_share("Asia/Calcutta", noon) == share.get_share("Asia/Kolkata", noon) == 0.25


def test_holidays_come_from_the_country_and_the_year() -> None:
    """Days count from 1970; a range over New Year has the holidays of both years; unknown countries have none."""
    result = days_off("NL", np.array([(day - date(1970, 1, 1)).days for day in (date(2025, 12, 1), date(2026, 6, 1))]))
    assert {(day - date(1970, 1, 1)).days for day in (date(2025, 12, 26), EASTER_MONDAY, WHIT_MONDAY)} <= set(result)
    assert not len(days_off("NL", np.zeros(0, np.int64)))
    assert not len(days_off("XX", np.array([20_000])))


def test_quiet_holidays_reduce_the_share_and_busy_ones_do_not() -> None:
    """The share falls with the number of quiet holidays; it is 1 when opens were as usual."""
    one, many = ({EASTER_MONDAY}, {EASTER_MONDAY, date(2026, 4, 3), date(2026, 4, 27), date(2026, 5, 14)})
    quiet, quieter, busy = (shares(log("Europe/Amsterdam", closed))["NL"] for closed in (one, many, set()))
    assert busy == 1.0
    assert quieter < quiet < busy
    assert quieter < 0.4


def test_a_log_without_a_holiday_or_a_country_has_no_effect() -> None:
    """June has no Dutch holiday, and UTC is no country."""
    june = log("Europe/Amsterdam", set())
    june = OpenGrid.from_opens(
        june.since(micros(date(2026, 5, 26))), micros(date(2026, 5, 31)), since=micros(date(2026, 5, 26))
    )
    assert HolidayEffect.fit(june).by_country == {}
    assert shares(log("UTC", {EASTER_MONDAY})) == {}


def test_nothing_after_the_end_of_training_is_read() -> None:
    """A holiday that is not over at the end of training is ignored."""
    opens, until = log("Europe/Amsterdam", {EASTER_MONDAY, WHIT_MONDAY}, days=70), date(2026, 5, 25)
    cut = opens.before(micros(until))
    whole = HolidayEffect.fit(OpenGrid.from_opens(opens, micros(until)))
    assert whole == HolidayEffect.fit(OpenGrid.from_opens(cut, micros(until)))


@pytest.fixture(scope="module")
def model() -> BoostedModel:
    """A model of an office that was closed on each holiday of eight weeks, up to the day before Whit Monday."""
    closed = {EASTER_MONDAY, date(2026, 4, 3), date(2026, 4, 27), date(2026, 5, 14), date(2026, 5, 15)}
    return train_model(log("Europe/Amsterdam", closed, days=55), micros(date(2026, 5, 24)), Horizons(4, 12))


@pytest.mark.slow
def test_the_model_expects_little_of_the_next_holiday(model: BoostedModel) -> None:
    """At nine on Whit Monday chance and value are the usual ones times the share; on Tuesday they are unchanged."""
    opens = log("Europe/Amsterdam", set(), days=55)
    plain = replace(model, holidays=HolidayEffect())
    for day, share in ((WHIT_MONDAY, model.holidays.by_country["NL"]), (WHIT_MONDAY + timedelta(days=1), 1.0)):
        at = micros(day, 9)
        grid = OpenGrid.from_opens(opens.before(at), at)
        key = np.arange(grid.key_count)
        reduced, usual = (each.predict(grid, key, np.full(grid.key_count, grid.column(at))) for each in (model, plain))
        assert np.allclose(reduced[1], usual[1] * share)
        assert (reduced[0] <= usual[0]).all()
        assert usual[1].max() > 0.5
    assert model.holidays.by_country["NL"] < 0.4


def test_the_readers_date_decides(subtests: pytest.Subtests) -> None:
    """Just after midnight in Amsterdam it is still yesterday in UTC."""
    for day, holiday in [
        (WHIT_MONDAY, True),
        (WHIT_MONDAY - timedelta(days=1), True),
        (WHIT_MONDAY + timedelta(days=1), False),
    ]:
        with subtests.test(day=day, holiday=holiday):
            share = HolidayEffect({"NL": 0.25})
            moment = datetime(day.year, day.month, day.day, 0, 30, tzinfo=ZoneInfo("Europe/Amsterdam"))
            assert share.get_share("Europe/Amsterdam", moment) == (0.25 if holiday else 1.0)
            assert (
                share.get_share("UTC", moment)
                == share.get_share("America/New_York", datetime(2026, 6, 2, tzinfo=UTC))
                == 1.0
            )


def test_an_accounts_own_country_outranks_its_zone() -> None:
    """Readers in UTC who keep Dutch holidays are learned from and reduced as such; the others in UTC are not."""
    opens = replace(log("UTC", {EASTER_MONDAY}), holiday_countries={"act_1": "NL"})
    until = micros(WHIT_MONDAY, 9)
    grid = OpenGrid.from_opens(opens.before(until), until)
    effect = HolidayEffect.fit(OpenGrid.from_opens(opens, micros(FIRST + timedelta(days=50))))
    assert list(effect.by_country) == ["NL"]
    key = np.arange(grid.key_count)
    shares_of = effect.get_shares(grid, key, np.full(grid.key_count, grid.column(until)))
    is_dutch = opens.account_id[: grid.key_count] == "act_1"
    assert is_dutch.any()
    assert (shares_of[is_dutch] == effect.by_country["NL"]).all()
    assert (shares_of[~is_dutch] == 1.0).all()


@pytest.mark.slow
def test_the_weekly_profile_uses_the_accounts_own_country(model: BoostedModel) -> None:
    """Far from now only the profile predicts: the account with a country of its own gets that country's share."""
    opens = log("Europe/Amsterdam", set(), days=55)
    sunday = datetime(2026, 5, 24, tzinfo=UTC)
    forecast = BoostedForecast("f", model, train_seasonal(opens, Settings(), sunday))
    moment = datetime(2026, 5, 25, 6, tzinfo=UTC)
    usual, own = (
        forecast.predict(
            moment, timedelta(hours=6), RecentOpens(replace(opens, holiday_countries=countries), sunday), floor=0.0
        ).set_index(["account_id", "date_range", "report", "slot_start"])["probability"]
        for countries in ({}, {"act_1": "US"})
    )
    changed = usual.index[(own - usual).abs() > 1e-9]
    assert set(changed.get_level_values("account_id")) == {"act_1"}


def test_a_country_must_have_holidays() -> None:
    """Codes are accepted in any case; unknown ones are refused with an example."""
    assert check_country(" de ") == "DE"
    for code in ("XX", "DEU", "", "Germany"):
        with pytest.raises(BadRequest, match="such as DE"):
            check_country(code)
