"""A log that mapped tasks read, through the real DAG: the result equals that of one task, or nothing is published."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adwarm.foundation.errors import BadRequest, Transient
from adwarm.patterns.ingest import plan
from adwarm.patterns.ingest.run import ingest
from adwarm.runtime import Runtime
from adwarm.settings import load_settings
from adwarm.store import Context, access_patterns, aggregates, open_engine, read_transaction, upgrade

from .conftest import NOW

DAG = "adwarm_access_patterns"
WINDOW = (NOW - timedelta(days=20), NOW)
WEEK = (NOW - timedelta(days=7), NOW)
CONF = {"window_start": WINDOW[0].isoformat(), "window_end": WINDOW[1].isoformat(), "decision_time": NOW.isoformat()}


@pytest.fixture
def home(dags: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """A home that splits even a small log, and whose forecast is trained in no time."""
    monkeypatch.setenv("ADWARM_FORECAST__MODEL", "population")
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path))
    monkeypatch.setattr(plan, "SPLIT_EVENTS", 6_000)
    return Runtime(load_settings())


def hours(engine: Any) -> list[aggregates.HourAggregate]:
    """Return the published hours."""
    with read_transaction(engine) as connection:
        return aggregates.list_hours(connection)


def states(run: Any) -> dict[tuple[str, int], str]:
    """States of the run's tasks, by name and map index."""
    return {(ti.task_id, ti.map_index): str(ti.state) for ti in run.get_task_instances()}


def spoiled(error: Exception, times: int) -> Callable[..., Any]:
    """Reads a split, then fails the given number of times for the second split."""
    from adwarm_airflow.tasks import learning

    read, left = learning.read_saved_split, [times]

    def spoil(context: Any, plan: str, number: int) -> str:
        partial = read(context, plan, number)
        if number == 1 and left[0]:
            left[0] -= 1
            raise error
        return partial

    return spoil


@pytest.mark.slow
def test_mapped_tasks_read_what_one_task_reads(
    dags: dict[str, Any], home: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hours equal those of a single task byte by byte, although one split was read twice."""
    from adwarm_airflow.tasks import learning

    monkeypatch.setattr(learning, "read_saved_split", spoiled(Transient("passes", retry_after=0.1), 1))
    run = dags[DAG].test(logical_date=None, run_conf=CONF)

    task_states = states(run)
    assert run.state == "success", task_states
    assert len([name for name, map_index in task_states if name == "read_split" and map_index >= 0]) > 1
    one = open_engine(f"sqlite:///{tmp_path}/one.db")
    upgrade(one)
    ingest(Context(one, home.objects, home.settings), NOW, window=WINDOW)
    assert hours(home.engine) == hours(one)


@pytest.mark.slow
def test_a_failed_split_publishes_nothing(dags: dict[str, Any], home: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run fails, and nothing of the other splits is published."""
    from adwarm_airflow.tasks import learning

    monkeypatch.setattr(learning, "read_saved_split", spoiled(BadRequest("for good"), 99))
    run = dags[DAG].test(logical_date=None, run_conf=CONF)

    assert run.state == "failed"
    assert states(run)["publish_splits", -1] == "upstream_failed"
    assert hours(home.engine) == []


@pytest.mark.slow
def test_a_small_log_is_read_in_one_task(dags: dict[str, Any], home: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default one task reads a log of this size and those for splits are skipped; patterns and forecast follow."""
    monkeypatch.setattr(plan, "SPLIT_EVENTS", 1_000_000)
    run = dags[DAG].test(logical_date=None, run_conf=CONF)

    task_states = states(run)
    assert run.state == "success"
    assert task_states["read_split", -1] == task_states["publish_splits", -1] == "skipped"
    assert task_states["train_forecast", -1] == "success"
    assert hours(home.engine)
    assert task_states["store_patterns", -1] == "success"
    summaries = access_patterns.list_summaries(home.engine)
    assert len(summaries) > 10
    assert {row.observed_until for row in summaries} == {NOW}


@pytest.mark.slow
def test_access_patterns_are_stored_once_a_day(home: Runtime) -> None:
    """The first call stores the patterns of the log, a second one says why it does not, and the form can force it."""
    from adwarm_airflow.tasks import learning

    ingest(home.context, NOW, window=WEEK)
    run = SimpleNamespace(run_type="manual", dag_id=DAG, run_id="manual", run_after=NOW)
    backfill = SimpleNamespace(run_type="backfill", dag_id=DAG, run_id="backfill", run_after=NOW)
    skipped = learning.store_patterns({"dag_run": backfill, "params": CONF})
    first, second, forced = (
        learning.store_patterns({"dag_run": run, "params": {**CONF, "train_now": train_now}})
        for train_now in (False, False, True)
    )

    assert skipped == {"stored": False, "why": "a backfill stores no patterns"}
    assert first["stored"]
    assert first["accounts"] == len(access_patterns.list_summaries(home.engine)) - 1
    assert second == {"stored": False, "why": f"patterns up to {NOW:%Y-%m-%d %H:%M} UTC are stored"}
    assert forced == first


def test_the_log_of_a_run_names_samples_paths_and_skipped_files(
    home: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the samples are, which paths the pattern does not match, and which files of the folder are not read."""
    from adwarm_airflow.tasks.learning import describe_ingest

    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "notes.md").write_text("x")
    line = 'h - - [02/Mar/2026:10:00:00 +0000] "GET /board/1?key=secret HTTP/1.1" 200 5 "-" "Mozilla/5.0"\n'
    (folder / "access.log").write_text(f"{line}junk\n")
    monkeypatch.setenv("ADWARM_ACCESS_LOG__URL", str(folder))
    runtime = Runtime()
    lines = [line for _, line in describe_ingest(ingest(runtime.context, NOW), runtime)]
    (path,) = [Path(line.removeprefix("all samples are in ")) for line in lines if "samples are in" in line]
    assert b"junk" in path.read_bytes()
    text = "\n".join(lines)
    assert all(word in text for word in ("notes.md", "LOG__PATTERN", "/board/1?key="))
    assert "secret" not in text
