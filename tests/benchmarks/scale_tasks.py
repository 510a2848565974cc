"""When the tasks of a run worked, from Airflow's own task logs.

A task works from the end of the group `Pre Execute` of its log to the begin of the group `Post Execute`: between them
Airflow calls `execute` of its operator. What comes before and after, such as waiting for a slot, starting a process,
parsing the DAG, rendering and storing the result, is Airflow's.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine, text

BATCH_TASK = "warm"
_PREPARES = "::group::Pre Execute"
_ENDS = ("::group::Post Execute", "Pausing task as DEFERRED")
Interval = tuple[float, float]


@dataclass(frozen=True)
class TaskTimes:
    """One task instance that has ended.

    Attributes:
        task_id: its task.
        map_index: its number among mapped tasks; -1 when it is not mapped.
        state: how it ended.
        pid: its process.
        queued: when the scheduler queued it, in seconds since the epoch.
        started: when its process reported that it runs.
        ended: when it reported its end.
        work: from the begin to the end of its `execute`; once more after each deferral.
    """

    task_id: str
    map_index: int
    state: str
    pid: int
    queued: float
    started: float
    ended: float
    work: tuple[Interval, ...]


@dataclass(frozen=True)
class RunTimes:
    """When a run and its tasks worked; times in seconds since the epoch.

    Attributes:
        triggered: when the run was created.
        ended: when Airflow ended it.
        tasks: its task instances, in the order in which they started.
    """

    triggered: float
    ended: float
    tasks: Sequence[TaskTimes]

    @property
    def wall_seconds(self) -> float:
        """From the trigger to the end."""
        return self.ended - self.triggered

    @property
    def batches(self) -> list[TaskTimes]:
        """The mapped tasks that fetch."""
        return [task for task in self.tasks if task.task_id == BATCH_TASK]

    @property
    def airflow_seconds(self) -> float:
        """Seconds in which no task of the run works: the wall time less the union of their work."""
        return self.wall_seconds - measure_union(span for task in self.tasks for span in task.work)

    @property
    def idle_seconds(self) -> float:
        """Seconds in which no batch works: Airflow's, and those of planning, scoring and closing."""
        return self.wall_seconds - measure_union(span for task in self.batches for span in task.work)

    def find_gaps(self) -> list[tuple[str, float]]:
        """Return the times in which no task of the run worked, each as what came before and after, and its seconds."""
        spans = sorted((span, task.task_id) for task in self.tasks for span in task.work)
        reached, before = self.triggered, "trigger"
        gaps = []
        for (start, end), task_id in [*spans, ((self.ended, self.ended), "end of the run")]:
            if start > reached:
                gaps.append((f"{before} to {task_id}", start - reached))
            if end > reached:
                reached, before = end, task_id
        return gaps

    @property
    def start_seconds(self) -> list[float]:
        """Seconds of each batch from the start of its process to the begin of its work."""
        return [task.work[0][0] - task.started for task in self.batches]


def measure_union(intervals: Iterable[Interval]) -> float:
    """Return the length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def read_run_times(metadata: Engine, logs: Path, dag_id: str, run_id: str) -> RunTimes:
    """Return when a run and its tasks worked.

    Args:
        metadata: Airflow's database.
        logs: the folder of the task logs.
        dag_id: the DAG.
        run_id: the run, which has ended.
    """
    chosen = {"dag": dag_id, "run": run_id}
    run_query = text("SELECT queued_at, end_date FROM dag_run WHERE dag_id = :dag AND run_id = :run")
    task_query = text(
        "SELECT task_id, map_index, state, pid, queued_dttm, start_date, end_date, try_number FROM task_instance "
        "WHERE dag_id = :dag AND run_id = :run AND start_date IS NOT NULL ORDER BY start_date"
    )
    folder = logs / f"dag_id={dag_id}" / f"run_id={run_id}"
    with metadata.connect() as connection:
        triggered, ended = connection.execute(run_query, chosen).one()
        rows = connection.execute(task_query, chosen).all()
    tasks = [
        TaskTimes(
            row.task_id,
            row.map_index,
            row.state,
            row.pid,
            row.queued_dttm.timestamp(),
            row.start_date.timestamp(),
            row.end_date.timestamp(),
            read_work(find_log(folder, row.task_id, row.map_index, row.try_number)),
        )
        for row in rows
    ]
    return RunTimes(triggered.timestamp(), ended.timestamp(), tasks)


def find_log(folder: Path, task_id: str, map_index: int, try_number: int) -> Path:
    """Return the log of one try of a task instance."""
    mapped = folder / f"task_id={task_id}" / (f"map_index={map_index}" if map_index >= 0 else "")
    return mapped / f"attempt={try_number}.log"


def read_work(log: Path) -> tuple[Interval, ...]:
    """Return when the `execute` of a task began and ended, in seconds since the epoch; once more after each deferral.

    Raises:
        ValueError: the log does not tell.
    """
    spans: list[Interval] = []
    preparing, began = False, None
    for line in log.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        event, at = str(record["event"]), datetime.fromisoformat(record["timestamp"]).timestamp()
        if event == _PREPARES:
            preparing = True
        elif event == "::endgroup::" and preparing:
            preparing, began = False, at
        elif event.startswith(_ENDS) and began is not None:
            spans.append((began, at))
            began = None
    if not spans or began is not None:
        raise ValueError(f"{log} does not tell when its task worked; see whether the task failed")
    return tuple(spans)
