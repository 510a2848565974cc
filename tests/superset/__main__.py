"""Walks from an empty folder to a warmed Superset, and checks what adwarm promises on the way.

A real Superset with two dashboards of three charts; opens that are made up for eight weeks of weekdays; one Friday that
is planned and warmed in steps of a quarter of an hour. Then people come, and Superset is killed and started again.
"""

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import requests

from adwarm.forecast.training.train import train_and_promote
from adwarm.foundation.clock import VirtualClock
from adwarm.model import Mode, Priority, ReportKey
from adwarm.patterns.ingest.run import ingest
from adwarm.planning.decide import decide
from adwarm.planning.warm_outcomes import mark_warm_outcomes
from adwarm.prefetch import KeyRequest
from adwarm.prefetch.warm_batch import warm_batch
from adwarm.runtime import Runtime
from adwarm.settings import load_settings
from adwarm.store import warms
from tests.superset.readers import Chromium, People, start_chromium

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".adwarm" / "superset"
FRIDAY = date(2026, 10, 30)
STEP = timedelta(minutes=15)
OPENED_AT = {1: (8, 13), 2: (10,)}
"""The hours (UTC) at which each dashboard is opened on every weekday."""


class Walk:
    """The walk, with its checks; a failed one is printed and makes the exit code 1."""

    def __init__(self, port: int, password: str) -> None:
        self._port, self._password = port, password
        self._url = f"http://127.0.0.1:{port}"
        self._failed = 0

    def run(self) -> int:
        """Walk, and return how many checks failed."""
        started = time.monotonic()
        with self._superset(), start_chromium() as browser:
            _say(started, "Superset answers")
            people = People(self._url, self._password)
            people.make_dashboards(HOME / "sales.db")
            how = "in Chromium" if browser else "by API"
            reader = Chromium(browser, self._url, self._password, HOME) if browser else people
            self._check("without warming, the first reader waits for every chart", not any(reader.open(1)))
            reader.open(2)
            if browser:
                opens = _read_logged_opens()
                self._check(f"the how-to's SELECT returns the opens of both dashboards: {opens}", opens == [1, 2])
            for path in (HOME / "cache").iterdir():
                path.unlink()
            _say(started, f"two dashboards, opened once {how}, their cache emptied")
            runtime = self._learn()
            _say(started, "learned from made-up opens")
            self._warm_friday(runtime)
            _say(started, "planned and warmed a Friday")
            self._check_counts(runtime)
            for dashboard, name in ((1, "with the filter's default"), (2, "without a filter")):
                warm = all(reader.open(dashboard))
                self._check(f"every chart {name} is cached for its first reader {how}", warm)
        self._check_breaker(runtime, started)
        return self._failed

    def _learn(self) -> Runtime:
        """Return a runtime that has listed the dashboards and learned from the opens of eight weeks."""
        _write_opens(HOME / "opens.csv", FRIDAY - timedelta(days=1))
        runtime = Runtime(load_settings(), VirtualClock(_at(FRIDAY)))
        found = runtime.account_discovery().run(runtime.source_factories(), dry_run=False)
        self._check("both dashboards are found", not found.errors)
        ingest(runtime.context, runtime.clock.now())
        train_and_promote(runtime.context, runtime.clock.now(), runtime.clock.now())
        return runtime

    def _warm_friday(self, runtime: Runtime) -> None:
        """Plan and warm every quarter of an hour of the day, reading its opens as they come, and mark the warms."""
        for number in range(24 * 4):
            at = _at(FRIDAY) + number * STEP
            runtime.clock.sleep((at - runtime.clock.now()).total_seconds())
            if number % 4 == 0:
                _write_opens(HOME / "opens.csv", FRIDAY, until=at)
                ingest(runtime.context, at)
            run = f"adwarm_intelligent_warming/{at:%H%M}"
            for batch in range(decide(runtime.context, at, run, Mode.LIVE).batches):
                warm_batch(runtime.prefetch_engine(), run, batch)
        end = _at(FRIDAY + timedelta(days=1))
        _write_opens(HOME / "opens.csv", FRIDAY)
        ingest(runtime.context, end + timedelta(hours=4))
        mark_warm_outcomes(runtime.context, end + timedelta(hours=4), end + timedelta(hours=4))

    def _check_counts(self, runtime: Runtime) -> None:
        rows = [row for at in _steps() for row in warms.list_by_run(runtime.engine, f"adwarm_intelligent_warming/{at}")]
        fetched = [row for row in rows if row.fetched_at is not None]
        used, wasted = (sum(row.used is value for row in fetched) for value in (True, False))
        superseded = sum(row.superseded_by is not None for row in fetched)
        calls, queries = sum(row.requests for row in fetched), _count_forced_queries()
        print(f"  {len(fetched)} warms fetched: {used} used, {wasted} wasted, {superseded} superseded; {calls} calls")
        self._check("used + wasted + superseded = fetched", used + wasted + superseded == len(fetched) > 0)
        self._check(f"adwarm's {calls} calls are Superset's {queries} forced chart queries", calls == queries)
        hours = {row.fetched_at.hour for row in fetched if row.fetched_at}
        self._check(f"none is warmed at night (hours {sorted(hours)})", all(6 <= hour < 20 for hour in hours))
        sizes = [row.reason for row in rows if row.reason == "day_closed"]
        self._check("no day is closed", not sizes)

    def _check_breaker(self, runtime: Runtime, started: float) -> None:
        """Fetch while Superset is dead until the breaker opens, and after it is back until it is closed."""
        keys = [KeyRequest(ReportKey(f"act_{number}", "today")) for number in (1, 2)]
        runtime.clock.sleep(24 * 3600.0)
        for _ in range(3):
            outcomes = runtime.prefetch_engine().run(keys, Priority.NORMAL).outcomes
        reason = outcomes[0].reason
        print(f"  Superset is dead: {reason}")
        self._check(
            "a breaker is open, and says why", "failed too often" in reason and not outcomes[0].status.is_served
        )
        with self._superset():
            time.sleep(3)  # the cooldown of the breaker, by the clock of the database
            for _ in range(4):
                outcomes = runtime.prefetch_engine().run(keys, Priority.NORMAL).outcomes
                time.sleep(1)
            self._check("Superset is back, and both are warm", all(item.status.is_served for item in outcomes))
            _say(started, "killed and started again")

    @contextlib.contextmanager
    def _superset(self) -> Iterator[None]:
        """Run Superset, and kill it at the end."""
        command = [str(ROOT / "examples" / "superset" / "start.sh"), str(HOME), str(self._port)]
        with (HOME / "superset.log").open("a") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            for _ in range(600):
                with contextlib.suppress(requests.RequestException):
                    if requests.get(f"{self._url}/health", timeout=5).ok:
                        break
                if process.poll() is not None:
                    raise RuntimeError(f"Superset did not start; {HOME / 'superset.log'} says why")
                time.sleep(1)
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _check(self, claim: str, holds: bool) -> None:
        print(f"{'ok  ' if holds else 'FAIL'} {claim}")
        self._failed += not holds


def _at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _steps() -> list[str]:
    return [f"{_at(FRIDAY) + number * STEP:%H%M}" for number in range(24 * 4)]


def _write_opens(path: Path, last: date, until: datetime | None = None) -> None:
    """Write eight weeks of opens up to `last`, as the SELECT of docs/how-to/warm-superset.md returns them."""
    days = [last - timedelta(days=number) for number in range(56, -1, -1)]
    opens = sorted(
        (_at(day) + timedelta(hours=hour, minutes=(day.day * 7 + hour) % 25), dashboard)
        for day in days
        if day.weekday() < 5
        for dashboard, hours in OPENED_AT.items()
        for hour in hours
    )
    lines = [f"{at:%Y-%m-%d %H:%M:%S},{dashboard}" for at, dashboard in opens if until is None or at < until]
    path.write_text("\n".join(["ts,account_id", *lines, ""]))


def _count_forced_queries() -> int:
    """Return how many chart queries Superset has logged that came from a warm."""
    forced = "action = 'ChartDataRestApi.data' AND json LIKE '%\"force\": true%' OR action LIKE '%warm_up_cache'"
    with sqlite3.connect(HOME / "superset.db") as connection:
        return int(connection.execute(f"SELECT count(*) FROM logs WHERE {forced}").fetchone()[0])


def _read_logged_opens() -> list[int]:
    """Return the dashboards that Superset's log says were opened, by the SELECT of docs/how-to/warm-superset.md."""
    page = (ROOT / "docs/how-to/warm-superset.md").read_text(encoding="utf-8")
    [select] = re.findall(r"SELECT .*?\sORDER BY id", page.replace(r"\"", '"'), re.DOTALL)
    with sqlite3.connect(HOME / "superset.db") as connection:
        return [int(dashboard) for _, dashboard in connection.execute(select)]


def _say(started: float, text: str) -> None:
    print(f"{(time.monotonic() - started) / 60:4.1f} min  {text}", flush=True)


def main() -> int:
    """Walk in an empty folder; skipped with a word where Superset cannot be installed."""
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    password = secrets.token_urlsafe(12)
    os.environ |= {
        "SUPERSET_PASSWORD": password,
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "ADWARM_HOME": str(HOME / "adwarm"),
        "AIRFLOW_HOME": str(HOME / "airflow"),
        "AIRFLOW_CONN_SUPERSET": f"http://admin:{password}@127.0.0.1:{port}",
        "ADWARM_SOURCE__KIND": "superset_source:make_source",
        "ADWARM_ACCESS_LOG__URL": str(HOME / "opens.csv"),
        "ADWARM_ACCESS_LOG__CONSTANTS": '{"date_range": "today"}',
        "ADWARM_BACKPRESSURE__BREAKER_MIN_CALLS": "2",
        "ADWARM_BACKPRESSURE__BREAKER_COOLDOWN_SECONDS": "2",
    }
    sys.path.insert(0, str(ROOT / "examples" / "superset"))
    try:
        return min(1, Walk(port, password).run())
    except RuntimeError as error:
        if not (HOME / "ready").exists() and not (HOME / "venv" / "bin" / "superset").exists():
            print(f"skipped: Superset cannot be installed here ({error})")
            return 0
        raise


if __name__ == "__main__":
    raise SystemExit(main())
