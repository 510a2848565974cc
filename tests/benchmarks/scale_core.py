"""The baseline of the benchmark at 20,000 keys: the same plan, batches, scores and bookkeeping without Airflow.

As many processes as Airflow has slots fetch the batches, each the next one that is left, over the same database, the
same objects and the same platform. The modules of the product are imported before the clock starts.
"""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from adwarm.fatigue.account_scores import score_accounts
from adwarm.foundation.clock import FrozenClock
from adwarm.planning.strategies import MappedTask, decide_strategies
from adwarm.planning.strategy_schedule import select_named
from adwarm.planning.warm_outcomes import mark_warm_outcomes
from adwarm.prefetch.warm_batch import Pace, warm_batch
from adwarm.runtime import Runtime
from adwarm.serving import read_back
from adwarm.settings import Settings
from adwarm.store import jobs, partitions, warms
from tests.benchmarks.scale_content import StoredContent, read_content
from tests.benchmarks.scale_stack import NOW, STRATEGY, ScaleSize, prepare

RUN_ID = "core/scale"


@dataclass(frozen=True)
class CoreTarget:
    """Where a process fetches to and from; values that another process can be given."""

    home: Path
    database_url: str
    data_url: str | None
    graph_url: str

    def make_runtime(self) -> Runtime:
        """Return a runtime that acts as of `NOW`."""
        source = {"graph_url": self.graph_url, "access_token": "simulated-token"}
        settings = Settings(home=self.home, database_url=self.database_url, data_url=self.data_url, source=source)
        return Runtime(settings, FrozenClock(NOW))


@dataclass(frozen=True)
class CoreTimes:
    """Seconds of the steps."""

    plan: float
    fetch: float
    score: float
    close: float

    @property
    def wall(self) -> float:
        """Seconds in all."""
        return self.plan + self.fetch + self.score + self.close


@contextmanager
def started_workers(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Start the processes and let them import the product."""
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        list(pool.map(time.sleep, [1.0] * processes))
        list(pool.map(_import_product, range(processes)))
        yield pool


def _import_product(_number: int) -> str:
    return Runtime.__name__  # this module, and so the product, is imported to find this function


def run_core(target: CoreTarget, processes: int) -> CoreTimes:
    """Plan, fetch, score and close the run of the strategy, and return how long each took."""
    runtime = target.make_runtime()
    with started_workers(processes) as pool:
        began = time.monotonic()
        tasks = _plan(runtime)
        planned = time.monotonic()
        results = list(pool.map(_fetch, [target] * len(tasks), tasks))
        fetched = time.monotonic()
        _score(runtime)
        scored = time.monotonic()
        _close(runtime)
        closed = time.monotonic()
    if failed := [result for result in results if result["fetched"] < result["keys"]]:
        raise SystemExit(f"not every key was fetched: {failed}")
    return CoreTimes(planned - began, fetched - planned, scored - fetched, closed - scored)


def _plan(runtime: Runtime) -> list[MappedTask]:
    selection = select_named(runtime.engine, [STRATEGY], NOW)
    summary = decide_strategies(runtime.context, selection, NOW, RUN_ID)
    jobs.start(runtime.engine, RUN_ID, RUN_ID, summary.total("planned"), NOW)
    return summary.tasks


def _fetch(target: CoreTarget, task: MappedTask) -> Mapping[str, Any]:
    pace = Pace(task.slice_size, task.pause_seconds, task.max_calls)
    return warm_batch(target.make_runtime().prefetch_engine(), RUN_ID, task.batch, pace=pace).summary()


def _score(runtime: Runtime) -> None:
    rows = warms.list_by_run(runtime.engine, RUN_ID)
    ids = sorted({row.key.account_id for row in rows if row.status.is_served})
    days = partitions.find_newest_complete_days(runtime.engine, ids, runtime.settings.spec("default").hash)
    score_accounts(runtime.context, sorted(days.items()), NOW, runtime.pipeline)


def _close(runtime: Runtime) -> None:
    jobs.finish(runtime.engine, RUN_ID, NOW)
    keys = [row.key for row in warms.list_by_run(runtime.engine, RUN_ID)]
    read_back(runtime.reader, keys)
    mark_warm_outcomes(runtime.context, NOW)


def measure_core(target: CoreTarget, size: ScaleSize) -> tuple[CoreTimes, StoredContent]:
    """Prepare an empty database, run the strategy, and return how long it took and what it has stored."""
    prepare(target.database_url, size)
    times = run_core(target, size.slots)
    runtime = target.make_runtime()
    return times, read_content(runtime.engine, runtime.objects)
