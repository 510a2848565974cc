"""The daily figures of one ad, and the range of its healthy days."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from adwarm.fatigue.ad_days import AdDay, healthy_interval, list_ad_days
from adwarm.fatigue.prior import AccountPrior
from adwarm.foundation.errors import BadRequest
from adwarm.model import Window
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore
from tests.unit.conftest import SQLITE_ONLY

from .stored_ads import ACCOUNT, LAST_DAY, store_rows

WINDOW = Window(LAST_DAY - timedelta(days=3), LAST_DAY)


def test_days_of_an_ad(engine: Engine, objects: ObjectStore) -> None:
    """Rows of a day add up; a day without a row of the ad is zero, one that is not stored is left out."""
    context = Context(engine, objects, Settings())
    row = {"ad_id": "1", "impressions": "60", "clicks": "2", "spend": "1.5"}
    store_rows(context, LAST_DAY - timedelta(days=3), [row, row])
    store_rows(context, LAST_DAY - timedelta(days=1), [{"ad_id": "2", "impressions": "60", "clicks": "2"}])
    store_rows(context, LAST_DAY, [])

    days = list_ad_days(context, ACCOUNT, "1", WINDOW)

    assert days == [
        AdDay(LAST_DAY - timedelta(days=3), 120.0, 4.0, 3.0),
        AdDay(LAST_DAY - timedelta(days=1), 0.0, 0.0, 0.0),
        AdDay(LAST_DAY, 0.0, 0.0, 0.0),
    ]
    assert days[0].ctr == pytest.approx(4 / 120)
    assert (days[0].cpm, days[1].ctr, days[1].cpm) == (25.0, None, None)
    assert list_ad_days(context, ACCOUNT, "9", WINDOW) == []


@SQLITE_ONLY
def test_other_clicks(engine: Engine, objects: ObjectStore) -> None:
    """Link clicks stand in where a score counts them."""
    context = Context(engine, objects, Settings())
    store_rows(context, LAST_DAY, [{"ad_id": "1", "impressions": "60", "inline_link_clicks": "3"}])
    (day,) = list_ad_days(context, ACCOUNT, "1", WINDOW)
    assert (day.clicks, day.spend) == (3.0, None)


@SQLITE_ONLY
def test_a_number_that_is_none_is_an_error(engine: Engine, objects: ObjectStore) -> None:
    """The message names the ad and the field."""
    context = Context(engine, objects, Settings())
    store_rows(context, LAST_DAY, [{"ad_id": "1", "impressions": "many"}])
    with pytest.raises(BadRequest, match="ad 1: impressions is 'many'"):
        list_ad_days(context, ACCOUNT, "1", WINDOW)


@SQLITE_ONLY
def test_the_expected_rate_stays_when_the_ad_declines(engine: Engine, objects: ObjectStore) -> None:
    """After some healthy days there is an expected rate; a decline with an alarm does not pull it down."""
    context = Context(engine, objects, Settings())
    days = [LAST_DAY - timedelta(days=back) for back in range(49, -1, -1)]
    for number, day in enumerate(days):
        clicks = {"1": 400 if number < 35 else 200, "2": 400, "3": 400}
        rows = [
            {"ad_id": ad, "impressions": "40000", "clicks": str(count), "spend": "9"} for ad, count in clicks.items()
        ]
        store_rows(context, day, rows)

    found = list_ad_days(context, ACCOUNT, "1", Window(days[0], LAST_DAY), with_expected=True)

    assert found[0].expected is None
    assert found[34].expected == pytest.approx(0.01, rel=0.05)
    assert found[-1].expected == pytest.approx(0.01, rel=0.1)
    assert found[-1].interval is not None
    assert (found[-1].ctr or 1) < found[-1].interval[0]


@given(usual=st.floats(1e-4, 0.5), impressions=st.floats(10, 1e7), noise=st.floats(0, 0.5))
def test_the_interval_holds_the_usual_level_and_narrows(usual: float, impressions: float, noise: float) -> None:
    """The usual level is inside, more impressions never widen it, and noise sets the least width."""
    interval = healthy_interval(usual, impressions, AccountPrior(noise_sd=noise, market_sd=0.0))
    wider = healthy_interval(usual, impressions / 2, AccountPrior(noise_sd=noise, market_sd=0.0))
    assert interval is not None
    assert wider is not None
    assert wider[0] <= interval[0] <= usual <= interval[1] <= 1
    assert interval[0] <= usual * np.exp(-1.96 * noise) * (1 + 1e-12)


def test_the_interval_holds_95_of_100_healthy_days() -> None:
    """Of simulated healthy days with that noise, 94 to 96.5 in 100 lie within."""
    rng = np.random.default_rng(1)
    rates = rng.binomial(8_000, 0.012 * np.exp(rng.normal(0, 0.115, 20_000))) / 8_000
    interval = healthy_interval(0.012, 8_000, AccountPrior(noise_sd=0.115, market_sd=0.0))
    assert interval is not None
    assert 0.94 < np.mean((rates >= interval[0]) & (rates <= interval[1])) < 0.965


def test_without_figures_there_is_no_interval() -> None:
    """No usual level or no impressions, no interval."""
    assert healthy_interval(None, 100, AccountPrior()) is None
    assert healthy_interval(0.01, 0, AccountPrior()) is None
