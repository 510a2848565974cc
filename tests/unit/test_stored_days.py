"""The stored days as a DataFrame, and as a view that DuckDB runs: the same rows, types and ids in both."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from sqlalchemy import Engine

from adwarm import load_days
from adwarm.foundation.errors import BadRequest, Corrupt
from adwarm.maintenance.compaction import compact
from adwarm.model import Row
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, partitions
from adwarm.store.database import write_transaction
from adwarm.store.partition_rows import content_hash, pack_rows
from adwarm.store.partitions import PartitionState
from adwarm.stored_days import write_duckdb_view
from adwarm_client import NotReady, ReportWarning

AT = datetime(2026, 11, 25, 5, 30, tzinfo=UTC)
DAYS = [date(2026, 10, day) for day in (1, 2, 3)]


@pytest.fixture
def context(engine: Engine, tmp_path: Path) -> Context:
    """Three days of two accounts, each account's in one object, of which the last day was fetched again since."""
    settings = Settings(database_url=str(engine.url), data_url=str(tmp_path / "data"))
    context = Context(engine, ObjectStore(settings.data), settings)
    for account in ("act_1", "act_2"):
        _store(context, account, [_row(account, day, ad, spend="1.50") for day in DAYS for ad in (1, 2)])
        _store(context, account, [_row(account, DAYS[-1], ad, spend=spend) for ad, spend in ((1, "9.25"), (2, 7))], 2)
    return context


def _row(account: str, day: date, ad: int, **fields: object) -> Row:
    row: Row = {"account_id": account.removeprefix("act_"), "ad_id": f"00{ad}", "ad_name": f'"{ad}"', "clicks": "3"}
    actions = [{"action_type": "purchase", "value": "2"}]
    return {**row, "actions": actions, "date_start": str(day), "date_stop": str(day), **fields}


def _store(context: Context, account: str, rows: list[Row], version: int = 1, missing: str | None = None) -> None:
    digest = context.objects.put(pack_rows(rows))
    states = []
    for day in sorted({date.fromisoformat(row["date_start"]) for row in rows}):
        own = [row for row in rows if row["date_start"] == str(day)]
        states.append(
            PartitionState(day, digest, len(own), content_hash(own), AT, True, True, version, "v26.0", missing)
        )
    with write_transaction(context.engine) as connection:
        partitions.publish(connection, account, context.settings.spec("default").hash, states, 1)


@pytest.fixture
def duck(context: Context) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB after the script, for the first days of October, beside a copy of the table: its driver is a download."""
    attach, rest = write_duckdb_view(context.settings).split(";\n", 1)
    assert attach.startswith("ATTACH '")
    assert attach.endswith(", READ_ONLY)")
    with duckdb.connect() as connection:
        connection.execute("ATTACH ':memory:' AS adwarm; SET TimeZone = 'Asia/Tokyo'")
        _copy_table(context, connection)
        for script in _split_script(rest):
            connection.execute(script)
        yield connection


def _split_script(script: str) -> list[str]:
    days = {"current_date - 30": "DATE '2026-10-01'", "current_date - 1;": "DATE '2026-10-03';"}
    for old, new in days.items():
        assert old in script
        script = script.replace(old, new)
    return script.split(";\n")[:-1]


def _copy_table(context: Context, connection: duckdb.DuckDBPyConnection) -> None:
    stored = pd.read_sql_table("partition", context.engine)  # noqa: F841 -- read by DuckDB by its name
    connection.execute('CREATE OR REPLACE TABLE adwarm."partition" AS FROM stored')


def test_each_ad_and_day_is_there_once_and_typed(context: Context) -> None:
    """The newest fetch of a day counts alone, ids are those of SQL and text keeps its zeros and quotes."""
    frame = load_days(["1", "act_2", "act_1"], "2026-10-01", DAYS[-1], context=context)
    assert len(frame) == 2 * 3 * 2
    assert frame.columns[:2].tolist() == ["account_id", "date_start"]
    last = frame[frame["date_start"] == "2026-10-03"]
    assert last[["account_id", "ad_id", "ad_name", "spend"]].to_numpy().tolist() == [
        [account, f"00{ad}", f'"{ad}"', spend] for account in ("act_1", "act_2") for ad, spend in ((1, 9.25), (2, 7.0))
    ]
    assert {name: str(frame[name].dtype) for name in ("clicks", "reach", "spend", "cpm", "settled")} == {
        "clicks": "Int64",
        "reach": "Int64",
        "spend": "float64",
        "cpm": "float64",
        "settled": "bool",
    }
    assert frame["actions"].iloc[0] == [{"action_type": "purchase", "value": "2"}]
    assert (set(frame["fetched_at"]), frame.attrs["adwarm"]["missing"]) == ({pd.Timestamp(AT)}, {})


def test_duckdb_reads_the_same(context: Context, duck: duckdb.DuckDBPyConnection) -> None:
    """Columns in order, types and every value agree with the frame, before and after months are compacted."""
    frame = load_days(["act_1", "act_2"], DAYS[0], DAYS[-1], context=context).drop(columns="actions")
    kinds = {"VARCHAR": "str", "BIGINT": "Int64", "DOUBLE": "float64", "BOOLEAN": "bool"}

    def compare() -> None:
        days = duck.sql("SELECT * EXCLUDE (actions) FROM days ORDER BY account_id, date_start, ad_id")
        assert days.columns == frame.columns.tolist()
        for name, kind in zip(days.columns, map(str, days.types), strict=True):
            assert (
                kinds.get(kind, kind) == str(frame[name].dtype)
                or name in {"date_start", "fetched_at"}
                or (frame[name].isna().all() and kind in {"VARCHAR", "BIGINT"})
            ), (name, kind, frame[name].dtype)
        rows = [tuple(None if pd.isna(value) else value for value in row) for row in frame.itertuples(index=False)]
        assert [(*row[:1], pd.Timestamp(row[1]), *row[2:]) for row in days.fetchall()] == rows

    compare()
    assert compact(context).months == 2
    _copy_table(context, duck)
    with pytest.raises(duckdb.Error, match="days were fetched again, or since and until are others"):
        duck.sql("SELECT sum(spend) FROM days").fetchall()
    duck.execute('SET VARIABLE files = (SELECT list(DISTINCT file) FROM live_days WHERE "rows" > 0)')
    compare()


def test_missing_days_are_no_data_unless_allowed(context: Context) -> None:
    """A day that is not stored, or not whole, is an error that names it; with the permission a warning."""
    _store(context, "act_2", [_row("act_2", DAYS[0], 1)], 3, missing="ad 2: denied")
    message = r"act_1 lacks 1 of 4 days, the first 2026-10-04: not stored, and days of 1 other account"
    with pytest.raises(NotReady, match=message):
        load_days(["act_1", "act_2"], DAYS[0], "2026-10-04", context=context)
    with pytest.warns(ReportWarning, match=message) as given:
        frame = load_days(["act_1", "act_2"], DAYS[0], "2026-10-04", allow_partial=True, context=context)
    assert (len(given), len(frame), Path(given[0].filename).name) == (1, 11, Path(__file__).name)
    lacks = {"2026-10-01": "ad 2: denied", "2026-10-04": "not stored"}
    assert frame.attrs["adwarm"]["missing"] == {"act_1": {"2026-10-04": "not stored"}, "act_2": lacks}
    with pytest.raises(NotReady, match="act_3 lacks all 3 days"):
        load_days("act_3", DAYS[0], DAYS[-1], context=context)
    with pytest.warns(ReportWarning):
        nothing = load_days("act_3", DAYS[0], DAYS[-1], allow_partial=True, context=context)
    assert (len(nothing), str(nothing["clicks"].dtype), nothing["spend"].sum()) == (0, "Int64", 0)
    with pytest.raises(BadRequest):
        load_days("every one", DAYS[0], DAYS[-1], context=context)


def test_damage_is_recorded(context: Context) -> None:
    """The rows of an account whose object is gone raise, and the reader that met them records it."""
    for digest, suffix in list(context.objects.list_objects()):
        context.objects.delete(digest, suffix)
    damage: list[tuple[str | None, str | None]] = []
    watched = replace(context, on_damage=lambda _error, account, subject: damage.append((account, subject)))
    with pytest.raises(Corrupt):
        load_days("act_1", DAYS[0], DAYS[-1], context=watched)
    assert damage == [("act_1", "days 2026-10-01..2026-10-03")]


def test_the_script_has_paths_and_no_password() -> None:
    """A server is named without its password, a bucket as it is, and quotes cannot end a text."""
    settings = Settings(
        database_url="postgresql+psycopg2://bi:secret@db:5432/adwarm?sslmode=require", data_url="s3://it's/days"
    )
    script = write_duckdb_view(settings)
    assert "ATTACH 'postgresql://bi@db:5432/adwarm?sslmode=require' AS adwarm (TYPE postgres, READ_ONLY);" in script
    assert "'s3://it''s/days/objects/' || object_hash[1:2]" in script
    with pytest.raises(BadRequest):
        write_duckdb_view(settings, "unknown")
