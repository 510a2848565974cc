"""Every table that grows has a rule, and a run that is out of time goes on with it."""

import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from adwarm.backpressure import RequestQueue
from adwarm.compression.statistics import add_counts
from adwarm.foundation.clock import VirtualClock
from adwarm.maintenance.retention import build_rules, make_apply_retention, prune_open_log
from adwarm.maintenance.runner import StepBudget
from adwarm.model import CompressionCounts, ReportKey
from adwarm.patterns.ingest.run import ingest
from adwarm.settings import RetentionSettings, Settings
from adwarm.store import Context, ObjectStore, aggregates, read_transaction, retention
from adwarm.store.error_events import ErrorEvent, ErrorLog
from adwarm.store.open_files import OpenFiles
from adwarm.store.tables import metadata
from tests.support.user_log import UserLog

DAY = timedelta(days=1)
KEY = ReportKey("act_1", "today")
ROOT = Path(__file__).resolve().parents[3]
BOUNDED_OTHERWISE = {
    "access_pattern": "replaced once a day",
    "access_profile": "replaced once a day",
    "access_token": "an administrator makes them",
    "account": "number of accounts",
    "account_discovery": "number of connections",
    "capacity_scope": "number of scopes",
    "entry": "evict_entries",
    "entry_version": "collect_garbage",
    "log_file": "deleted with the file",
    "machine_load": "a new machine deletes those of a day ago",
    "maintenance_step": "number of steps",
    "payload": "collect_garbage",
    "policy": "one row",
    "strategy": "a user makes them",
    "watermark": "number of steps",
}
"""Tables without a rule, and what bounds each instead."""
RULES_OF_OTHERS = {"alert_delivery"}
"""Tables whose rows go with those of another."""


@pytest.fixture
def context(engine: Engine, objects: ObjectStore, tmp_path: Path) -> Context:
    """A store with the default settings and a folder of its own."""
    return Context(
        engine, objects, Settings(data_url=str(tmp_path / "data"), access_log={"url": str(tmp_path / "log")})
    )


@pytest.fixture
def queue(context: Context) -> RequestQueue:
    """The request queue."""
    return RequestQueue(context.engine, context.settings.backpressure, owner="test")


def test_every_table_is_bounded(context: Context, queue: RequestQueue, clock: VirtualClock) -> None:
    """A table has a rule or another bound that is stated here, and the reference names no table without one."""
    rules = set(build_rules(context, queue, clock.now())) | RULES_OF_OTHERS
    assert set(metadata.tables) - rules == set(BOUNDED_OTHERWISE)
    assert rules - set(metadata.tables) == {"healing", "open_log_files"}
    described = tomllib.loads((ROOT / "docs" / "reference_pages" / "tables.toml").read_text("utf-8"))
    bounds = {
        name: described.get(name, {}).get("bound") or item.info["bound"] for name, item in metadata.tables.items()
    }
    assert [name for name, bound in bounds.items() if "no retention" in bound] == []


def test_old_rows_are_deleted_and_counted(context: Context, queue: RequestQueue, clock: VirtualClock) -> None:
    """Each table keeps what its setting says; a second run has nothing to do."""
    engine, now = context.engine, clock.now()
    for age in (0, 399, 401):
        add_counts(engine, now - age * DAY, {"zstd": CompressionCounts(packed=1)})
    log = ErrorLog(engine)
    for age in (0, 91):
        log.record(ErrorEvent(now - age * DAY, "meta", "Transient", "x"))
    files = OpenFiles(context.settings.data)
    for age in (10, 500):
        files.put((now - age * DAY).date(), "a", b"")
    step = make_apply_retention(context, queue, clock)
    first = step(None, StepBudget.of(clock, 60))
    deleted = {name: count for name, count in first.counts.items() if count}
    assert deleted == {"amount": 1, "error_event": 1, "open_log_files": 1}
    assert set(step(None, StepBudget.of(clock, 60)).counts.values()) == {0}


def test_a_run_without_time_goes_on_with_its_rule(
    context: Context, queue: RequestQueue, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One batch a run: every rule has its turn in the end, and a rule with more rows keeps its turn."""
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)
    for age in [0, *range(401, 406)]:
        add_counts(context.engine, clock.now() - age * DAY, {"zstd": CompressionCounts(packed=1)})
    step, cursor, visited = make_apply_retention(context, queue, clock), "amount", []
    while cursor is not None:
        result = step(cursor, StepBudget.of(clock, 0))
        cursor = result.cursor
        visited.append((result.counts.get("amount"), cursor))
    assert visited[:3] == [(2, "amount"), (2, "amount"), (1, "amount")]


def test_hours_that_were_deleted_are_not_read_again(
    context: Context, queue: RequestQueue, clock: VirtualClock, tmp_path: Path
) -> None:
    """The log still holds the old events; later runs read what was added and restore no hour."""
    log = UserLog(tmp_path / "log" / "a.jsonl")
    for age in (900, 850, 10):
        log.append(clock.now() - age * DAY, KEY)
    ingest(context, clock.now())
    step = make_apply_retention(context, queue, clock)
    assert step(None, StepBudget.of(clock, 60)).counts["access_aggregate"] == 2
    for days in (0, 1):
        log.append(clock.now() - timedelta(hours=1), KEY)
        clock.sleep(days * 86_400)
        ingest(context, clock.now())
    with read_transaction(context.engine) as connection:
        hours = aggregates.list_hours(connection)
    assert min(item.hour for item in hours) > clock.now() - 100 * DAY
    assert len(hours) == 2


NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize("is_local", [True, False])
def test_old_days_go_and_others_stay(sqlite_engine: Engine, tmp_path: Path, *, is_local: bool) -> None:
    """The oldest day that is kept began `traffic_days` ago; running again deletes nothing."""
    url = str(tmp_path) if is_local else f"memory://{tmp_path.name}"
    settings = Settings(home=tmp_path, data_url=url, retention=RetentionSettings(traffic_days=60))
    files = OpenFiles(url)
    days = [date(2026, 11, 25) - timedelta(days=age) for age in (0, 59, 60, 61, 400)]
    for day in days:
        for name in ("a", "b"):
            files.put(day, name, b"")
    context = Context(sqlite_engine, ObjectStore(url), settings)
    assert prune_open_log(context, NOW) == 4
    assert [day for day in files.list_days() if files.list_files([day])] == sorted(days[:3])
    assert prune_open_log(context, NOW) == 0
