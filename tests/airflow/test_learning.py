"""A log that is read by mapped tasks, through the real DAG: as whole as one reader's, or not published at all."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adwarm.foundation.errors import BadRequest, Transient
from adwarm.patterns.ingest.run import ingest
from adwarm.runtime import Runtime
from adwarm.settings import load_settings
from adwarm.store import Context, aggregates, open_engine, read_transaction, upgrade

from .conftest import NOW

DAG = "adwarm_access_patterns"
WINDOW = (NOW - timedelta(days=20), NOW)
CONF = {"window_start": WINDOW[0].isoformat(), "window_end": WINDOW[1].isoformat(), "decision_time": NOW.isoformat()}


@pytest.fixture
def home(dags: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """A home of its own, where a small log is much."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path))
    monkeypatch.setenv("ADWARM_ACCESS_LOG__SHARE_EVENTS", "6000")
    return Runtime(load_settings())


def hours(engine: Any) -> list[aggregates.HourAggregate]:
    """What is published."""
    with read_transaction(engine) as connection:
        return aggregates.list_hours(connection)


def states(run: Any) -> dict[tuple[str, int], str]:
    """States of the run's tasks, by name and place in the map."""
    return {(ti.task_id, ti.map_index): str(ti.state) for ti in run.get_task_instances()}


def spoiled(error: Exception, times: int) -> Callable[..., Any]:
    """The reading of a share, which does its work and then fails so many times at the second share."""
    from adwarm_airflow.tasks import learning

    read, left = learning.read_saved_split, [times]

    def spoil(context: Any, plan: str, number: int) -> str:
        found = read(context, plan, number)
        if number == 1 and left[0]:
            left[0] -= 1
            raise error
        return found

    return spoil


def test_mapped_tasks_read_what_one_task_reads(
    dags: dict[str, Any], home: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hours are byte for byte those of one reader, though a share had to be read twice."""
    from adwarm_airflow.tasks import learning

    monkeypatch.setattr(learning, "read_saved_split", spoiled(Transient("passes", retry_after=0.1), 1))
    run = dags[DAG].test(logical_date=None, run_conf=CONF)

    found = states(run)
    assert run.state == "success", found
    assert len([name for name, place in found if name == "read_share" and place >= 0]) > 1
    one = open_engine(f"sqlite:///{tmp_path}/one.db")
    upgrade(one)
    ingest(Context(one, home.objects, home.settings), NOW, window=WINDOW)
    assert hours(home.engine) == hours(one)


def test_a_share_that_fails_publishes_nothing(
    dags: dict[str, Any], home: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run fails, and nothing of the other shares is to be seen."""
    from adwarm_airflow.tasks import learning

    monkeypatch.setattr(learning, "read_saved_split", spoiled(BadRequest("for good"), 99))
    run = dags[DAG].test(logical_date=None, run_conf=CONF)

    assert run.state == "failed"
    assert states(run)["adopt_shares", -1] == "upstream_failed"
    assert hours(home.engine) == []


def test_little_is_read_in_one_task(dags: dict[str, Any], home: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default a log of this size is read at once; the tasks for shares are skipped, and training follows."""
    monkeypatch.delenv("ADWARM_ACCESS_LOG__SHARE_EVENTS")
    run = dags[DAG].test(logical_date=None, run_conf=CONF)

    found = states(run)
    assert run.state == "success"
    assert found["read_share", -1] == found["adopt_shares", -1] == "skipped"
    assert found["train_forecast", -1] == "success"
    assert hours(home.engine)
