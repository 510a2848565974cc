"""Slots are loaded as they were stored."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from sqlalchemy import Engine

from adwarm.model import Account
from adwarm.patterns.ingest.run import ingest
from adwarm.patterns.open_history import load_slots
from adwarm.settings import Settings
from adwarm.store import Context, accounts
from adwarm.store.objects import ObjectStore


def _write(path: Path, moments: list[datetime]) -> Settings:
    rows = [{"ts": at.isoformat(), "account_id": "act_1", "date_range": "today"} for at in moments]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return Settings(access_log={"url": str(path)})


def test_slots_of_the_window_come_back(sqlite_engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """The window is half-open and may start within an hour; hours of several days and objects are in order."""
    start = datetime(2026, 3, 7, 22, tzinfo=UTC)
    moments = [start + timedelta(minutes=20 * n + n % 3) for n in range(24)]  # equal distances would be reloads
    settings = _write(tmp_path / "log.jsonl", moments)
    ingest(Context(sqlite_engine, objects, settings), start + timedelta(days=2))
    found = load_slots(
        Context(sqlite_engine, objects, Settings()), start + timedelta(minutes=30), start + timedelta(hours=4)
    )
    assert found["first_ts"].tolist() == [
        at for at in moments if start + timedelta(minutes=30) <= at < start + timedelta(hours=4)
    ]
    assert list(found.columns) == [
        "account_id",
        "date_range",
        "report",
        "time_zone",
        "slot",
        "opens",
        "first_ts",
        "last_ts",
    ]
    assert load_slots(Context(sqlite_engine, objects, Settings()), start - timedelta(days=9), start).empty


@pytest.mark.parametrize("known", [True, False])
def test_a_log_without_zones_takes_the_accounts_zone(
    sqlite_engine: Engine, objects: ObjectStore, tmp_path: Path, known: bool
) -> None:
    """The reader zone is the account's where the log names none, and the default where there is no account."""
    at = datetime(2026, 3, 7, 22, tzinfo=UTC)
    if known:
        accounts.save(sqlite_engine, [Account("act_1", reader_zone="Asia/Tokyo")], at)
    settings = _write(tmp_path / "log.jsonl", [at]).model_copy(update={"default_zone": "Europe/Berlin"})
    context = Context(sqlite_engine, objects, settings)
    ingest(context, at + timedelta(hours=1))
    found = load_slots(context, at, at + timedelta(hours=1))
    assert found["time_zone"].tolist() == ["Asia/Tokyo" if known else "Europe/Berlin"]
