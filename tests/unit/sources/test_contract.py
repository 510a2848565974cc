"""One contract, three sources: Meta against the simulator, and the same days as Parquet files and as a SQL table."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine

from adwarm.foundation.errors import AdwarmError, BadRequest, Corrupt, NotFound
from adwarm.model import Account, QuerySpec, Row, Window
from adwarm.settings import SourceSettings
from adwarm.sources.meta.source import MetaSource
from adwarm.sources.meta.transport import MetaCredentials
from adwarm.sources.parquet import ParquetSource
from adwarm.sources.protocol import (
    AsyncReportHandle,
    AsyncReportState,
    FetchUnit,
    Increment,
    InsightsSource,
    ResultPage,
    iter_accounts,
)
from adwarm.sources.sql import SqlSource
from adwarm.sources.tabular import TableOptions
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
ACCOUNTS = ("act_11", "act_12")
WHOLE = Window(date(2026, 10, 1), date(2026, 11, 24))
WEEKS = [Window(date(2026, 11, 1), date(2026, 11, 7)), Window(date(2026, 11, 5), date(2026, 11, 18))]
FIELDS = (
    "account_id",
    "campaign_id",
    "adset_id",
    "ad_id",
    "ad_name",
    "impressions",
    "reach",
    "frequency",
    "clicks",
    "inline_link_clicks",
    "ctr",
    "cpm",
    "cpc",
    "spend",
)
SPEC = QuerySpec(fields=FIELDS)
NOT_TOTALS = {"reach", "frequency"}
ZONE = "Europe/Berlin"


def rows_of(source: InsightsSource, units: list[FetchUnit]) -> list[Row]:
    """Every row of some units, all pages."""
    rows: list[Row] = []
    for unit in units:
        page = source.submit(unit)
        assert isinstance(page, ResultPage)
        rows += page.rows
        while page.next_cursor is not None:
            page = source.read(unit, page.next_cursor)
            rows += page.rows
    return rows


def fetched(source: InsightsSource, windows: list[Window], increment: Increment, account: str = "act_11") -> list[Row]:
    """Every row of an account, in a fixed order."""
    rows = rows_of(source, source.plan(source.get_account(account), windows, increment, SPEC))
    return sorted(rows, key=lambda row: (row["date_start"], row["date_stop"], row["ad_id"]))


@pytest.fixture(scope="module")
def platform() -> Iterator[SimulatorServer]:
    """A platform with empty pages between full ones."""
    config = SimulatorConfig(accounts=ACCOUNTS, ads=5, now=NOW, zone=ZONE, empty_middle_pages=True)
    with SimulatorServer(config) as server:
        server.set_now(NOW, frozen=True)
        yield server


@pytest.fixture(scope="module")
def meta(platform: SimulatorServer) -> MetaSource:
    """Meta, with small pages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adwarm.sources.meta.source.PAGE_ROWS", 40)
        return MetaSource(MetaCredentials(SecretStr("simulated-token")), SourceSettings(graph_url=platform.url))


@pytest.fixture(scope="module")
def table(meta: MetaSource) -> pd.DataFrame:
    """The platform's days as a warehouse holds them: typed columns, bare account numbers."""
    frame = pd.DataFrame([row for account in ACCOUNTS for row in fetched(meta, [WHOLE], Increment.DAY, account)])
    numbers = [name for name in frame if name in FIELDS and not str(name).endswith(("_id", "_name"))]
    frame[numbers] = frame[numbers].apply(pd.to_numeric)
    frame["account_id"] = frame["account_id"].astype("int64")
    frame["date_start"] = pd.to_datetime(frame["date_start"]).dt.date
    return frame.drop(columns="date_stop")


@pytest.fixture(scope="module", params=["meta", "parquet", "sql"])
def source(
    request: pytest.FixtureRequest, meta: MetaSource, table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> InsightsSource:
    """Each source in turn."""
    folder: Path = tmp_path_factory.mktemp("tables")
    if request.param == "meta":
        return meta
    if request.param == "parquet":
        for account, part in table.groupby("account_id"):
            part.to_parquet(folder / f"{account}.parquet", index=False)
        return ParquetSource(str(folder), TableOptions(data_zone=ZONE, page_size=40))
    engine = create_engine(f"sqlite:///{folder}/ads.db")
    table.to_sql("insights", engine, index=False)
    return SqlSource(engine, options=TableOptions(data_zone=ZONE, page_size=40))


def test_accounts(source: InsightsSource) -> None:
    """Every account is listed with its zone and currency, and can be read alone."""
    expected = [Account(account, ZONE, ZONE) for account in ACCOUNTS]
    assert list(iter_accounts(source)) == expected
    assert source.get_account("act_12") == expected[1]
    with pytest.raises(AdwarmError):
        source.get_account("act_999")


@pytest.mark.parametrize("increment", list(Increment))
def test_the_rows_of_every_source_are_checked(
    source: InsightsSource, increment: Increment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a source returns has passed the check of account, days, ids and values; a row that fails it is refused."""
    checked: list[Row] = []

    def check(rows: Sequence[Row], unit: FetchUnit, **_options: bool) -> None:
        checked.extend(rows)
        if len(checked) > len(expected):
            raise Corrupt("one row too many", code="row")

    expected = fetched(source, WEEKS, increment)
    for module in ("adwarm.sources.meta.source", "adwarm.sources.tabular"):
        monkeypatch.setattr(f"{module}.check_rows", check)
    rows = fetched(source, WEEKS, increment)
    assert sorted(map(str, rows)) == sorted(map(str, checked)) == sorted(map(str, expected))
    with pytest.raises(Corrupt, match="too many"):
        fetched(source, WEEKS, increment)


def test_daily_rows_are_the_same_in_every_source(source: InsightsSource, meta: MetaSource) -> None:
    """The daily rows of a source equal the platform's text for text, with no row lost or repeated."""
    rows = fetched(source, WEEKS, Increment.DAY)
    assert rows == fetched(meta, WEEKS, Increment.DAY)
    assert len({(row["date_start"], row["ad_id"]) for row in rows}) == len(rows) > 40


def test_rows_are_in_canonical_form(source: InsightsSource) -> None:
    """Keys are always present, every value is text, and no row was not requested."""
    for increment in Increment:
        for row in fetched(source, WEEKS, increment):
            assert (
                {"account_id", "ad_id", "date_start", "date_stop"} <= set(row) <= {*FIELDS, "date_start", "date_stop"}
            )
            assert all(isinstance(value, str) for value in row.values())
            assert row["account_id"] == "11"
            assert int(row["impressions"]) > 0


def test_totals_agree_where_days_add_up(source: InsightsSource, meta: MetaSource) -> None:
    """Totals per ad and window agree in everything that follows from days; a source says which metrics do not."""
    rows = fetched(source, WEEKS, Increment.RANGE)
    unique = source.capabilities.unique_metrics
    expected = [
        {name: value for name, value in row.items() if name in unique or name not in NOT_TOTALS}
        for row in fetched(meta, WEEKS, Increment.RANGE)
    ]
    assert rows == expected
    assert {(row["date_start"], row["date_stop"]) for row in rows} == {
        (str(window.since), str(window.until)) for window in WEEKS
    }


def test_one_request_for_several_windows_equals_one_for_each(source: InsightsSource) -> None:
    """One request for several windows returns the rows of a request for each."""
    apart = [row for window in sorted(WEEKS) for row in fetched(source, [window], Increment.RANGE)]
    assert fetched(source, WEEKS, Increment.RANGE) == sorted(
        apart, key=lambda row: (row["date_start"], row["date_stop"], row["ad_id"])
    )


def test_plans_are_minimal_and_deterministic(source: InsightsSource) -> None:
    """A month of days and a week's totals take one request each, and equal requests give equal plans."""
    account = source.get_account("act_11")
    for increment, windows in ((Increment.DAY, WEEKS), (Increment.RANGE, WEEKS)):
        units = source.plan(account, windows, increment, SPEC)
        assert len(units) == 1
        assert units == source.plan(account, windows[::-1], increment, SPEC)
    with pytest.raises(BadRequest):
        source.plan(account, WEEKS, Increment.DAY, QuerySpec(level="pixel"))


@pytest.mark.parametrize("increment", list(Increment))
def test_splitting_loses_no_row(source: InsightsSource, increment: Increment) -> None:
    """Splitting a unit loses no row, repeats none, and ends."""
    (unit,) = source.plan(source.get_account("act_11"), WEEKS, increment, SPEC)
    parts = source.split(unit)
    assert len(parts) == 2
    assert rows_of(source, parts) == rows_of(source, [unit])
    smallest = [unit]
    for _ in range(10):
        smallest = [piece for part in smallest for piece in (source.split(part) or [part])]
    assert all(source.split(part) == [] for part in smallest)


def test_an_account_without_delivery(source: InsightsSource) -> None:
    """Days without delivery have no rows and are no error."""
    future = Window(date(2026, 12, 1), date(2026, 12, 2))
    assert fetched(source, [future], Increment.DAY) == []
    assert fetched(source, [future], Increment.RANGE) == []


def test_a_page_can_be_read_again(source: InsightsSource) -> None:
    """Reading a page a second time, as a retry does, gives the same rows."""
    (unit,) = source.plan(source.get_account("act_11"), [WHOLE], Increment.DAY, SPEC)
    first = source.submit(unit)
    assert isinstance(first, ResultPage)
    assert first.next_cursor is not None
    again = [source.read(unit, first.next_cursor) for _ in range(2)]
    assert again[0].rows == again[1].rows
    assert source.read(unit, None).rows == first.rows


def test_without_async_reports_nothing_is_pending(source: InsightsSource) -> None:
    """No report is pending before one was started, and an unknown report cannot be read."""
    assert source.poll([]) == {}
    handle = AsyncReportHandle("9", FetchUnit("act_11", (WHOLE,), Increment.DAY, SPEC))
    with pytest.raises((BadRequest, NotFound)):
        source.read(handle, None)
    if source.capabilities.has_async_reports:
        assert source.poll([handle])[handle].state is AsyncReportState.UNKNOWN
        return
    with pytest.raises(BadRequest):
        source.poll([handle])
    with pytest.raises(BadRequest):
        source.submit_async(handle.unit)
    with pytest.raises(BadRequest):
        source.list_objects(handle.unit, "campaign", None)


def test_scopes_are_as_declared(source: InsightsSource) -> None:
    """A source returns only scopes of the kinds it declares, the account first."""
    scopes = source.scopes("act_11")
    assert {scope.kind for scope in scopes} <= set(source.capabilities.quota_scopes)
    assert [str(scope) for scope in scopes[:1]] in ([], ["account:act_11"])


def test_reach_of_a_range_is_not_a_sum(meta: MetaSource) -> None:
    """The platform's reach over a week is below the sum of its days, so totals of a table leave it out."""
    total = sum(int(row["reach"]) for row in fetched(meta, WEEKS[:1], Increment.RANGE))
    daily = sum(int(row["reach"]) for row in fetched(meta, WEEKS[:1], Increment.DAY))
    assert 0 < total < daily


def test_every_page_is_one_call(platform: SimulatorServer, meta: MetaSource) -> None:
    """Reading days costs one call per page, empty ones included, and no other."""
    before = platform.calls()["paths"]["insights"]
    (unit,) = meta.plan(Account("act_11"), [WEEKS[0]], Increment.DAY, SPEC)
    rows = rows_of(meta, [unit])
    pages = -(-len(rows) // 40)
    assert platform.calls()["paths"]["insights"] - before == pages + (pages - 1)
