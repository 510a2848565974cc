"""The benchmark at 20,000 keys reads its figures from logs: of Airflow's tasks, and of the PostgreSQL server."""

import json
import math
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.scale_airflow import BatchMemory, _assign_tasks
from tests.benchmarks.scale_sampling import ProcessSampler
from tests.benchmarks.scale_statements import count_statements
from tests.benchmarks.scale_tasks import BATCH_TASK, RunTimes, TaskTimes, measure_union, read_work

_SPANS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda pair: (min(pair), max(pair))))


@given(_SPANS)
def test_the_union_counts_each_second_once(spans: list[tuple[int, int]]) -> None:
    """However intervals overlap, the length of their union is the number of whole seconds that one of them covers."""
    covered = {second for start, end in spans for second in range(start, end)}
    assert measure_union(spans) == len(covered)


def _log(path: Path, *events: str) -> Path:
    lines = [
        json.dumps({"timestamp": datetime.fromtimestamp(1_000 + number, UTC).isoformat(), "event": event})
        for number, event in enumerate(events)
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_work_begins_and_ends_where_airflow_calls_execute(tmp_path: Path) -> None:
    """Preparation and storing the result are not work; a deferred task works once before and once after its wait."""
    before = ["::group::Pre Execute", "parsing", "::endgroup::", "fetching"]
    deferred = [*before, "Pausing task as DEFERRED. ", *before, "::group::Post Execute", "::endgroup::"]
    assert read_work(_log(tmp_path / "deferred.log", *deferred)) == ((1_002, 1_004), (1_007, 1_009))
    with pytest.raises(ValueError, match="whether the task failed"):
        read_work(_log(tmp_path / "failed.log", *before))


def test_shares_of_a_run() -> None:
    """Airflow's part is what no task covers; the part without a batch also holds planning and closing."""
    plan = TaskTimes("plan", -1, "success", 1, 0, 1, 4, ((2, 4),))
    first = TaskTimes("warm", 0, "success", 2, 4, 5, 9, ((6, 9),))
    second = TaskTimes("warm", 1, "success", 3, 4, 5, 12, ((7, 12),))
    run = RunTimes(0, 15, [plan, first, second])
    assert (run.wall_seconds, run.airflow_seconds, run.idle_seconds) == (15, 7, 9)
    assert run.find_gaps() == [("trigger to plan", 2), ("plan to warm", 2), ("warm to end of the run", 3)]
    assert run.start_seconds == [1, 2]


def test_growth_of_memory() -> None:
    """The last quarter of the batches is compared with the first; equal peaks are flat."""
    assert BatchMemory((200.0,) * 8).growth == 1.0
    growing = BatchMemory(tuple(100.0 + 10 * number for number in range(8)))
    assert growing.growth == pytest.approx(165 / 105)
    assert growing.slope_mb == pytest.approx(10)


def test_a_batch_that_had_ended_when_it_was_seen_has_no_peak() -> None:
    """The kernel keeps no memory of an ended process: its batch is left out; with no other there is no growth."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    alive = os.getpid()
    with ProcessSampler({"tasks": lambda: [psutil.Process(ended.pid), psutil.Process(alive)]}) as sampler:
        pass
    ended.wait()
    tasks = [
        TaskTimes(BATCH_TASK, number, "success", pid, 0, 1, 2, ((1, 2),))
        for number, pid in enumerate((ended.pid, alive))
    ]
    both = _assign_tasks(sampler.samples, RunTimes(0, 2, tasks))
    assert both.peaks == (sampler.samples[alive].peak_mb,)
    assert both.growth == 1.0
    none = _assign_tasks(sampler.samples, RunTimes(0, 2, tasks[:1]))
    assert math.isnan(none.growth)
    assert math.isnan(none.highest)


def test_statements_are_counted_from_the_servers_log(tmp_path: Path) -> None:
    """Those of another database, of transactions and of checks are apart; values and numbers of rows do not matter."""
    log = tmp_path / "log"
    log.write_text("db=adwarm LOG:  statement: SELECT before\n", encoding="utf-8")
    start = log.stat().st_size
    lines = [
        "db=adwarm LOG:  statement: BEGIN",
        "db=adwarm LOG:  statement: INSERT INTO payload (hash, body) VALUES ('a', '\\x00'::bytea),('b''c', NULL)",
        "db=adwarm LOG:  statement: INSERT INTO payload (hash, body) VALUES ('d', '\\x01'::bytea)",
        "db=airflow LOG:  statement: SELECT 17",
        "db=adwarm LOG:  statement: UPDATE warm SET status = 'fetched'",
        "\tWHERE id = 7",
        "db=adwarm ERROR:  deadlock detected",
        "db=adwarm LOG:  statement: COMMIT",
        "db=adwarm LOG:  statement: SELECT 1",
        "db=adwarm LOG:  statement: SET default_transaction_isolation TO DEFAULT",
    ]
    with log.open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    counts = count_statements(log, "adwarm", start)
    assert counts.statements == {
        "INSERT INTO payload (hash, body) VALUES (...)": 2,
        "UPDATE warm SET status = ? WHERE id = ?": 1,
    }
    assert (counts.total, counts.transactions, counts.pings, counts.round_trips) == (3, 3, 1, 7)
