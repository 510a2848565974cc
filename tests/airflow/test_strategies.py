"""The strategy DAG: quiet while nothing is due, each strategy at its own pace, scores at the end."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import BadRequest
from adwarm.model import Account, Strategy
from adwarm.runtime import Runtime
from adwarm.settings import load_settings
from adwarm.store import accounts, jobs, scores, warms, write_transaction
from adwarm.store.strategies import list_strategies, remove_strategy, save_strategy
from adwarm.store.tables import strategy as table
from graph_simulator.server import SimulatorServer

from .conftest import NOW

DAG = "adwarm_strategy_warming"
ZONE = "America/New_York"


@pytest.fixture
def runtime(
    airflow_home: Path, simulator: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Runtime]:
    """A home of its own with two strategies: one of two accounts every hour, one whose row is not valid."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path))
    simulator.set_now(NOW, frozen=True)
    runtime = Runtime(load_settings(), VirtualClock(NOW))
    accounts.save(runtime.engine, [Account(f"act_{number}", ZONE, ZONE) for number in (61, 62)], NOW)
    pace: dict[str, Any] = {"batch_size": 1, "delay_seconds": 0, "max_parallel_batches": 2, "max_calls_per_hour": 9}
    with write_transaction(runtime.engine) as connection:
        save_strategy(connection, Strategy("hourly", ("yesterday", "last_7d"), cron="@hourly", **pace), NOW)
        save_strategy(connection, Strategy("broken", ("today",)), NOW)
        connection.execute(update(table).where(table.c.name == "broken").values(cron="never"))
        save_strategy(connection, Strategy("default_dashboards", ("today",), enabled=False), NOW)
    yield runtime
    runtime.engine.dispose()


def _context(run_id: str, run_type: str = "scheduled", minutes: int = 0, **params: Any) -> dict[str, Any]:
    at = NOW + timedelta(minutes=minutes)
    run = SimpleNamespace(dag_id=DAG, run_id=run_id, run_type=run_type, run_after=at, start_date=at)
    return {"dag_run": run, "ti": SimpleNamespace(try_number=1), "params": {"decision_time": at.isoformat(), **params}}


def _plan(*args: Any, **kwargs: Any) -> list[dict[str, Any]]:
    from adwarm_airflow.tasks import warming

    return warming.plan_strategies(_context(*args, **kwargs))


def test_a_scheduled_run_plans_what_is_due(runtime: Runtime) -> None:
    """Two lanes at the strategy's pace; a retry gets the same; the next quarter of an hour is skipped without a job."""
    from airflow.sdk.exceptions import AirflowSkipException

    lanes = _plan("first")
    pace = {"slice_size": 1, "pause_seconds": 0, "max_calls": 9}
    assert lanes == [{"batch": number, **pace} for number in range(2)]
    assert _plan("first") == lanes
    assert {row.strategy for row in warms.list_by_run(runtime.engine, f"{DAG}/first")} == {"hourly"}

    with pytest.raises(AirflowSkipException):
        _plan("second", minutes=15)
    assert [job.run_id for job in jobs.list_latest(runtime.engine)] == [f"{DAG}/first"]
    with write_transaction(runtime.engine) as connection:
        problems = {stored.name: stored.state.problem for stored in list_strategies(connection)}
    assert "five fields" in str(problems["broken"])
    assert problems["hourly"] is None


def test_only_invalid_strategies_fail_the_run(runtime: Runtime) -> None:
    """The error names the strategy and the command that mends it; it fails once, not every 15 minutes."""
    from airflow.sdk.exceptions import AirflowSkipException

    with write_transaction(runtime.engine) as connection:
        remove_strategy(connection, "hourly", NOW)
    with pytest.raises(BadRequest, match=r"adwarm strategy set.*broken"):
        _plan("first")
    with pytest.raises(AirflowSkipException):
        _plan("second", minutes=15)


def test_the_form_names_strategies(runtime: Runtime) -> None:
    """A named strategy runs though it is disabled; an unknown name is refused; an empty form means all enabled ones."""
    _plan("named", "manual", strategies=["default_dashboards"])
    assert {row.strategy for row in warms.list_by_run(runtime.engine, f"{DAG}/named")} == {"default_dashboards"}
    with pytest.raises(BadRequest, match="there is no strategy 'typo'"):
        _plan("typo", "manual", strategies=["typo"])
    _plan("dry", "manual", dry_run=True)
    assert {row.status for row in warms.list_by_run(runtime.engine, f"{DAG}/dry")} == {"shadow"}
    assert _plan("all", "manual")
    assert {row.strategy for row in warms.list_by_run(runtime.engine, f"{DAG}/all")} == {"hourly"}


def test_a_run_warms_and_scores(runtime: Runtime, dags: dict[str, Any]) -> None:
    """The whole DAG: the reports are fetched, the job is closed, and both accounts have scores of their newest day."""
    finished = dags[DAG].test(logical_date=None, run_conf={"decision_time": NOW.isoformat()})

    assert finished.state == "success"
    assert {row.status for row in warms.list_by_run(runtime.engine, f"{DAG}/{finished.run_id}")} == {"fetched"}
    assert sum(scores.count_by_status(runtime.engine, (NOW - timedelta(days=1)).date()).values())
    assert jobs.list_latest(runtime.engine)[0].status == "completed"


def test_a_quiet_run_is_green(runtime: Runtime, dags: dict[str, Any]) -> None:
    """With nothing enabled every task is skipped, the run succeeds, and no job is stored."""
    with write_transaction(runtime.engine) as connection:
        for name in ("hourly", "broken"):
            remove_strategy(connection, name, NOW)
    finished = dags[DAG].test(logical_date=None, run_conf={"decision_time": NOW.isoformat()})

    assert finished.state == "success"
    assert {str(ti.state) for ti in finished.get_task_instances()} == {"skipped"}
    assert jobs.list_latest(runtime.engine) == []
