"""One run of the strategy through a real Airflow, and what it took."""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from math import nan
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import psutil

from adwarm.store import ObjectStore, open_engine
from tests.benchmarks.measure import IS_TINY
from tests.benchmarks.scale_content import StoredContent, read_content
from tests.benchmarks.scale_sampling import ProcessSample, ProcessSampler, find_tree
from tests.benchmarks.scale_stack import NOW, STRATEGY, Platform, PostgresServer, ScaleSize, prepare
from tests.benchmarks.scale_statements import StatementCounts, count_statements, log_statements
from tests.benchmarks.scale_tasks import BATCH_TASK, RunTimes, read_run_times
from tests.faults.airflow_stack import PARTS, AirflowStack, airflow_stack
from tests.support.airflow_rest import AirflowRest

DAG = "adwarm_strategy_warming"
RUN = "scale"
_ENDED = {"success", "failed"}
_AIRFLOW = {
    # Airflow's own defaults, where the helper sets values that suit tests which kill processes.
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "30",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "300",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "0",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "300",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "10",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
}
_RUN_SECONDS = 3_600.0


@dataclass(frozen=True)
class BatchMemory:
    """The peak memory of the processes that fetched the batches and were seen alive, in order of start; MB."""

    peaks: tuple[float, ...]

    @property
    def highest(self) -> float:
        """The highest peak, in MB; not a number when no process was seen."""
        return max(self.peaks, default=nan)

    @property
    def growth(self) -> float:
        """The last quarter's mean over the first quarter's; not a number when no process was seen."""
        if not self.peaks:
            return nan
        size = max(1, len(self.peaks) // 4)
        return mean(self.peaks[-size:]) / mean(self.peaks[:size])

    @property
    def slope_mb(self) -> float:
        """Least-squares slope, in MB per batch."""
        if len(self.peaks) < 2:
            return 0.0
        return float(np.polyfit(np.arange(len(self.peaks)), self.peaks, 1)[0])


@dataclass(frozen=True)
class AirflowRun:
    """What a run took.

    Attributes:
        times: when its tasks worked.
        calls: upstream calls that the platform has counted.
        statements: SQL statements that adwarm's database was sent.
        memory: peaks of the batches.
        samples: every process that was watched, by its id.
        content: what it has stored.
    """

    times: RunTimes
    calls: int
    statements: StatementCounts
    memory: BatchMemory
    samples: Mapping[int, ProcessSample]
    content: StoredContent

    def sum_by_group(self) -> list[dict[str, Any]]:
        """Return the number, the highest peak memory and the processor time of the processes of each group."""
        groups: dict[str, list[ProcessSample]] = defaultdict(list)
        for sample in self.samples.values():
            groups[sample.group].append(sample)
        return [
            {
                "what": group,
                "processes": len(items),
                "peak MB of one": max(item.peak_mb for item in items),
                "CPU seconds": sum(item.cpu_seconds for item in items),
            }
            for group, items in groups.items()
        ]


def run_airflow(
    home: Path, server: PostgresServer, platform: Platform, size: ScaleSize, settings: Mapping[str, str]
) -> AirflowRun:
    """Start an Airflow, run the strategy once, and return what that took.

    Args:
        home: an empty folder.
        server: the databases are created there.
        platform: the upstream.
        size: what is warmed.
        settings: further environment variables.
    """
    values = {**_AIRFLOW, "AIRFLOW__CORE__PARALLELISM": str(size.slots), **settings}
    with airflow_stack(home, server.url, platform.url, values) as stack:
        prepare(stack.env["ADWARM_DATABASE_URL"], size)
        log_statements(server.url, "adwarm")
        if not IS_TINY:
            _run_scheduled(stack)
        platform.reset()
        start = server.log.stat().st_size
        groups = {part: partial(find_tree, stack.processes[part].pid) for part in PARTS}
        groups["PostgreSQL"] = server.find_processes
        groups["simulator"] = partial(find_tree, platform.pid)
        with ProcessSampler(groups) as sampler:
            stack.trigger(DAG, RUN, {"strategies": [STRATEGY], "decision_time": NOW.isoformat()})
            stack.wait_until(lambda: stack.run_state(DAG, RUN) in _ENDED, "the run ends", _RUN_SECONDS)
        times = read_run_times(stack.metadata, home / "airflow" / "logs", DAG, RUN)
        _check_green(stack, times)
        data_url = stack.env.get("ADWARM_DATA_URL", str(home / "data"))
        content = read_content(open_engine(stack.env["ADWARM_DATABASE_URL"]), ObjectStore(data_url))
        statements = count_statements(server.log, "adwarm", start)
        return AirflowRun(
            times, platform.count_calls(), statements, _assign_tasks(sampler.samples, times), sampler.samples, content
        )


def _run_scheduled(stack: AirflowStack) -> None:
    """Unpause the DAG, and let the run end that its schedule starts then; it finds no enabled strategy."""
    with closing(AirflowRest(stack.url)) as airflow:
        stack.unpause(airflow, DAG)
    stack.wait_until(lambda: _list_states(stack), "the scheduled run starts", 120)
    stack.wait_until(lambda: _list_states(stack) <= _ENDED, "the scheduled run ends", 120)


def _list_states(stack: AirflowStack) -> set[str]:
    with stack.metadata.connect() as connection:
        return set(connection.exec_driver_sql("SELECT state FROM dag_run").scalars())


def _check_green(stack: AirflowStack, times: RunTimes) -> None:
    if stack.run_state(DAG, RUN) != "success":
        raise SystemExit(f"the run failed: {[(task.task_id, task.map_index, task.state) for task in times.tasks]}")


def _assign_tasks(samples: Mapping[int, ProcessSample], times: RunTimes) -> BatchMemory:
    """Put the processes of the tasks in groups of their own, and return the peaks of those that fetched."""
    for task in times.tasks:
        if task.pid in samples:
            samples[task.pid].group = f"task {task.task_id}"
    fetched = [samples[task.pid] for task in times.tasks if task.task_id == BATCH_TASK and task.pid in samples]
    # The tasks of a tiny run take less than a second: one may be seen only when it has ended, and keeps no peak then.
    return BatchMemory(tuple(sample.peak_mb for sample in fetched if sample.peak_mb))


def count_processors() -> int:
    """Return the number of processors of this machine."""
    return psutil.cpu_count() or 1
