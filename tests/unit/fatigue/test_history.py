"""Histories read from rows, and rows that are rejected."""

from datetime import date, timedelta
from typing import Any

import pytest

from adwarm.fatigue.history import (
    Delivery,
    baseline_cpm,
    baseline_ctr,
    read_frequencies,
    read_histories,
    read_number,
    sum_deliveries,
)
from adwarm.foundation.errors import BadRequest

DAY = date(2026, 11, 24)
AD = ("act_1", "7")


def _row(day: date = DAY, **values: Any) -> dict[str, Any]:
    return {"account_id": "act_1", "ad_id": "7", "date_start": str(day), "date_stop": str(day), **values}


def test_rows_become_days_and_absent_numbers_are_zero() -> None:
    """Rows of one day add up, rows outside the span are left out, absent metrics are zero."""
    rows = [
        _row(impressions="10", clicks="1", spend="0.50"),
        _row(impressions="5"),
        _row(DAY + timedelta(days=1), impressions="99"),
        _row(DAY - timedelta(days=9), impressions="99"),
    ]
    result = read_histories(rows, DAY - timedelta(days=8), DAY)
    assert result[AD].days == {DAY: Delivery(15, 1, 0.5)}


def test_a_figure_that_no_row_of_the_day_has_is_unknown() -> None:
    """Absent beside another row is zero; absent from the whole day of the account is unknown."""
    rows = [_row(impressions="10", spend="1"), {**_row(impressions="5", clicks=""), "ad_id": "8"}, _row(clicks="3")]
    result = read_histories(
        [*rows, _row(DAY - timedelta(days=1), inline_link_clicks="2")], DAY - timedelta(days=1), DAY
    )
    assert result[AD].days[DAY] == Delivery(10, 3, 1)
    assert result["act_1", "8"].days[DAY] == Delivery(5, 0, 0)
    assert result[AD].days[DAY - timedelta(days=1)] == Delivery(0, None, None, 2)
    assert (result[AD].days_without_impressions, result["act_1", "8"].days_without_impressions) == (
        {DAY - timedelta(days=1)},
        set(),
    )


def test_rates_use_the_days_with_known_clicks() -> None:
    """Days without the figure change neither the usual rate nor the usual price."""
    days = [Delivery(1000, 10, 5.0)] * 5
    blind = [*days, *[Delivery(1000, None, None)] * 5]
    assert baseline_ctr(blind, 10) == baseline_ctr(days, 10)
    assert baseline_cpm(blind, 1000) == baseline_cpm(days, 1000)
    assert (sum_deliveries(blind).ctr, Delivery(1000).ctr, Delivery(1000).cpm) == (0.005, None, None)


def test_the_newest_name_counts() -> None:
    """A renamed ad has its newest name, in any row order."""
    rows = [_row(DAY - timedelta(days=1), ad_name="old"), _row(ad_name="new")]
    for order in (rows, rows[::-1]):
        assert read_histories(order, DAY - timedelta(days=3), DAY)[AD].name == "new"


def test_frequency_comes_from_the_newest_range_summary() -> None:
    """Summaries that end after the day, or a week before it, are ignored."""
    rows = [
        _row(DAY + timedelta(days=1), frequency="9"),
        _row(DAY, frequency="2.5"),
        _row(DAY - timedelta(days=1), frequency="2.0"),
    ]
    assert read_frequencies(rows, DAY) == {AD: 2.5}
    assert read_frequencies([_row(DAY - timedelta(days=7), frequency="3")], DAY) == {}


def test_a_missing_frequency_is_impressions_over_reach() -> None:
    """It follows from the two figures of the same range; without reach there is none."""
    assert read_frequencies([_row(impressions="300", reach="100")], DAY) == {AD: 3.0}
    assert read_frequencies([_row(impressions="300")], DAY) == {}


@pytest.mark.parametrize("value", ["abc", "-1", "nan", "inf", [1], "1e999"])
def test_an_invalid_number_is_named(value: Any) -> None:
    """The error names the ad, the field and the value."""
    with pytest.raises(BadRequest, match=r"ad 7: spend is .*, not a number of 0 or more"):
        read_number(_row(spend=value), "spend")


def test_invalid_days_and_missing_ids_are_named() -> None:
    """A row without an ad id, or with an invalid day, is rejected."""
    with pytest.raises(BadRequest, match="ad_id"):
        read_histories([{"account_id": "act_1", "date_start": "2026-11-24"}], DAY, DAY)
    with pytest.raises(BadRequest, match=r"date_start is 'soon', not a day"):
        read_histories([{**_row(), "date_start": "soon"}], DAY, DAY)
    assert read_histories([{**_row(impressions="1"), "date_start": DAY}], DAY, DAY)[AD].days == {DAY: Delivery(1)}


def test_one_unusual_day_does_not_move_the_usual_rates() -> None:
    """The median follows most days."""
    days = [Delivery(10_000, 100, 50.0)] * 20
    strange = [*days, Delivery(10_000, 3_000, 2_000.0)]
    assert baseline_ctr(strange, 10) == pytest.approx(0.01, rel=0.15)
    assert baseline_cpm(strange, 1000) == pytest.approx(5.0, rel=0.25)


def test_days_of_few_impressions_do_not_make_the_usual_rate_zero() -> None:
    """Days without a click and with few impressions are shrunk towards the rate of all days."""
    days = [Delivery(10, 0, 0.1)] * 19 + [Delivery(10, 2, 0.1)]
    assert baseline_ctr(days, 10) == pytest.approx(sum_deliveries(days).ctr, rel=0.05)


def test_without_clicks_or_spend_there_is_no_usual_rate() -> None:
    """Without a baseline the rate is None, not zero."""
    assert baseline_ctr([Delivery(100, 0, 1.0)], 10) is None
    assert baseline_cpm([Delivery(100, 5, 0.0)], 1000) is None
    assert baseline_ctr([], 10) is None
    assert baseline_cpm([], 1000) is None
