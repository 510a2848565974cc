"""Rows that are read strictly, and frequencies of weeks."""

from datetime import date
from typing import Any

import pytest

from adwarm.fatigue.text_columns import read_ad_key, read_day, read_frequencies, read_number
from adwarm.foundation.errors import BadRequest

DAY = date(2026, 11, 24)
AD = ("act_1", "7")


def _row(day: date = DAY, **values: Any) -> dict[str, Any]:
    return {"account_id": "act_1", "ad_id": "7", "date_start": str(day), "date_stop": str(day), **values}


def test_frequency_comes_from_the_range_summary() -> None:
    """An ad without one is left out; of two rows of an ad the higher one counts."""
    rows = [_row(frequency="2.5"), _row(frequency="2.0"), {**_row(), "ad_id": "8"}]
    assert read_frequencies(rows) == {AD: 2.5}


def test_a_missing_frequency_is_impressions_over_reach() -> None:
    """It follows from the two figures of the same range; without reach there is none."""
    assert read_frequencies([_row(impressions="300", reach="100")]) == {AD: 3.0}
    assert read_frequencies([_row(impressions="300")]) == {}


def test_an_invalid_number_is_named(subtests: pytest.Subtests) -> None:
    """The error names the ad, the field and the value."""
    for value in ("abc", "-1", "nan", "inf", [1], "1e999"):
        words = r"ad 7: spend is .*, not a number of 0 or more"
        with subtests.test(value=value), pytest.raises(BadRequest, match=words):
            read_number(_row(spend=value), "spend")


def test_invalid_days_and_missing_ids_are_named() -> None:
    """A row without an ad id, or with an invalid day, is rejected; a day may be a date."""
    with pytest.raises(BadRequest, match="ad_id"):
        read_ad_key({"account_id": "act_1"})
    with pytest.raises(BadRequest, match=r"ad 7: date_start is 'soon', not a day"):
        read_day({**_row(), "date_start": "soon"}, "date_start")
    assert read_day({"date_start": DAY}, "date_start") == DAY
