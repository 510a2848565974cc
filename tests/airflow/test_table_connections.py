"""Rows that another tool loaded into a database or files are read through an Airflow connection."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import create_engine, make_url, text

from adwarm.foundation.errors import BadRequest
from adwarm.model import Account, QuerySpec, Window
from adwarm.settings import Settings
from adwarm.sources.protocol import Increment, ResultPage

pytestmark = pytest.mark.usefixtures("airflow_home")
DAY = Window(date(2026, 11, 3), date(2026, 11, 3))


def _factory(monkeypatch: pytest.MonkeyPatch, **connection: Any) -> Any:
    from adwarm_airflow.connections import connection_source_factory

    monkeypatch.setenv("AIRFLOW_CONN_LANDED", json.dumps(connection))
    return connection_source_factory(Settings(default_zone="Europe/Berlin"), "landed")


def _rows(source: Any) -> list[dict[str, Any]]:
    account: Account = source.get_account("act_77")
    (unit,) = source.plan(account, [DAY], Increment.DAY, QuerySpec())
    page = source.submit(unit)
    assert isinstance(page, ResultPage)
    return page.rows


@pytest.mark.postgres
def test_a_table_behind_any_database_connection(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider's hook opens the database; the extra names table, columns, zone and currency."""
    engine = create_engine(make_url(postgres_url).set(drivername="postgresql+psycopg2"))
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS ads"))
        connection.execute(
            text("CREATE TABLE ads.daily (acc text, ad_id text, day date, impressions int, cost numeric)")
        )
        connection.execute(text("INSERT INTO ads.daily VALUES ('77', '9', '2026-11-03', 1200, 3.5)"))
    url = make_url(postgres_url)
    extra = {
        "adwarm_table": "ads.daily",
        "adwarm_columns": {"account_id": "acc"},
        "adwarm_zone": "Asia/Tokyo",
        "adwarm_currency": "JPY",
        **({"host": url.query["host"]} if "host" in url.query else {}),
    }
    source = _factory(
        monkeypatch,
        conn_type="postgres",
        host=url.host or str(url.query.get("host", "")),
        login=url.username,
        password=url.password,
        schema=url.database,
        port=url.port,
        extra=extra,
    )()

    assert source.get_account("act_77") == Account("act_77", "Asia/Tokyo", "Asia/Tokyo", "JPY", "landed")
    assert _rows(source) == [
        {
            "account_id": "77",
            "ad_id": "9",
            "date_start": "2026-11-03",
            "date_stop": "2026-11-03",
            "impressions": "1200",
            "spend": "3.50",
        }
    ]


def test_a_folder_of_parquet_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection of type fs is a folder of files; its days are in the default zone unless the extra names another."""
    row = {"account_id": "77", "ad_id": "9", "date": date(2026, 11, 3), "impressions": 1200, "spend": 3.5}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "part.parquet")

    source = _factory(monkeypatch, conn_type="fs", extra={"path": str(tmp_path)})()

    assert source.get_account("act_77").data_zone == "Europe/Berlin"
    assert [(row["ad_id"], row["spend"]) for row in _rows(source)] == [("9", "3.50")]


def test_loaded_rows_without_an_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layout, level, columns, constants, zones and account come from the connection; history has no oldest day."""
    row = {"campaign_id": 5, "Views": 1200, "date_start": datetime(2026, 11, 2, 23, tzinfo=UTC), "spend": 3.5}
    loads = [{**row, "_dlt_load_id": load, "spend": money} for load, money in (("9.5", 1.0), ("10.5", 3.5))]
    pq.write_table(pa.Table.from_pylist(loads), tmp_path / "part.parquet")
    extra = {
        "path": str(tmp_path),
        "adwarm_layout": "dlt",
        "adwarm_level": "campaign",
        "account_id": "77",
        "adwarm_columns": {"impressions": "views"},
        "adwarm_constants": {"campaign_name": "Autumn"},
        "adwarm_day_zone": "Europe/Berlin",
        "adwarm_currency": "EUR",
    }

    source = _factory(monkeypatch, conn_type="fs", extra=extra)()
    spec = QuerySpec("campaign", ("campaign_name", "impressions", "spend"))
    (unit,) = source.plan(source.get_account("act_77"), [DAY], Increment.DAY, spec)

    assert (source.get_account("act_77").currency, source.capabilities.retention_days) == ("EUR", None)
    assert source.submit(unit).rows == [
        {
            "account_id": "77",
            "campaign_id": "5",
            "campaign_name": "Autumn",
            "impressions": "1200",
            "spend": "3.50",
            "date_start": "2026-11-03",
            "date_stop": "2026-11-03",
        }
    ]


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        ({"conn_type": "fs"}, "no path"),
        ({"conn_type": "http", "host": "localhost"}, "no database|not installed"),
        ({"conn_type": "unheard_of"}, "not installed"),
        ({"conn_type": "fs", "extra": {"path": "/x", "adwarm_columns": ["spend"]}}, "must map"),
        (
            {"conn_type": "fs", "extra": {"path": "/x", "adwarm_constants": {"account_id": 7}}},
            "adwarm_constants must map",
        ),
    ],
)
def test_a_connection_that_is_no_source_is_an_error(
    connection: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the connection and says what to do."""
    with pytest.raises(BadRequest, match=words) as caught:
        _factory(monkeypatch, **connection)
    assert "'landed'" in str(caught.value)
