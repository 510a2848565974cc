"""Rows of another account in the answer of a database or of files are refused, recorded and not stored."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine, create_engine, select

from adwarm.foundation.clock import FrozenClock
from adwarm.model import Account, Priority, QuerySpec, ReportKey, Window
from adwarm.prefetch import KeyRequest
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from adwarm.sources.parquet import ParquetSource
from adwarm.sources.protocol import InsightsSource
from adwarm.sources.row_check import ROW_ERROR_CODE
from adwarm.sources.sql import SqlSource
from adwarm.sources.tabular import TableOptions
from adwarm.store.database import read_transaction
from adwarm.store.entries import table as entry
from adwarm.store.error_events import ErrorLog
from adwarm.store.partitions import table as partition

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
BAD, GOOD = "act_1", "act_2"


def _records() -> pd.DataFrame:
    days = [date(2026, 11, 24) - timedelta(days=number) for number in range(7)]
    return pd.DataFrame([
        {"account_id": account, "ad_id": f"{account}{ad}", "date_start": str(day), "impressions": 100, "spend": 1.5}
        for account in ("1", "2", "3")
        for day in days
        for ad in (1, 2)
    ])


class _WrongSql(SqlSource):
    """A database whose view ignores the condition on the account for one of them."""

    def _load(
        self, owner: Mapping[str, str], window: Window, day: str, columns: Sequence[str]
    ) -> Iterable[Mapping[str, Any]]:
        return super()._load({} if BAD in owner.values() else owner, window, day, columns)


class _WrongParquet(ParquetSource):
    """Files whose reader does the same."""

    def _load(
        self, owner: Mapping[str, str], window: Window, day: str, columns: Sequence[str]
    ) -> Iterable[Mapping[str, Any]]:
        return super()._load({} if BAD in owner.values() else owner, window, day, columns)


def _sql(folder: Path) -> InsightsSource:
    url = f"sqlite:///{folder}/warehouse.db"
    _records().to_sql("insights", create_engine(url), index=False, if_exists="replace")
    return _WrongSql(url, options=TableOptions())


def _parquet(folder: Path) -> InsightsSource:
    _records().to_parquet(folder / "t.parquet", index=False)
    return _WrongParquet(f"file://{folder}/t.parquet", TableOptions())


@pytest.mark.parametrize("make", [_sql, _parquet])
def test_rows_of_another_account_are_refused(
    make: Callable[[Path], InsightsSource], engine: Engine, tmp_path: Path
) -> None:
    """Daily rows and summaries: nothing of the answer is stored, the error history says why, others continue."""
    settings = Settings(
        home=tmp_path / "home",
        database_url=engine.url.render_as_string(hide_password=False),
        source={"kind": "sql", "url": "sqlite://"},
        recovery={"initial_delay_seconds": 0},
    )
    source = make(tmp_path)
    runtime = Runtime(settings, FrozenClock(NOW), lambda: source)
    requests = [KeyRequest(ReportKey(account, "last_7d")) for account in (BAD, GOOD)]
    result = runtime.prefetch_engine().run(requests, Priority.LOW, wait_seconds=0)
    outcomes = {outcome.request.key.account_id: outcome for outcome in result.outcomes}
    assert not outcomes[BAD].status.is_served
    assert "another account" in str(outcomes[BAD].reason)
    assert outcomes[GOOD].status.is_served, outcomes[GOOD]
    with read_transaction(engine) as connection:
        for table in (entry, partition):
            assert set(connection.execute(select(table.c.account_id)).scalars()) == {GOOD}
    kinds = {(event.kind, event.code) for event in ErrorLog(engine).list_recent() if BAD in f"{event.subject}"}
    assert ("Corrupt", ROW_ERROR_CODE) in kinds


@pytest.mark.parametrize("make", [_sql, _parquet])
@pytest.mark.parametrize("level", ["ad", "account"])
def test_no_level_hides_a_foreign_row(make: Callable[[Path], InsightsSource], level: str, tmp_path: Path) -> None:
    """Summing rows to a higher level does not give another account's figures to the one that was asked for."""
    from adwarm.foundation.errors import Corrupt
    from adwarm.sources.protocol import Increment

    source = make(tmp_path)
    window = Window(date(2026, 11, 18), date(2026, 11, 24))
    for increment in (Increment.DAY, Increment.RANGE):
        spec = QuerySpec(level=level, fields=("account_id", "impressions", "spend"))
        (unit,) = source.plan(Account(BAD), [window], increment, spec)
        with pytest.raises(Corrupt, match="another account"):
            source.submit(unit)
