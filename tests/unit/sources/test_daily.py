"""Tests of daily rows: the newest load counts once, and ambiguous duplicates are refused."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.errors import BadRequest, Corrupt
from adwarm.model import QuerySpec, Window
from adwarm.sources.daily import TableFormat, fields_below, keep_newest_load, read_daily_rows, sum_windows

COLUMNS = {name: name for name in ("account_id", "campaign_id", "ad_id", "date_start", "impressions", "spend")}
SHAPE = TableFormat("ad", COLUMNS, load_column="load")
WEEK = Window(date(2026, 11, 1), date(2026, 11, 7))
SPEC = QuerySpec("campaign", ("campaign_id", "campaign_name", "ad_id", "impressions", "reach", "cpm", "spend"))


def raw(ad: str = "1", day: int = 2, load: Any = 1, **figures: Any) -> dict[str, Any]:
    """A row of a table."""
    return {
        "account_id": "act_7",
        "campaign_id": "5",
        "ad_id": ad,
        "date_start": f"2026-11-0{day}",
        "impressions": 100,
        "spend": "1.5",
        "load": load,
        **figures,
    }


def spend_of(*raws: dict[str, Any], shape: TableFormat = SHAPE) -> list[Any]:
    """Spend of the rows that are spend_of."""
    return [daily.row["spend"] for daily in keep_newest_load(read_daily_rows(raws, shape), shape.level)]


def test_the_newest_load_counts_once(subtests: pytest.Subtests) -> None:
    """Loads compare as numbers, as times of any zone, or as text, whatever the order of rows."""
    for older, newer in (
        (9, 10),
        ("9", "10"),
        ("1793700000.5", "1793700001"),
        (Decimal("1.5"), 2.0),
        (date(2026, 11, 2), date(2026, 11, 10)),
        (datetime(2026, 11, 2, 23, tzinfo=UTC), datetime(2026, 11, 3, 1, tzinfo=timezone(timedelta(hours=1)))),
        ("2026-11-02 23:00:00+00:00", "2026-11-03T01:30:00+02:00"),
        (datetime(2026, 11, 2), "2026-11-02T00:00:01Z"),
        ("batch-a", "batch-b"),
    ):
        with subtests.test(older=older, newer=newer):
            rows = [raw(load=older), raw(load=newer, spend="2.5"), raw("2", load=older)]
            assert spend_of(*rows) == ["2.50", "1.50"]
            assert spend_of(*rows[::-1]) == ["1.50", "2.50"]


def test_ambiguous_duplicates_are_refused() -> None:
    """Without a load column, or within one load, two rows of a day are refused rather than summed."""
    with pytest.raises(BadRequest, match=r"2 rows of ad 1 on 2026-11-02 and no column .*loaded_at"):
        spend_of(raw(), raw(), shape=TableFormat("ad", COLUMNS))
    with pytest.raises(BadRequest, match="no column"):
        spend_of(raw(load=None), raw(load=2))
    with pytest.raises(BadRequest, match="of one load and with different figures"):
        spend_of(raw(), raw(spend="2"))
    assert spend_of(raw(), raw()) == ["1.50"]


def test_a_breakdown_is_not_a_duplicate() -> None:
    """Rows of a breakdown are refused as such, whatever their loads; a single value is no breakdown."""
    shape = TableFormat("ad", COLUMNS, load_column="load", breakdown_columns=("age",))
    with pytest.raises(BadRequest, match="divided by a breakdown"):
        spend_of(raw(age="18-24"), raw(age="25-34", load=2), shape=shape)
    assert spend_of(raw(age="all"), raw(age="all", load=2, spend="3"), shape=shape) == ["3.00"]


@given(
    loads=st.lists(
        st.dictionaries(st.tuples(st.integers(1, 4), st.integers(1, 5)), st.integers(1, 99), min_size=1), min_size=1
    ),
    order=st.randoms(use_true_random=False),
)
def test_sums_use_each_keys_last_load(loads: list[dict[tuple[int, int], int]], order: Any) -> None:
    """However often and in whatever order rows were loaded, totals use each ad's day as last loaded."""
    rows = [
        raw(str(ad), day, load, impressions=figure, spend=figure / 100)
        for load, keys in enumerate(loads)
        for (ad, day), figure in keys.items()
    ]
    rows += rows[: len(rows) // 2]
    order.shuffle(rows)
    last = {key: figure for keys in loads for key, figure in keys.items()}
    (row,) = sum_windows(keep_newest_load(read_daily_rows(rows, SHAPE), "ad"), [WEEK], SPEC)
    assert (row["impressions"], row["spend"]) == (str(sum(last.values())), f"{sum(last.values()) / 100:.2f}")


def test_sums_use_unrounded_figures() -> None:
    """A thousand tenths of a cent are a whole unit, though each row shows none."""
    rows = [raw(str(ad), spend="0.001") for ad in range(1000)]
    found = read_daily_rows(rows, SHAPE)
    assert {daily.row["spend"] for daily in found} == {"0.00"}
    assert sum_windows(found, [WEEK], SPEC)[0]["spend"] == "1.00"


def test_a_report_above_the_ad_has_no_ad_fields() -> None:
    """Rows summed by campaign have neither ad ids nor reach, and the ratios of the sums."""
    columns = COLUMNS | {"reach": "reach"}
    rows = read_daily_rows([raw(reach=90), raw("2", reach=90, spend="0.5")], TableFormat("ad", columns))
    assert sum_windows(rows, [WEEK], SPEC) == [
        {
            "account_id": "7",
            "campaign_id": "5",
            "date_start": "2026-11-01",
            "date_stop": "2026-11-07",
            "impressions": "200",
            "spend": "2.00",
            "cpm": "10",
        }
    ]
    assert [len(fields_below(level)) for level in ("account", "campaign", "adset", "ad")] == [6, 4, 2, 0]
    assert all(
        fields_below(one) > fields_below(other) for one, other in pairwise(("account", "campaign", "adset", "ad"))
    )


def test_invalid_rows_are_refused(subtests: pytest.Subtests) -> None:
    """A row without its id, with an invalid figure, or of more than a day is refused by the field's name."""
    for change, error, words in (
        ({"ad_id": None}, Corrupt, r"ad_id is missing in a row of 2026-11-02"),
        ({"ad_id": "no_ad_id"}, Corrupt, "ad_id is missing"),
        ({"ad_id": 1.2021e17}, BadRequest, "has lost digits"),
        ({"impressions": "Infinity"}, Corrupt, "impressions holds 'Infinity'"),
        ({"spend": "NaN"}, Corrupt, "spend holds 'NaN'"),
        ({"date_stop": "2026-11-08"}, BadRequest, "covers 2026-11-02 to 2026-11-08"),
        ({"account_id": "the shop"}, BadRequest, "'the shop' is not valid"),
    ):
        with subtests.test(change=change, error=error, words=words):
            shape = TableFormat("ad", COLUMNS | {"date_stop": "date_stop"})
            with pytest.raises(error, match=words):
                read_daily_rows([raw(date_stop="2026-11-02") | change], shape)


def test_deleted_rows_are_left_out() -> None:
    """A row that the loader marks as deleted at its source is left out."""
    shape = TableFormat("ad", COLUMNS, deletion_columns=("_fivetran_deleted", "_sdc_deleted_at"))
    rows = [
        raw("1", _fivetran_deleted=True, _sdc_deleted_at=None),
        raw("2", _fivetran_deleted=False, _sdc_deleted_at=None),
        raw("3", _fivetran_deleted=None, _sdc_deleted_at="2026-11-03"),
    ]
    assert [daily.row["ad_id"] for daily in read_daily_rows(rows, shape)] == ["2"]
