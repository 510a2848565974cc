"""Tests of reading tables of many shapes as rows of one form."""

from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import create_engine

from adwarm.foundation.errors import AdwarmError, BadRequest, Corrupt, Transient
from adwarm.model import Account, QuerySpec, Row, Window
from adwarm.sources.formats import format_day, format_field, format_id
from adwarm.sources.parquet import ParquetSource
from adwarm.sources.protocol import Increment, ResultPage, iter_accounts
from adwarm.sources.sql import SqlSource
from adwarm.sources.tabular import TableOptions, TabularSource

DAY = date(2026, 11, 2)
WINDOW = Window(DAY, date(2026, 11, 3))
FIELDS = ("impressions", "clicks", "spend", "ctr", "inline_link_clicks", "actions", "reach")
BASE = {"account_id": "act_7", "ad_id": "1", "date_start": "2026-11-02", "impressions": 200, "clicks": 4, "spend": 1.5}


def rows(source: TabularSource, increment: Increment = Increment.DAY, window: Window = WINDOW) -> list[Row]:
    """The rows of account 7."""
    (unit,) = source.plan(Account("act_7"), [window], increment, QuerySpec(fields=FIELDS))
    page = source.submit(unit)
    assert isinstance(page, ResultPage)
    assert page.next_cursor is None
    return page.rows


def parquet(tmp_path: Path, *records: dict[str, Any], **options: Any) -> ParquetSource:
    """Records as one Parquet file."""
    pd.DataFrame(list(records)).to_parquet(tmp_path / "t.parquet", index=False)
    return ParquetSource(f"file://{tmp_path}/t.parquet", TableOptions(**options))


def sql(tmp_path: Path, *records: dict[str, Any], **options: Any) -> SqlSource:
    """Records as a database table, opened by URL."""
    url = f"sqlite:///{tmp_path}/t.db"
    pd.DataFrame(list(records)).to_sql("insights", create_engine(url), index=False)
    return SqlSource(url, options=TableOptions(**options))


@pytest.mark.parametrize("make", [parquet, sql])
@pytest.mark.parametrize(
    ("account", "day"),
    [
        ("act_7", "2026-11-02"),
        ("7", DAY),
        (7, datetime(2026, 11, 2, 13, 30)),
        ("act_7", "2026-11-02T00:00:00+00:00"),
        (7, "2026-11-02 05:00:00"),
    ],
)
def test_account_and_day_of_any_type(tmp_path: Path, make: Any, account: Any, day: Any) -> None:
    """Accounts as text or numbers, and days as text, dates or times, are all found."""
    other = BASE | {"account_id": account, "date_start": day, "ad_id": "2"}
    stranger = other | {"account_id": 8 if isinstance(account, int) else "8"}
    (row,) = rows(make(tmp_path, other, stranger))
    assert (row["account_id"], row["ad_id"], row["date_start"], row["date_stop"]) == ("7", "2", *["2026-11-02"] * 2)


@pytest.mark.parametrize("make", [parquet, sql])
def test_only_days_of_the_window(tmp_path: Path, make: Any) -> None:
    """Rows before and after the window are left out, to the minute."""
    moments = [
        datetime(2026, 11, 1, 23, 59),
        datetime(2026, 11, 2),
        datetime(2026, 11, 3, 23, 59),
        datetime(2026, 11, 4),
    ]
    found = rows(make(tmp_path, *(BASE | {"date_start": moment} for moment in moments)))
    assert [row["date_start"] for row in found] == ["2026-11-02", "2026-11-03"]


def test_times_with_a_zone(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """Times with a zone are UTC days, whatever their zone, unless another one is configured."""
    for kept_in in ("UTC", "America/Los_Angeles", "Pacific/Auckland"):
        with subtests.test(kept_in=kept_in):
            midnights = [pd.Timestamp(f"2026-11-0{day}", tz=UTC).tz_convert(kept_in) for day in (1, 2, 3, 4)]
            source = parquet(tmp_path, *(BASE | {"date_start": moment} for moment in midnights))
            assert [row["date_start"] for row in rows(source)] == ["2026-11-02", "2026-11-03"]
            tokyo = [pd.Timestamp(f"2026-11-0{day}", tz="Asia/Tokyo").tz_convert(kept_in) for day in (1, 2, 3, 4)]
            source = parquet(tmp_path, *(BASE | {"date_start": moment} for moment in tokyo), day_zone="Asia/Tokyo")
            assert [row["date_start"] for row in rows(source)] == ["2026-11-02", "2026-11-03"]


@pytest.mark.parametrize("make", [parquet, sql])
def test_aliases_and_mapped_names(tmp_path: Path, make: Any) -> None:
    """Common aliases are known; other names need a column map."""
    record = {
        "ad_account_id": "7",
        "creative": 12.0,
        "date": "2026-11-02",
        "impressions": 10,
        "cost": 2,
        "link_clicks": 3,
    }
    (row,) = rows(make(tmp_path, record, columns={"ad_id": "creative"}))
    assert row == {
        "account_id": "7",
        "ad_id": "12",
        "date_start": "2026-11-02",
        "date_stop": "2026-11-02",
        "impressions": "10",
        "spend": "2.00",
        "inline_link_clicks": "3",
    }


TWICE = (BASE | {"etl": "2026-11-03"}, BASE | {"etl": "2026-11-04", "impressions": 300, "spend": 2})


@pytest.mark.parametrize("make", [parquet, sql])
def test_appended_loads_count_once(tmp_path: Path, make: Any) -> None:
    """A day that was loaded twice counts once, as in the newest load by the mapped column."""
    (row,) = rows(make(tmp_path, *TWICE, columns={"loaded_at": "etl"}), Increment.RANGE)
    assert (row["impressions"], row["spend"]) == ("300", "2.00")


@pytest.mark.parametrize("make", [parquet, sql])
@pytest.mark.parametrize("increment", list(Increment))
def test_duplicates_without_an_order_are_refused(tmp_path: Path, make: Any, increment: Increment) -> None:
    """Where no column tells the newer of two rows, neither is returned, nor their sum."""
    with pytest.raises(BadRequest, match="2 rows of ad 1 on 2026-11-02"):
        rows(make(tmp_path, *TWICE), increment)


@pytest.mark.parametrize("make", [parquet, sql])
def test_a_constant_account(tmp_path: Path, make: Any) -> None:
    """The account of every row may be a constant; then it is the only account."""
    record = {name: value for name, value in BASE.items() if name != "account_id"}
    source = make(tmp_path, record, constants={"account_id": "7", "campaign_name": "Only"})
    assert list(iter_accounts(source)) == [source.get_account("act_7")] == [Account("act_7")]
    assert rows(source)[0]["account_id"] == "7"
    with pytest.raises(BadRequest, match="act_9"):
        source.get_account("act_9")
    for constants in ({"spend": "1"}, {"account_id": "a shop"}, {"ad_id": " "}):
        with pytest.raises(BadRequest):
            ParquetSource(str(tmp_path), TableOptions(constants=constants))


LEVELS = ("account", "campaign", "adset", "ad")
TREE = [
    BASE | {"campaign_id": "5", "adset_id": "51", "ad_id": "1", "reach": 9},
    BASE | {"campaign_id": "5", "adset_id": "52", "ad_id": "2", "impressions": 100, "clicks": 1},
    BASE | {"campaign_id": "6", "adset_id": "61", "ad_id": "3", "date_start": "2026-11-03"},
    BASE | {"campaign_id": "5", "adset_id": "51", "ad_id": "1", "date_start": "2026-11-03"},
]


@pytest.mark.parametrize("make", [parquet, sql])
def test_a_table_of_ads_serves_the_levels_above(tmp_path: Path, make: Any) -> None:
    """Each level has a row per object and day or window, with the same sums in all."""
    source = make(tmp_path, *TREE)
    for case in product(LEVELS, Increment):
        level, increment = case
        spec = QuerySpec(level, (*(f"{name}_id" for name in LEVELS), *FIELDS))
        (unit,) = source.plan(Account("act_7"), [WINDOW], increment, spec)
        found = source.submit(unit).rows
        keys = {(row[f"{level}_id"], row["date_start"], row["date_stop"]) for row in found}
        own = {
            ("7" if level == "account" else row[f"{level}_id"], row["date_start"] if increment is Increment.DAY else "")
            for row in TREE
        }
        assert len(keys) == len(found) == len(own), case
        assert sum(int(row["impressions"]) for row in found) == 700, case
        assert sum(float(row["spend"]) for row in found) == 6.0, case
        deeper = LEVELS[LEVELS.index(level) + 1 :]
        assert not any(f"{name}_id" in row for row in found for name in deeper), case


def test_a_table_states_its_level(tmp_path: Path) -> None:
    """A table by campaign serves campaigns and accounts; ads and unknown levels are refused."""
    source = parquet(tmp_path, *({**row, "ad_id": None} for row in TREE[1:3]), level="campaign")
    assert source.capabilities.levels == {"account", "campaign"}
    (unit,) = source.plan(Account("act_7"), [WINDOW], Increment.DAY, QuerySpec("campaign", FIELDS))
    page = source.submit(unit)
    assert isinstance(page, ResultPage)
    assert [(row["campaign_id"], "ad_id" in row) for row in page.rows] == [("5", False), ("6", False)]
    for level in ("ad", "adset"):
        with pytest.raises(BadRequest, match=f"no rows by '{level}', only by account, campaign"):
            source.plan(Account("act_7"), [WINDOW], Increment.DAY, QuerySpec(level, FIELDS))
    with pytest.raises(BadRequest, match="level 'pixel'"):
        parquet(tmp_path, BASE, level="pixel")


def test_malformed_rows_are_refused(tmp_path: Path) -> None:
    """Rows of a table are checked like those of every source."""
    source = parquet(tmp_path, BASE | {"actions": [{"action_type": "purchase", "value": "NaN"}]})
    with pytest.raises(Corrupt, match="actions"):
        rows(source)


def test_a_table_has_no_end_of_history(tmp_path: Path) -> None:
    """Rows of any age are read."""
    source = parquet(tmp_path, BASE | {"date_start": "2016-02-29"})
    assert (source.capabilities.retention_days, source.capabilities.oldest_day(DAY)) == (None, date.min)
    old = date(2016, 2, 29)
    assert [row["date_start"] for row in rows(source, window=Window(old, old))] == ["2016-02-29"]


def test_the_currency_of_the_rows(tmp_path: Path) -> None:
    """The account has the currency of its rows, unless the options set one."""
    one, two = BASE | {"account_currency": "EUR"}, BASE | {"ad_id": "2", "account_currency": "JPY"}
    assert parquet(tmp_path, one).get_account("act_7").currency == "EUR"
    assert parquet(tmp_path, one, currency="CHF").get_account("act_7").currency == "CHF"
    assert parquet(tmp_path, one, two).get_account("act_7").currency == "USD"


@pytest.mark.parametrize("make", [parquet, sql])
def test_totals_sum_and_divide(tmp_path: Path, make: Any) -> None:
    """Totals sum additive figures, divide the sums, use the last day's names and leave out reach."""
    second = BASE | {"date_start": "2026-11-03", "impressions": 300, "clicks": 1, "spend": 0.25, "reach": 5, "ctr": 9.0}
    (row,) = rows(make(tmp_path, BASE | {"reach": 4, "ctr": 9.0}, second), Increment.RANGE)
    assert row == {
        "account_id": "7",
        "ad_id": "1",
        "date_start": "2026-11-02",
        "date_stop": "2026-11-03",
        "impressions": "500",
        "clicks": "5",
        "spend": "1.75",
        "ctr": "1",
    }


def test_days_without_delivery_have_no_row(tmp_path: Path) -> None:
    """A row of zeros is left out, a row with spend only is not, and a null is an absent field."""
    idle = BASE | {"ad_id": "2", "impressions": 0, "clicks": 0, "spend": 0.0}
    late = BASE | {"ad_id": "4", "impressions": 0, "clicks": 0, "spend": 0.5}
    blank = BASE | {"ad_id": "3", "spend": None}
    found = rows(parquet(tmp_path, BASE, idle, blank, late))
    assert [row["ad_id"] for row in found] == ["1", "3", "4"]
    assert "spend" not in found[1]


def test_actions_stay_lists(tmp_path: Path) -> None:
    """Actions are lists, whether the table holds lists or JSON text."""
    actions = [{"action_type": "purchase", "value": "2"}]
    (native,) = rows(parquet(tmp_path, BASE | {"actions": actions}))
    (text,) = rows(sql(tmp_path, BASE | {"actions": '[{"action_type":"purchase","value":"2"}]'}))
    assert native["actions"] == text["actions"] == actions


def test_hive_folders(tmp_path: Path) -> None:
    """A folder partitioned by day is read with the day of its folder."""
    frame = pd.DataFrame([BASE, BASE | {"date_start": "2026-11-03"}])
    frame.to_parquet(tmp_path / "lake", partition_cols=["date_start"], index=False)
    assert [row["date_start"] for row in rows(ParquetSource(str(tmp_path / "lake")))] == ["2026-11-02", "2026-11-03"]


def test_pages_and_new_data(tmp_path: Path) -> None:
    """Pages follow each other without gaps, and a new report includes rows that were added since."""
    source = parquet(tmp_path, *(BASE | {"ad_id": str(n)} for n in range(5)), page_size=2)
    (unit,) = source.plan(Account("act_7"), [WINDOW], Increment.DAY, QuerySpec(fields=FIELDS))
    first = source.submit(unit)
    assert isinstance(first, ResultPage)
    assert (first.next_cursor, source.read(unit, "2").next_cursor) == ("2", "4")
    assert [row["ad_id"] for row in source.read(unit, "4").rows] == ["4"]
    parquet(tmp_path, BASE)
    again = source.submit(unit)
    assert isinstance(again, ResultPage)
    assert len(again.rows) == 1
    with pytest.raises(BadRequest):
        source.read(unit, "x")


@pytest.mark.parametrize("make", [parquet, sql])
def test_a_missing_key_column_is_named(tmp_path: Path, make: Any) -> None:
    """The error names the missing column and the existing ones."""
    with pytest.raises(BadRequest, match="ad_id, date_start among account_id, spend"):
        rows(make(tmp_path, {"account_id": "7", "spend": 1}))


def test_a_metric_that_is_not_a_number_is_named(tmp_path: Path) -> None:
    """The error names its column."""
    with pytest.raises(BadRequest, match="spend holds 'lots'"):
        rows(parquet(tmp_path, BASE | {"spend": "lots"}))


@pytest.mark.parametrize("make", [parquet, sql])
def test_an_account_without_a_row_is_not_denied(tmp_path: Path, make: Any) -> None:
    """An account whose rows are not loaded yet is refused by its id, and not marked as denied."""
    source = make(tmp_path, BASE)
    assert source.get_account("act_7") == Account("act_7")
    with pytest.raises(BadRequest, match="act_9"):
        source.get_account("act_9")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (lambda path: ParquetSource(str(path / "none.parquet")), BadRequest),
        (lambda path: ParquetSource("nosuch://bucket/x"), BadRequest),
        (lambda path: ParquetSource(str(path / "broken.parquet")), AdwarmError),
        (lambda path: SqlSource(f"sqlite:///{path}/t.db", "absent"), BadRequest),
        (lambda path: SqlSource(f"sqlite:///{path}/no/folder.db"), Transient),
        (lambda path: SqlSource("nosuch://user:s3cret@host/db"), BadRequest),
        (lambda path: SqlSource("postgresql://user:s3cret@127.0.0.1:9/db"), Transient),
    ],
)
def test_unreadable_tables_raise_an_error(tmp_path: Path, source: Any, expected: type[AdwarmError]) -> None:
    """A missing file, table, driver or server is an adwarm error that shows no password."""
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(expected) as caught:
        list(iter_accounts(source(tmp_path)))
    assert "s3cret" not in str(caught.value)


def test_an_odd_account_stops_no_other(tmp_path: Path) -> None:
    """A value that is not an account id is left out of the list and named."""
    frame = pd.DataFrame({
        "account_id": ["7", "a/c", "8", None],
        "ad_id": ["1", "2", "3", "4"],
        "date_start": ["2026-11-01"] * 4,
        "account_currency": ["EUR", "EUR", "USD", "EUR"],
    })
    frame.to_parquet(tmp_path / "rows.parquet")
    page = ParquetSource(str(tmp_path / "rows.parquet")).list_account_page(None)
    assert [(account.id, account.currency) for account in page.accounts] == [("act_7", "EUR"), ("act_8", "USD")]
    (problem,) = page.problems
    assert "'a/c'" in problem
    assert page.next_cursor is None


def test_values_in_the_platforms_form() -> None:
    """Numbers of any type are printed as the platform prints them."""
    assert format_field("impressions", 12.0) == "12"
    assert format_field("spend", Decimal("14.3500")) == "14.35"
    assert format_field("ctr", "4.8648648") == "4.864865"
    assert format_field("spend", float("nan")) is None
    assert format_field("ad_name", "[draft") == "[draft"
    assert format_id(12.0) == format_id(Decimal("12.000000000")) == "12"
    assert format_id("120210000000000001.0") == "120210000000000001"
    assert format_id("5e10") == "5e10"
    with pytest.raises(BadRequest, match="has lost digits"):
        format_id("1.2021E+17")
    assert format_field("unique_clicks", Decimal("3.000000000")) == "3"
    with pytest.raises(BadRequest):
        format_day("tomorrow")
