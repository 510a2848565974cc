"""Benchmark of blocks of permits that four processes take from one PostgreSQL: one statement against locked rows.

Each thread has an account of its own and takes block after block: it returns the last one, with one success for each
permit, and requests the next in the same operation. Every commit is on disk. The rows of one run are comparable: both
ways alternate, and the better of their rounds counts, because other programs only ever slow a round down.
"""

import sys
import threading
import time
from functools import partial
from random import Random

from adwarm.backpressure import CallOutcome, CallOutcomeKind, Granted, SqlAdmission
from adwarm.backpressure.admission import ReturnedBlock
from adwarm.model import Priority, Scope, ScopeKind
from adwarm.settings import BackpressureSettings
from adwarm.store.database import open_engine
from tests.benchmarks.measure import save_results, sized

SIZES = sized((8, 64), (8,))
THREADS = sized(8, 2)
ROUNDS = sized(2, 1)
OK = CallOutcome(CallOutcomeKind.OK, 0.2)
WIDE = BackpressureSettings(max_concurrent=10_000, rate_per_second=1e6, burst=1_000_000, block_permits=1_000)


def take_blocks(size: int, by_statement: bool, url: str, process: int, seconds: float) -> list[float]:
    """Take and return blocks of `size` in several threads for some seconds; return the wait for each block."""
    admission = SqlAdmission(open_engine(url), WIDE, owner=f"bench-{process}", rng=Random(process))
    admission._statement.is_usable = by_statement
    waits: list[list[float]] = [[] for _ in range(THREADS)]
    ends = time.monotonic() + seconds

    def work(index: int) -> None:
        scopes = (
            Scope(ScopeKind.ACCOUNT, f"act_{process}_{index}"),
            Scope(ScopeKind.APP, "main"),
            Scope(ScopeKind.TOKEN, "main"),
        )
        returned: tuple[ReturnedBlock, ...] = ()
        while (started := time.monotonic()) < ends:
            decision = admission.acquire_block(scopes, Priority.NORMAL, source="bench", permits=size, returned=returned)
            if not isinstance(decision, Granted) or decision.grant.permits != size:
                raise SystemExit(f"the budget of the benchmark does not suffice: {decision}")
            returned = ((decision.grant, (OK,) * size, 0),)
            waits[index].append(time.monotonic() - started)
        admission.release_blocks(returned)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [wait for collected in waits for wait in collected]


def run(url: str, seconds: float) -> None:
    """Measure on the PostgreSQL at `url`, which has the schema, and report."""
    from tests.benchmarks.admission import PROCESSES, by_processes

    rows = []
    for size in SIZES:
        best: dict[bool, tuple[float, float, float]] = {}
        for by_statement in (False, True) * ROUNDS:
            figures = by_processes(partial(take_blocks, size, by_statement), url, seconds)
            best[by_statement] = max(figures, best.get(by_statement, figures))
        rows += [
            {
                "what": "one statement" if by_statement else "locked rows",
                "block": size,
                "processes": PROCESSES,
                "threads": THREADS,
                "accounts": PROCESSES * THREADS,
                "permits/s": rate * size,
                "median wait ms": median,
                "longest wait ms": longest,
                "x locked rows": rate / best[False][0],
            }
            for by_statement, (rate, median, longest) in sorted(best.items())
        ]
    title = f"PostgreSQL, {PROCESSES} processes x {THREADS} threads, {seconds:.0f} s a round: permits taken in blocks"
    save_results("admission", title, rows)


def main(seconds: float = 5.0) -> None:
    """Measure on a fresh database."""
    from tests.benchmarks.admission import databases

    with databases() as urls:
        run(urls["PostgreSQL"], seconds)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]))
