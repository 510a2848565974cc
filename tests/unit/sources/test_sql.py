"""Tests of the SQL source on PostgreSQL, whose types and comparisons are stricter than SQLite's."""

from datetime import date
from itertools import product
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from adwarm.foundation.clock import TimeLimit, limited
from adwarm.model import Account, QuerySpec, Window
from adwarm.sources import sql
from adwarm.sources.protocol import Increment, ResultPage, iter_accounts
from adwarm.sources.sql import SqlSource, session_zone_statement
from adwarm.sources.tabular import TableOptions

WINDOW = Window(date(2026, 11, 2), date(2026, 11, 3))


def create_table(url: str, account_type: str, day_type: str, account: str) -> Engine:
    """A table of four days in a schema of its own."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA IF EXISTS ads CASCADE"))
        connection.execute(text("CREATE SCHEMA ads"))
        connection.execute(
            text(
                f"CREATE TABLE ads.insights (account_id {account_type}, ad_id bigint, date_start {day_type}, "
                "impressions integer, spend numeric(12, 4), actions jsonb)"
            )
        )
        for day in ("2026-11-01T23:59", "2026-11-02T00:00", "2026-11-03T23:59", "2026-11-04T00:00"):
            connection.execute(
                text(
                    f"INSERT INTO ads.insights VALUES (CAST(:account AS {account_type}), 120210000200000017, "
                    f'CAST(:day AS {day_type}), 185, 14.3500, \'[{{"action_type": "purchase", "value": "2"}}]\')'
                ),
                {"account": account, "day": day},
            )
    return engine


@pytest.mark.postgres
def test_types_of_a_warehouse(postgres_url: str) -> None:
    """Whatever the types of account and day, the two days of the window are returned in the platform's form."""
    expected = {
        "account_id": "7",
        "ad_id": "120210000200000017",
        "impressions": "185",
        "spend": "14.35",
        "actions": [{"action_type": "purchase", "value": "2"}],
    }
    for case in (
        ("bigint", "7", "date"),
        ("numeric", "7", "timestamp"),
        ("text", "act_7", "timestamptz"),
        ("bigint", "7", "text"),
        ("text", "act_7", "date"),
    ):
        account_type, account, day_type = case
        engine = create_table(postgres_url, account_type, day_type, account)
        try:
            source = SqlSource(engine, "ads.insights")
            assert list(iter_accounts(source)) == [source.get_account("act_7")], case
            spec = QuerySpec(fields=("impressions", "spend", "actions"))
            (unit,) = source.plan(Account("act_7"), [WINDOW], Increment.DAY, spec)
            page = source.submit(unit)
        finally:
            engine.dispose()
        assert isinstance(page, ResultPage)
        days = ("2026-11-02", "2026-11-03")
        assert page.rows == [expected | {"date_start": day, "date_stop": day} for day in days], case


SESSIONS = ("America/Los_Angeles", "UTC", "Pacific/Auckland")


def days_of(engine: Engine, table: str, **options: Any) -> list[str]:
    """The days of the window's rows."""
    source = SqlSource(engine, table, TableOptions(**options))
    (unit,) = source.plan(Account("act_7"), [WINDOW], Increment.DAY, QuerySpec(fields=("impressions",)))
    page = source.submit(unit)
    assert isinstance(page, ResultPage)
    return [row["date_start"] for row in page.rows]


def create_time_table(url: str, session: str, *texts: str) -> Engine:
    """A session with a zone, a table whose days are times, and a view that casts them to days."""
    engine = create_engine(url, connect_args={"options": f"-c timezone={session}"})
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA IF EXISTS ads CASCADE"))
        connection.execute(text("CREATE SCHEMA ads"))
        connection.execute(
            text("CREATE TABLE ads.insights (account_id text, ad_id text, date_start timestamptz, impressions integer)")
        )
        for moment in texts:
            connection.execute(
                text("INSERT INTO ads.insights VALUES ('7', '1', CAST(:m AS timestamptz), 5)"), {"m": moment}
            )
        connection.execute(
            text(
                "CREATE VIEW ads.days AS SELECT account_id, ad_id, date_start::date AS date_start, impressions "
                "FROM ads.insights"
            )
        )
    return engine


@pytest.mark.postgres
@pytest.mark.parametrize("session", SESSIONS)
@pytest.mark.parametrize("told", [True, False])
def test_days_do_not_follow_the_session(
    postgres_url: str, session: str, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moments at UTC midnight are UTC's days in any session, and so are the days that a view makes of them.

    Moments are so even where the session's zone is left as it is.
    """
    midnights = [f"2026-11-0{day} 00:00+00" for day in (1, 2, 3, 4)]
    engine = create_time_table(postgres_url, session, *midnights)
    if not told:
        monkeypatch.setattr(sql, "_SESSION_ZONE", {})
    try:
        for table in ("ads.insights", "ads.days") if told else ("ads.insights",):
            assert days_of(engine, table) == ["2026-11-02", "2026-11-03"], table
    finally:
        engine.dispose()


@pytest.mark.postgres
def test_times_are_days_of_the_configured_zone(postgres_url: str) -> None:
    """Where a setting names a zone, days begin at its midnight, to the minute."""
    times = ("2026-11-01 23:59", "2026-11-02 00:00", "2026-11-03 23:59", "2026-11-04 00:00")
    for session, (zone, offset) in product(SESSIONS, (("Asia/Tokyo", "+09"), ("America/Sao_Paulo", "-03"))):
        engine = create_time_table(postgres_url, session, *(f"{moment}{offset}" for moment in times))
        try:
            for table in ("ads.insights", "ads.days"):
                case = (session, zone, table)
                assert days_of(engine, table, day_zone=zone) == ["2026-11-02", "2026-11-03"], case
        finally:
            engine.dispose()


def test_the_statement_that_sets_a_sessions_zone() -> None:
    """Each database has its own; MySQL gets UTC as an offset, since it may not know zones by name."""
    assert session_zone_statement("mysql", "UTC") == "SET time_zone = '+00:00'"
    assert session_zone_statement("mariadb", "Asia/Tokyo") == "SET time_zone = 'Asia/Tokyo'"
    assert session_zone_statement("postgresql", "UTC") == "SET LOCAL TIME ZONE 'UTC'"
    assert session_zone_statement("sqlite", "UTC") is None


def test_the_threads_of_a_process_share_connections(postgres_url: str) -> None:
    """Each thread has its own source; together they hold no more connections than the pool has."""
    from adwarm.settings import SqlSettings

    limits = SqlSettings(pool_size=2)
    engines = {id(SqlSource(postgres_url, "insights", limits=limits)._engine) for _ in range(8)}
    assert len(engines) == 1
    pool = SqlSource(postgres_url, "insights", limits=limits)._engine.pool
    assert (pool.size(), pool._max_overflow) == (2, 0)  # type: ignore[attr-defined]


def test_a_query_ends_with_the_work_it_is_a_part_of() -> None:
    """The time limit of a statement is that of a call, or what its account has left."""
    source = SqlSource("sqlite://", "insights", call_timeout=60.0)
    assert source._time_limit("postgresql") == "SET LOCAL statement_timeout = 60000"
    with limited(TimeLimit(7.3, "the account", "SETTING")):
        assert source._time_limit("postgresql") == "SET LOCAL statement_timeout = 7000"
