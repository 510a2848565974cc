"""The daily figures of one ad."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from adwarm.fatigue.ad_days import AdDay, list_ad_days
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
def test_a_number_that_is_none_is_unknown(engine: Engine, objects: ObjectStore) -> None:
    """The figures of the row are unknown on its day, and the other days are there."""
    context = Context(engine, objects, Settings())
    store_rows(context, LAST_DAY - timedelta(days=1), [{"ad_id": "1", "impressions": "9", "clicks": "1", "spend": "2"}])
    store_rows(context, LAST_DAY, [{"ad_id": "1", "impressions": "many", "clicks": "1"}])
    days = list_ad_days(context, ACCOUNT, "1", WINDOW)
    assert [item.impressions for item in days] == [9.0, None]
