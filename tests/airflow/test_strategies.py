"""The strategy DAG: quiet while nothing is due, each strategy at its own pace, scores at the end."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import BadRequest, NotFound
from adwarm.model import Account, Strategy
from adwarm.planning.strategy_schedule import DEFAULT_STRATEGIES
from adwarm.runtime import Runtime
from adwarm.settings import load_settings
from adwarm.store import accounts, jobs, scores, warms, write_transaction
from adwarm.store.strategies import list_strategies, remove_strategy, save_strategy, table
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
    """Two tasks at the strategy's pace; a retry gets the same; the next quarter of an hour is skipped without a job."""
    from airflow.sdk.exceptions import AirflowSkipException

    tasks = _plan("first")
    pace = {"slice_size": 1, "pause_seconds": 0, "max_calls": 9}
    assert tasks == [{"batch": number, **pace} for number in range(2)]
    assert _plan("first") == tasks
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


def test_the_log_says_what_runs_by_itself(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """The strategy that ships switched on says that it runs and what it costs; one that a user has made does not."""
    shipped = replace(DEFAULT_STRATEGIES[0], cron="@hourly")
    with write_transaction(runtime.engine) as connection:
        save_strategy(connection, shipped, NOW)
    said: list[tuple[object, ...]] = []
    monkeypatch.setattr(logging.getLogger("adwarm_airflow.tasks.warming"), "info", lambda *words: said.append(words))
    _plan("first")
    [(name, about)] = [words[1:] for words in said if words[0] == "strategy %s: %s"]
    assert name == shipped.name
    assert "with 0 calls in that time; it retires itself once nobody uses it" in str(about)


def test_the_form_names_strategies(runtime: Runtime) -> None:
    """A named strategy runs though it is disabled; an unknown name is refused; an empty form means all enabled ones."""
    _plan("named", "manual", strategies=["default_dashboards"])
    assert {row.strategy for row in warms.list_by_run(runtime.engine, f"{DAG}/named")} == {"default_dashboards"}
    with pytest.raises(NotFound, match="there is no strategy 'typo'"):
        _plan("typo", "manual", strategies=["typo"])
    _plan("dry", "manual", dry_run=True)
    assert {row.status for row in warms.list_by_run(runtime.engine, f"{DAG}/dry")} == {"shadow"}
    assert _plan("all", "manual")
    assert {row.strategy for row in warms.list_by_run(runtime.engine, f"{DAG}/all")} == {"hourly"}


def test_the_form_adds_a_date_range_of_two_days(runtime: Runtime) -> None:
    """It is added to the chosen ranges, once; without a chosen range it is the only one; empty lines are dropped."""
    days = {"first_day": "2013-03-01", "last_day": "2013-03-05"}
    forms: dict[str, Any] = {
        "both": {"date_ranges": ["yesterday", "2013-03-01..2013-03-05"]},
        "alone": {"date_ranges": None},
    }
    for run_id, form in forms.items():
        _plan(run_id, "manual", accounts=["61", ""], **days, **form)
    planned = {
        run_id: sorted(str(row.key.date_range) for row in warms.list_by_run(runtime.engine, f"{DAG}/{run_id}"))
        for run_id in forms
    }
    assert planned == {"both": ["2013-03-01..2013-03-05", "yesterday"], "alone": ["2013-03-01..2013-03-05"]}


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"first_day": "2013-03-01"}, "first_day is given without last_day"),
        ({"last_day": "2013-03-01"}, "last_day is given without first_day"),
        ({"first_day": "2013-03-05", "last_day": "2013-03-01"}, "first_day 2013-03-05 is after last_day 2013-03-01"),
        ({"first_day": "2000-03-05", "last_day": "2013-03-01"}, "longer than 1122 days"),
        ({"date_ranges": None}, "no date range; choose one, or give first_day and last_day"),
        ({"accounts": [""], "first_day": "2013-03-01", "last_day": "2013-03-05"}, "it names none; name some"),
    ],
)
def test_a_wrong_window_in_the_form_is_explained(runtime: Runtime, form: dict[str, Any], message: str) -> None:
    """The task fails with what to change, and plans nothing."""
    with pytest.raises(BadRequest, match=message):
        _plan("wrong", "manual", **{"accounts": ["act_61"], "date_ranges": ["yesterday"], **form})
    assert warms.list_by_run(runtime.engine, f"{DAG}/wrong") == []


def _warm_and_score(tasks: list[dict[str, Any]], context: dict[str, Any]) -> dict[str, Any]:
    """Carry out the tasks of a plan, score, and close the run, as the tasks of the DAG do; return the scores."""
    from adwarm_airflow.operators import WarmBatchOperator
    from adwarm_airflow.tasks import warming

    for task in tasks:
        WarmBatchOperator(task_id="warm", **task).prefetch(context)
    scored = warming.score_warmed_accounts(context)
    assert warming.close_run(context)["status"] == "completed"
    return scored


def test_warmed_accounts_are_scored(runtime: Runtime) -> None:
    """The reports are fetched, the job is closed, and both accounts have scores of their newest day."""
    tasks = _plan("first")
    assert _warm_and_score(tasks, _context("first"))["accounts"] == 2
    assert {row.status for row in warms.list_by_run(runtime.engine, f"{DAG}/first")} == {"fetched"}
    assert sum(scores.count_by_status(runtime.engine).values())


def test_a_run_between_due_times_plans_what_was_cut(runtime: Runtime) -> None:
    """The next hour of the same due time gets what the budget left over; a run without anything left is skipped."""
    from airflow.sdk.exceptions import AirflowSkipException

    with write_transaction(runtime.engine) as connection:
        remove_strategy(connection, "hourly", NOW)
        save_strategy(connection, Strategy("tight", ("yesterday",), max_calls_per_hour=1), NOW)
    slot = -NOW.hour % 6 * 60
    _warm_and_score(_plan("due", minutes=slot), _context("due", minutes=slot))
    with pytest.raises(AirflowSkipException):
        _plan("quarter", minutes=slot + 15)
    assert len(_plan("hour", minutes=slot + 60)) == 1
    planned = [warms.list_by_run(runtime.engine, f"{DAG}/{run}")[0].key.account_id for run in ("due", "hour")]
    assert planned == ["act_61", "act_62"]
    with pytest.raises(AirflowSkipException):
        _plan("later", minutes=slot + 120)


@pytest.mark.parametrize("task", ["score_warmed_accounts", "score_closed_days"])
def test_scores_need_rows_of_ads(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    """With a default report of campaigns the task is skipped, and says why; it does not fail each run."""
    from airflow.sdk.exceptions import AirflowSkipException

    from adwarm_airflow.tasks import warming

    monkeypatch.setenv("ADWARM_REPORTS__DEFAULT__LEVEL", "campaign")
    with pytest.raises(AirflowSkipException, match=r"rows of the level campaign; set ADWARM_REPORTS__DEFAULT__LEVEL"):
        getattr(warming, task)(_context("first"))


@pytest.mark.slow
def test_a_run_warms_and_scores(runtime: Runtime, dags: dict[str, Any]) -> None:
    """The whole DAG: the reports are fetched, the job is closed, and both accounts have scores of their newest day."""
    finished = dags[DAG].test(logical_date=None, run_conf={"decision_time": NOW.isoformat()})

    assert finished.state == "success"
    assert {row.status for row in warms.list_by_run(runtime.engine, f"{DAG}/{finished.run_id}")} == {"fetched"}
    assert sum(scores.count_by_status(runtime.engine).values())
    assert jobs.list_latest(runtime.engine)[0].status == "completed"


@pytest.mark.slow
def test_a_quiet_run_is_green(runtime: Runtime, dags: dict[str, Any]) -> None:
    """With nothing enabled every task is skipped, the run succeeds, and no job is stored."""
    with write_transaction(runtime.engine) as connection:
        for name in ("hourly", "broken"):
            remove_strategy(connection, name, NOW)
    finished = dags[DAG].test(logical_date=None, run_conf={"decision_time": NOW.isoformat()})

    assert finished.state == "success"
    assert {str(ti.state) for ti in finished.get_task_instances()} == {"skipped"}
    assert jobs.list_latest(runtime.engine) == []


@pytest.mark.slow
def test_names_are_never_rendered_as_templates(runtime: Runtime, dags: dict[str, Any]) -> None:
    """A strategy whose name is a template runs under that name: Airflow renders what the DAG says, never data."""
    name = "{{ 7 * 7 }}{{ var.value.secret }}"
    with write_transaction(runtime.engine) as connection:
        remove_strategy(connection, "hourly", NOW)
        save_strategy(connection, Strategy(name, ("yesterday",), cron="@hourly", delay_seconds=0), NOW)
    run = dags[DAG].test(logical_date=None, run_conf={"strategies": [name], "decision_time": NOW.isoformat()})
    assert str(run.state) == "success"
    (job,) = jobs.list_latest(runtime.engine)
    assert {row.strategy for row in warms.list_by_run(runtime.engine, job.run_id)} == {name}
