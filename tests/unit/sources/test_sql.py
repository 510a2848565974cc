"""The SQL source on a real PostgreSQL server, whose types and comparisons are stricter than SQLite's."""

from datetime import date

import pytest
from sqlalchemy import Engine, create_engine, text

from adwarm.model import Account, QuerySpec, Window
from adwarm.sources.protocol import Increment, Page
from adwarm.sources.sql import SqlSource

WINDOW = Window(date(2026, 11, 2), date(2026, 11, 3))


def landed(url: str, account_type: str, day_type: str, account: str) -> Engine:
    """A table of four days, as a loader would land it, in a schema of its own."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA IF EXISTS ads CASCADE"))
        connection.execute(text("CREATE SCHEMA ads"))
        connection.execute(text(
            f"CREATE TABLE ads.insights (account_id {account_type}, ad_id bigint, date_start {day_type}, "
            "impressions integer, spend numeric(12, 4), actions jsonb)"
        ))  # fmt: skip
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
@pytest.mark.parametrize(("account_type", "account"), [("bigint", "7"), ("numeric", "7"), ("text", "act_7")])
@pytest.mark.parametrize("day_type", ["date", "timestamp", "timestamptz", "text"])
def test_types_of_a_warehouse(postgres_url: str, account_type: str, account: str, day_type: str) -> None:
    """Whatever the types of account and day, the two days of the window come out in the platform's form."""
    engine = landed(postgres_url, account_type, day_type, account)
    try:
        source = SqlSource(engine, "ads.insights")
        assert list(source.accounts()) == [source.account("act_7")]
        spec = QuerySpec(fields=("impressions", "spend", "actions"))
        (unit,) = source.plan(Account("act_7"), [WINDOW], Increment.DAY, spec)
        page = source.submit(unit)
    finally:
        engine.dispose()
    assert isinstance(page, Page)
    assert page.rows == [
        {
            "account_id": "7", "ad_id": "120210000200000017", "date_start": day, "date_stop": day,
            "impressions": "185", "spend": "14.35", "actions": [{"action_type": "purchase", "value": "2"}],
        }
        for day in ("2026-11-02", "2026-11-03")
    ]  # fmt: skip
