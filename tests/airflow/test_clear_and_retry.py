"""A failed task succeeds in a later attempt, a retry or a clear, only when its keys were fetched."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select

from adwarm.foundation.errors import Denied
from adwarm.runtime import Runtime
from adwarm.store import jobs, warms
from graph_simulator.config import SimulatorConfig
from graph_simulator.fault_profile import parse_fault_profile
from graph_simulator.server import SimulatorServer

from .conftest import NOW

pytestmark = pytest.mark.slow

ACCOUNTS = ["act_901", "act_902"]
FORM = {
    "accounts": ACCOUNTS,
    "date_ranges": ["yesterday"],
    "delay_seconds": 0,
    "connection": "guarded",
    "decision_time": NOW.isoformat(),
}
DAG = "adwarm_strategy_warming"
Seen = dict[str, Any]
Clear = Callable[..., Any]
Failures = list[BaseException]


@pytest.fixture
def platform(airflow_home: Path) -> Iterator[SimulatorServer]:
    """A platform whose token differs from the one in the connection."""
    with SimulatorServer(SimulatorConfig(ads=2, now=NOW, token="right")) as server:
        yield server


@pytest.fixture
def runtime(platform: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """An empty home without retries and healing inside a call, so that only Airflow retries."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ADWARM_WORKERS", "1")
    monkeypatch.setenv("ADWARM_RECOVERY__MAX_ATTEMPTS", "1")
    monkeypatch.setenv("ADWARM_RECOVERY__HEAL", "false")
    monkeypatch.setenv("ADWARM_BACKPRESSURE__BREAKER_MIN_CALLS", "1000")
    return Runtime()


@pytest.fixture
def connect(platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the token of the connection."""

    def put(token: str) -> None:
        extra = {"access_token": token, "app_id": "1", "graph_url": platform.url}
        monkeypatch.setenv("AIRFLOW_CONN_GUARDED", json.dumps({"conn_type": "facebook_social", "extra": extra}))

    return put


@pytest.fixture
def dag(dags: dict[str, Any], runtime: Runtime) -> Any:
    """The strategy DAG, with retries without a delay."""
    dag = dags[DAG]
    for task in dag.tasks:
        task.retry_delay = timedelta(milliseconds=10)
    return dag


@pytest.fixture
def clear(dag: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Clears tasks of a finished run as the button of the UI does, and resumes the run."""

    def go(finished: Any, *names: str) -> Any:
        from airflow.models import dagrun
        from airflow.models.taskinstance import TaskInstance, clear_task_instances
        from airflow.serialization.definitions.dag import SerializedDAG
        from airflow.utils.state import DagRunState

        def reopened(*, dag: Any, session: Any, **_: Any) -> Any:
            mine = (TaskInstance.run_id == finished.run_id, TaskInstance.task_id.in_(names))
            clear_task_instances(list(session.scalars(select(TaskInstance).where(*mine))), session)
            run = session.scalars(select(dagrun.DagRun).where(dagrun.DagRun.run_id == finished.run_id)).one()
            assert run.state == DagRunState.QUEUED
            run.state = DagRunState.RUNNING
            session.commit()
            run.dag = dag
            return run

        with monkeypatch.context() as patch:
            patch.setattr(dagrun, "get_or_create_dagrun", reopened)
            patch.setattr(SerializedDAG, "clear_dags", lambda *_, **__: 0)
            return dag.test(logical_date=None, run_conf=FORM)

    return go


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Errors of the warm tasks so far, as the retry policy receives them."""
    from adwarm_airflow.retry_policy import AdwarmRetryPolicy

    errors: list[BaseException] = []
    evaluate = AdwarmRetryPolicy.evaluate

    def listen(self: Any, exception: BaseException, *args: Any, **kwargs: Any) -> Any:
        errors.append(exception)
        return evaluate(self, exception, *args, **kwargs)

    monkeypatch.setattr(AdwarmRetryPolicy, "evaluate", listen)
    return errors


def _seen(runtime: Runtime, finished: Any) -> Seen:
    """State of a run, tries of its warm task, statuses of its warms, and counts of its job."""
    run_id = f"{DAG}/{finished.run_id}"
    (job,) = [job for job in jobs.list_latest(runtime.engine) if job.run_id == run_id]
    return {
        "state": str(finished.state),
        "tries": max((ti.try_number for ti in finished.get_task_instances() if ti.task_id == "warm"), default=0),
        "warms": [row.status for row in warms.list_by_run(runtime.engine, run_id)],
        "job": (job.done, job.failed),
    }


def _reason(error: BaseException) -> str:
    """Message of an error without the numbers that differ between responses of the platform."""
    return re.sub(r"trace \w+", "trace", str(error))


def test_a_wrong_token_fails_until_it_is_replaced(
    dag: Any, clear: Clear, connect: Callable[[str], None], runtime: Runtime, failures: Failures
) -> None:
    """It fails without a retry, and again after a clear; with the right token and a clear, everything is fetched."""
    connect("wrong")
    run = dag.test(logical_date=None, run_conf=FORM)
    bad = {"state": "failed", "warms": ["failed"] * 2, "job": (0, 2)}
    assert _seen(runtime, run) == bad | {"tries": 1}
    run = clear(run, "warm", "score", "close_run")
    assert _seen(runtime, run) == bad | {"tries": 2}
    assert [type(error).__name__ for error in failures] == ["TokenDead", "TokenDead"]
    assert _reason(failures[0]) == _reason(failures[1])
    assert all(f"{name} yesterday: " in str(failures[1]) for name in ACCOUNTS)

    connect("right")
    run = clear(run, "warm", "score", "close_run")
    assert _seen(runtime, run) == {"state": "success", "tries": 3, "warms": ["fetched"] * 2, "job": (2, 0)}


def test_every_retry_tries_again_what_failed(
    dag: Any,
    clear: Clear,
    connect: Callable[[str], None],
    runtime: Runtime,
    failures: Failures,
    platform: SimulatorServer,
) -> None:
    """Every retry calls the platform; the first one after the platform has recovered fetches everything."""
    connect("right")
    platform.state.set_fault_profile(parse_fault_profile({"fault": [{"kind": "transient_2"}]}, "storm"))
    run = dag.test(logical_date=None, run_conf=FORM)
    assert _seen(runtime, run) == {"state": "failed", "tries": 3, "warms": ["failed"] * 2, "job": (0, 2)}
    assert [type(error).__name__ for error in failures] == ["Transient"] * 3
    assert platform.calls()["total"] >= 3 * len(ACCOUNTS)

    platform.state.set_fault_profile(parse_fault_profile({}, "calm"))
    run = clear(run, "warm", "score", "close_run")
    assert _seen(runtime, run) == {"state": "success", "tries": 4, "warms": ["fetched"] * 2, "job": (2, 0)}


def test_a_clear_lifts_a_denial_and_a_retry_does_not(
    dag: Any,
    clear: Clear,
    connect: Callable[[str], None],
    runtime: Runtime,
    failures: Failures,
    platform: SimulatorServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A denied account is not called by a retry or a new run; after a clear it is."""
    from adwarm_airflow.retry_policy import AdwarmRetryPolicy

    connect("right")
    platform.state.set_fault_profile(parse_fault_profile({"fault": [{"kind": "denied"}]}, "storm"))
    with monkeypatch.context() as patch:  # let Airflow retry what the policy would fail at once, as a lost worker does
        patch.setattr(AdwarmRetryPolicy, "evaluate", _retry(failures))
        run = dag.test(logical_date=None, run_conf=FORM)
    calls = platform.calls()["total"]
    assert _seen(runtime, run) == {"state": "failed", "tries": 3, "warms": ["denied"] * 2, "job": (0, 2)}
    assert [type(error) for error in failures] == [Denied] * 3
    assert calls == len(ACCOUNTS)

    with pytest.raises(Denied, match=r"2 accounts left out, .*act_901.*, act_902 \(.+\); clear this task"):
        _plan_anew()
    assert platform.calls()["total"] == calls

    platform.state.set_fault_profile(parse_fault_profile({}, "calm"))
    assert _seen(runtime, clear(run, "warm", "score", "close_run")) == {
        "state": "success",
        "tries": 4,
        "warms": ["fetched"] * 2,
        "job": (2, 0),
    }


def _plan_anew() -> None:
    """Plan another run with the same form."""
    from adwarm_airflow.tasks import warming

    run = SimpleNamespace(dag_id=DAG, run_id="anew", run_type="manual", run_after=NOW, start_date=NOW)
    warming.plan_strategies({"dag_run": run, "ti": SimpleNamespace(try_number=1), "params": FORM})


def _retry(errors: list[BaseException]) -> Callable[..., Any]:
    from airflow.sdk import RetryDecision

    def evaluate(self: Any, exception: BaseException, *args: Any, **kwargs: Any) -> Any:
        errors.append(exception)
        return RetryDecision.default()

    return evaluate


def test_clearing_the_plan_plans_anew(
    dag: Any, clear: Clear, connect: Callable[[str], None], runtime: Runtime, platform: SimulatorServer
) -> None:
    """Clearing a whole run lifts the denials of its accounts, and plans each key once."""
    connect("right")
    platform.state.set_fault_profile(parse_fault_profile({"fault": [{"kind": "denied"}]}, "storm"))
    run = dag.test(logical_date=None, run_conf=FORM)
    assert _seen(runtime, run)["warms"] == ["denied"] * 2
    platform.state.set_fault_profile(parse_fault_profile({}, "calm"))

    run = clear(run, "plan", "warm", "score", "close_run")
    assert _seen(runtime, run) == {"state": "success", "tries": 2, "warms": ["fetched"] * 2, "job": (2, 0)}
