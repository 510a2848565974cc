"""Opens loaded from the store equal those that replay reads from the log itself."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pytest
from sqlalchemy import Engine

from adwarm.model import Account, Actor, ReportKey
from adwarm.patterns.ingest.run import ingest
from adwarm.patterns.open_history import load_opens, load_slots
from adwarm.patterns.opens import Opens, opens_from_frame
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, accounts
from tests.support.user_log import UserLog

START = datetime(2026, 3, 7, 21, 45, tzinfo=UTC)
END = START + timedelta(days=4)


def _events(seed: int, size: int) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    minutes = np.sort(draw.choice(4 * 1440, size, replace=False))
    return pd.DataFrame({
        "ts": pd.to_datetime([START + timedelta(minutes=int(at)) for at in minutes], utc=True),
        "account_id": [f"act_{n}" for n in draw.integers(1, 6, size)],
        "date_range": draw.choice(["today", "last_7d"], size),
        "report": draw.choice(["default", "creatives"], size),
        "time_zone": "Europe/Rome",
    })


def _store(engine: Engine, objects: ObjectStore, tmp_path: Path, events: pd.DataFrame) -> None:
    path = tmp_path / "log.parquet"
    events.to_parquet(path)
    settings = Settings(access_log={"url": str(path)}, reports={"default": {}, "creatives": {}})
    ingest(Context(engine, objects, settings), END)


def _quarters(opens: Opens) -> set[tuple[str, int]]:
    return {(str(opens.report_key(key)), ts // 900_000_000) for ts, key in zip(opens.ts, opens.key, strict=True)}


@pytest.mark.parametrize("seed", range(4))
def test_the_store_gives_the_opens_of_the_log(
    sqlite_engine: Engine, objects: ObjectStore, tmp_path: Path, seed: int
) -> None:
    """Slots with an open, first opens, keys in the order of their first open and their zones are the same."""
    events = _events(seed, 900)
    _store(sqlite_engine, objects, tmp_path, events)
    found, direct = load_opens(Context(sqlite_engine, objects, Settings()), START, END), opens_from_frame(events)
    assert [found.report_key(key) for key in range(found.key_count)] == [
        direct.report_key(key) for key in range(direct.key_count)
    ]
    assert _quarters(found) == _quarters(direct)
    assert (np.diff(found.ts) >= 0).all()
    for name in ("first_ts", "zone", "account"):
        assert getattr(found, name).tolist() == getattr(direct, name).tolist()
    firsts, expected = found.only_first(), direct.only_first()
    assert (firsts.ts.tolist(), firsts.key.tolist()) == (expected.ts.tolist(), expected.key.tolist())


def test_the_window_is_half_open(sqlite_engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """Whole slots are loaded by their start; an empty window has no keys."""
    events = _events(7, 300)
    _store(sqlite_engine, objects, tmp_path, events)
    since, until = datetime(2026, 3, 8, 6, 15, tzinfo=UTC), datetime(2026, 3, 9, 3, 30, tzinfo=UTC)
    found = load_opens(Context(sqlite_engine, objects, Settings()), since, until)
    inside = events[(events["ts"] >= since) & (events["ts"] < until)]
    assert _quarters(found) == _quarters(opens_from_frame(inside))
    nothing = load_opens(Context(sqlite_engine, objects, Settings()), END, END + timedelta(days=1))
    assert (len(nothing), nothing.key_count) == (0, 0)


def test_readers_in_several_zones_share_a_key(sqlite_engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """They share its slots and its quiet time; the key has the zone of the latest open."""
    minutes = (0, 5, 20, 70, 91)
    events = pd.DataFrame({
        "ts": pd.to_datetime([START + timedelta(minutes=at) for at in minutes], utc=True),
        "account_id": "act_1",
        "date_range": "today",
        "report": "default",
        "time_zone": ["UTC", "Asia/Tokyo", "UTC", "UTC", "Asia/Tokyo"],
    })
    _store(sqlite_engine, objects, tmp_path, events)
    found = load_opens(Context(sqlite_engine, objects, Settings()), START, END)
    assert found.zone.tolist() == ["Asia/Tokyo"]
    assert (_quarters(found), found.first.tolist()) == (_quarters(opens_from_frame(events)), [True, False, True, False])


def test_an_unnamed_zone_is_the_account_s(sqlite_engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """Where the log names no zone, the account's counts, else the default; opens of programs do not count."""
    writer = UserLog(tmp_path / "log" / "a.jsonl")
    for account, actor in (("act_1", Actor.HUMAN), ("act_2", Actor.EMBEDDED), ("act_3", Actor.API)):
        writer.append(START, ReportKey(account, "today"), actor=actor)
    accounts.save(sqlite_engine, [Account("act_1", "UTC", "Asia/Tokyo")], START)
    context = Context(
        sqlite_engine, objects, Settings(access_log={"url": str(tmp_path / "log")}, default_zone="Europe/Rome")
    )
    ingest(context, END)
    found = load_opens(context, START - timedelta(hours=1), END)
    assert dict(zip(found.account_id, found.zone, strict=True)) == {"act_1": "Asia/Tokyo", "act_2": "Europe/Rome"}


def test_a_zone_set_by_a_user_outranks_the_logs(sqlite_engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """Training and profiles agree on it; other accounts keep the log's zone, and holiday countries come along."""
    _store(sqlite_engine, objects, tmp_path, _events(3, 400))
    accounts.save(sqlite_engine, [Account("act_1"), Account("act_2")], END)
    accounts.set_by_user(sqlite_engine, "act_1", {"user_reader_zone": "Asia/Tokyo", "holiday_country": "JP"})
    context = Context(sqlite_engine, objects, Settings())
    found = load_opens(context, START, END)
    zones = dict(zip(found.account_id.tolist(), found.zone.tolist(), strict=True))
    slots = load_slots(context, START, END)
    expected = {f"act_{n}": "Asia/Tokyo" if n == 1 else "Europe/Rome" for n in range(1, 6)}
    assert zones == dict(zip(slots["account_id"], slots["time_zone"], strict=True)) == expected
    assert found.holiday_countries == {"act_1": "JP"}
    assert found.before(int(found.ts[9])).holiday_countries == {"act_1": "JP"}


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
