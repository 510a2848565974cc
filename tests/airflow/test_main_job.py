"""The main job through the real DAGs: train, warm, serve, settle a day, warm by strategy, backfill."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adwarm.foundation.clock import VirtualClock
from adwarm.model import Warm
from adwarm.runtime import Runtime
from adwarm.serving import ReadStatus
from adwarm.settings import load_settings
from adwarm.store import warms
from graph_simulator.server import SimulatorServer
from tests.support.training import shorten_training

from .conftest import NOW, read_dags

pytestmark = pytest.mark.slow

AT_NINE = NOW + timedelta(hours=9)
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def run(airflow_home: Path, simulator: SimulatorServer) -> Run:
    """Runs a DAG as of a time and returns its run."""
    dags = read_dags()

    def go(dag_id: str, conf: dict[str, Any], at: datetime = AT_NINE, **kwargs: Any) -> Any:
        simulator.set_now(at, frozen=True)
        return dags[dag_id].test(logical_date=None, run_conf={"decision_time": at.isoformat(), **conf}, **kwargs)

    return go


@pytest.fixture(scope="module")
def learned(run: Run) -> Runtime:
    """A runtime whose forecast was trained on the example log up to NOW."""
    since = NOW - timedelta(days=45)
    conf = {"window_start": since.isoformat(), "window_end": NOW.isoformat(), "train_now": True}
    with pytest.MonkeyPatch.context() as patch:
        shorten_training(patch)
        assert run("adwarm_access_patterns", conf, NOW).state == "success"
    return Runtime(load_settings(), VirtualClock(AT_NINE))


def plan_of(runtime: Runtime, finished: Any) -> list[Warm]:
    """The warms of a run."""
    return warms.list_by_run(runtime.engine, f"{finished.dag_id}/{finished.run_id}")


def test_learns_warms_and_serves(learned: Runtime, run: Run, simulator: SimulatorServer) -> None:
    """An expected open is fetched in time, and a reader of the same key hits it."""
    finished = run("adwarm_intelligent_warming", {})

    rows = plan_of(learned, finished)
    planned = [row for row in rows if row.reason == "predicted_open" and row.status != "cut"]
    assert finished.state == "success"
    assert planned
    assert {"fetched"} == {row.status for row in planned}
    assert all(row.predicted_open >= AT_NINE for row in planned)
    assert all("opened in" in row.explanation["why"] for row in planned)
    answer = learned.reader.read(planned[0].key)
    assert answer.status == ReadStatus.HIT
    assert planned[0].key.account_id.encode() in learned.reader.get_body(answer)


def test_shadow_mode_makes_no_call(learned: Runtime, run: Run, simulator: SimulatorServer) -> None:
    """A run in shadow mode saves its plan and makes no call."""
    before = simulator.calls()["total"]

    finished = run("adwarm_intelligent_warming", {"mode": "shadow"}, AT_NINE + timedelta(hours=2))

    assert finished.state == "success"
    assert before == simulator.calls()["total"]
    assert {"shadow"} == {row.status for row in plan_of(learned, finished)} - {"cut"}


def test_a_backfilled_run_plans_in_shadow_and_calls_nothing(learned: Runtime, simulator: SimulatorServer) -> None:
    """Whatever its params, a backfill run decides at its logical date, returns no batch and makes no call.

    By its tasks alone: Airflow runs nothing before the DAG's start date, and the log is older.
    """
    from adwarm_airflow.tasks import warming

    before, past = simulator.calls()["total"], AT_NINE + timedelta(hours=4)
    run = SimpleNamespace(
        dag_id="adwarm_intelligent_warming", run_id="backfill__1", run_type="backfill", run_after=past, start_date=None
    )
    first = SimpleNamespace(try_number=1)
    batches = warming.plan({"dag_run": run, "ti": first, "params": {"mode": "live"}, "logical_date": past})

    rows = plan_of(learned, run)
    assert batches == []
    assert "shadow" in {row.status for row in rows} <= {"shadow", "cut"}
    assert {(row.decided_at, row.mode) for row in rows} == {(past, "shadow")}
    assert simulator.calls()["total"] == before


def test_equal_times_give_equal_plans(learned: Runtime, run: Run) -> None:
    """Two shadow runs of the same time plan the same warms for the same reasons."""
    names = ("key", "predicted_open", "confidence", "warm_at", "explanation")
    runs = [run("adwarm_intelligent_warming", {"mode": "shadow"}, AT_NINE + timedelta(hours=4)) for _ in range(2)]
    plans = [
        [tuple(str(getattr(row, name)) for name in names) for row in plan_of(learned, finished)] for finished in runs
    ]

    assert plans[0]
    assert plans[0] == plans[1]


def test_strategy_from_the_form(learned: Runtime, run: Run, simulator: SimulatorServer) -> None:
    """The form's accounts and ranges are warmed once; the same form again makes no call."""
    conf = {"accounts": ["act_77"], "date_ranges": ["yesterday", "last_7d"], "delay_seconds": 0}
    first = run("adwarm_strategy_warming", conf)
    calls = simulator.calls()["total"]
    second = run("adwarm_strategy_warming", conf)

    assert (first.state, second.state) == ("success", "success")
    assert [row.status for row in plan_of(learned, first)] == ["fetched", "fetched"]
    assert calls == simulator.calls()["total"]


def test_a_dry_run_makes_no_call(learned: Runtime, run: Run, simulator: SimulatorServer) -> None:
    """A dry run plans every report and fetches none."""
    calls = simulator.calls()["total"]

    finished = run("adwarm_strategy_warming", {"accounts": ["act_78"], "date_ranges": ["today"], "dry_run": True})

    assert [row.status for row in plan_of(learned, finished)] == ["shadow"]
    assert calls == simulator.calls()["total"]


def test_a_settled_day_is_completed_once(learned: Runtime, run: Run, simulator: SimulatorServer) -> None:
    """The first run fetches and scores a day older than 28 days; a second run makes no call."""
    conf = {"day": "2013-01-15", "accounts": ["act_77", "act_78"]}
    first = run("adwarm_daily_insights", conf)
    calls = simulator.calls()["total"]
    second = run("adwarm_daily_insights", conf)

    from adwarm.store import scores

    assert (first.state, second.state) == ("success", "success")
    assert calls == simulator.calls()["total"]
    assert sum(scores.count_by_status(learned.engine).values())


def test_a_day_that_has_not_ended_fails_with_a_reason(learned: Runtime, run: Run) -> None:
    """A run for tomorrow fails without a retry."""
    finished = run("adwarm_daily_insights", {"day": "2013-03-23", "accounts": ["act_77"]})

    assert finished.state == "failed"
    assert {1} == {ti.try_number for ti in finished.get_task_instances() if ti.task_id == "plan_day"}
