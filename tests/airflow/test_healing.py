"""Healing seen from DAG runs: a renewed token, a damaged day, a dead HTTP session, and an action of the user's."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Table, delete, select

from adwarm.foundation.errors import Isolated, TokenDead
from adwarm.model import Priority, ReportKey
from adwarm.prefetch import KeyRequest
from adwarm.recovery import Call
from adwarm.recovery.run_outcomes import RunOutcomes
from adwarm.runtime import Runtime
from adwarm.sources.meta.transport import MetaCredentials
from adwarm.store import warms
from adwarm.store.alerts import list_alerts
from adwarm.store.database import read_transaction
from adwarm.store.error_events import ErrorFilter
from adwarm.store.healing_runs import HealingStore
from adwarm.store.quarantine import table as quarantined_item
from adwarm_airflow.task_context import open_runtime
from graph_simulator.config import SimulatorConfig
from graph_simulator.fault_profile import parse_fault_profile
from graph_simulator.server import SimulatorServer
from tests.support.gate_rows import list_isolated

from .conftest import NOW

DAG = "adwarm_strategy_warming"
CONNECTION = "healed"
ACCOUNTS = [f"act_{number}" for number in range(8101, 8109)]
WORKERS = 4
FORM = {
    "accounts": ACCOUNTS,
    "date_ranges": ["last_7d"],
    "delay_seconds": 0,
    "connection": CONNECTION,
    "decision_time": NOW.isoformat(),
}
Connect = Callable[[str], None]
told: list[dict[str, Any]] = []
"""What `note` was called with."""


def note(**failure: Any) -> str:
    """A user's healing action."""
    told.append(failure)
    return "the proxy was restarted"


@pytest.fixture
def platform(airflow_home: Path) -> Iterator[SimulatorServer]:
    """A platform of this test."""
    with SimulatorServer(SimulatorConfig(ads=2, now=NOW, token="first")) as server:
        yield server


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """An empty home; retries within a call do not wait."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ADWARM_WORKERS", str(WORKERS))
    monkeypatch.setenv("ADWARM_RECOVERY__INITIAL_DELAY_SECONDS", "0")
    return Runtime()


@pytest.fixture
def connect(platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Sets the token of the Airflow connection."""

    def put(token: str) -> None:
        extra = {"access_token": token, "app_id": "1", "graph_url": platform.url}
        monkeypatch.setenv(
            f"AIRFLOW_CONN_{CONNECTION.upper()}", json.dumps({"conn_type": "facebook_social", "extra": extra})
        )

    put("first")
    return put


@pytest.fixture
def run(dags: dict[str, Any], runtime: Runtime, connect: Connect) -> Callable[..., Any]:
    """Runs the strategy DAG, whose retries have no delay of their own."""

    def go(**changes: Any) -> Any:
        for task in dags[DAG].tasks:
            task.retry_delay = timedelta(milliseconds=10)
        return dags[DAG].test(logical_date=None, run_conf={**FORM, **changes})

    return go


def _save_in_database(platform: SimulatorServer, token: str) -> None:
    """Store the connection in Airflow's database, from where tasks read it through their supervisor."""
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    extra = json.dumps({"access_token": token, "app_id": "1", "graph_url": platform.url})
    with create_session() as session:
        session.execute(delete(Connection).where(Connection.conn_id == CONNECTION))
        session.add(Connection(conn_id=CONNECTION, conn_type="facebook_social", extra=extra))


def _before_call(platform: SimulatorServer, number: int, action: Callable[[], None]) -> None:
    """Let the platform run `action` just before it answers its call with this number."""
    state: Any = platform.state
    answer, calls = state.answer, iter(range(1, 1_000_000))

    def counting(call: Any) -> Any:
        if next(calls) == number:
            action()
        return answer(call)

    state.answer = counting


def _rows(runtime: Runtime, table: Table) -> list[Any]:
    with read_transaction(runtime.engine) as connection:
        return list(connection.execute(select(table).order_by(table.c.id)))


def _healed(runtime: Runtime) -> list[tuple[str, str, bool]]:
    """Action, scope and success of every healing run, the oldest first."""
    return [(run.action, run.scope, run.succeeded) for run in reversed(HealingStore(runtime.engine).list_recent(100))]


def _statuses(runtime: Runtime, finished: Any) -> list[str]:
    return [row.status for row in warms.list_by_run(runtime.engine, f"{DAG}/{finished.run_id}")]


def _tries(finished: Any) -> int:
    return max(ti.try_number for ti in finished.get_task_instances() if ti.task_id == "warm")


def _refused(platform: SimulatorServer) -> int:
    """How many calls were made with an expired token."""
    return sum(call.code == 190 for call in platform.state.calls.entries()[0])


@pytest.mark.slow
def test_a_token_that_expires_in_the_middle_of_a_run_is_replaced(
    run: Callable[..., Any], runtime: Runtime, connect: Connect, platform: SimulatorServer
) -> None:
    """The renewed connection is used by the same task: every report is fetched, and few calls use the dead token."""

    def expire() -> None:
        connect("second")
        platform.state.renew_token("second")

    _before_call(platform, len(ACCOUNTS), expire)
    finished = run()

    assert finished.state == "success"
    assert _statuses(runtime, finished) == ["fetched"] * len(ACCOUNTS)
    assert _tries(finished) == 1
    assert 1 <= _refused(platform) <= WORKERS
    assert _healed(runtime) == [("token_refresh", CONNECTION, True)]


@pytest.mark.slow
def test_the_threads_of_a_task_read_the_connection_from_airflow(
    run: Callable[..., Any], runtime: Runtime, platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection in Airflow's database is read again by a thread of the task, while others meet the error."""
    monkeypatch.delenv(f"AIRFLOW_CONN_{CONNECTION.upper()}")
    _save_in_database(platform, "first")

    def expire() -> None:
        _save_in_database(platform, "second")
        platform.state.renew_token("second")

    _before_call(platform, len(ACCOUNTS), expire)
    finished = run()

    assert finished.state == "success"
    assert _statuses(runtime, finished) == ["fetched"] * len(ACCOUNTS)
    assert (_tries(finished), _healed(runtime)) == (1, [("token_refresh", CONNECTION, True)])


@pytest.mark.slow
def test_a_token_that_is_renewed_later_ends_the_run_green(
    run: Callable[..., Any],
    runtime: Runtime,
    connect: Connect,
    platform: SimulatorServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The task is retried after the cool-down of the healer, with the token that a human has set meanwhile."""
    from adwarm_airflow.retry_policy import AdwarmRetryPolicy

    monkeypatch.setenv("ADWARM_WORKERS", "1")
    monkeypatch.setenv("ADWARM_RECOVERY__HEALERS", '[{"action": "token_refresh", "cooldown_seconds": 1}]')
    evaluate = AdwarmRetryPolicy.evaluate

    def renew(self: Any, exception: BaseException, *args: Any, **kwargs: Any) -> Any:
        connect("second")
        return evaluate(self, exception, *args, **kwargs)

    monkeypatch.setattr(AdwarmRetryPolicy, "evaluate", renew)
    platform.state.renew_token("second")
    finished = run(accounts=ACCOUNTS[:3])

    assert finished.state == "success"
    assert _statuses(runtime, finished) == ["fetched"] * 3
    assert (_tries(finished), _refused(platform)) == (2, 1)
    assert _healed(runtime) == [("token_refresh", CONNECTION, False)]


@pytest.mark.slow
def test_an_isolated_connection_is_used_as_soon_as_its_token_is_renewed(
    run: Callable[..., Any], runtime: Runtime, connect: Connect, platform: SimulatorServer
) -> None:
    """Runs with the dead token isolate the connection; a run that starts with the renewed token fetches at once."""
    platform.state.renew_token("second")
    isolated: list[str] = []
    for number in range(3):
        source = Call("meta", CONNECTION, ACCOUNTS[number])
        dead = TokenDead("the token has expired")
        dead.credential = MetaCredentials(SecretStr("first"), "1").digest
        for _ in range(3):
            RunOutcomes(runtime.isolation, runtime.clock).record(source, runtime.clock.now(), dead)
        isolated = [state.scope for state in list_isolated(runtime.isolation)]
    assert isolated == [f"connection:{CONNECTION}"]
    connect("second")
    finished = run(accounts=ACCOUNTS[:3])

    assert finished.state == "success"
    assert _statuses(runtime, finished) == ["fetched"] * 3
    assert list_isolated(runtime.isolation) == []
    assert _refused(platform) == 0


@pytest.mark.slow
def test_a_damaged_day_is_fetched_again_in_the_same_run(
    run: Callable[..., Any], runtime: Runtime, platform: SimulatorServer
) -> None:
    """A damaged object is replaced by the run that meets it; it is set aside, and both are rows."""
    run(accounts=ACCOUNTS[:1])
    objects = [(digest, suffix) for digest, suffix in runtime.objects.list_objects() if suffix == ".parquet"]
    for digest, suffix in objects:
        Path(runtime.objects.describe_location(digest, suffix)).write_bytes(b"damaged")
    finished = run(accounts=ACCOUNTS[:1], date_ranges=["last_14d"])

    assert finished.state == "success"
    assert _statuses(runtime, finished) == ["fetched"]
    damaged = {digest for digest, _ in objects}
    assert {row.name for row in _rows(runtime, quarantined_item)} == damaged
    assert {row.outcome for row in _rows(runtime, quarantined_item)} == {"the days were fetched again"}
    assert {(action, succeeded) for action, _, succeeded in _healed(runtime)} == {("partition_refetch", True)}
    for row in _rows(runtime, quarantined_item):
        assert row.account_id == ACCOUNTS[0]
    for digest, _ in runtime.objects.list_objects():
        if digest not in {row.copy_name for row in _rows(runtime, quarantined_item)}:
            runtime.objects.get(digest)


def test_a_dead_session_is_replaced(
    run: Callable[..., Any], runtime: Runtime, platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls whose connections are reset get new sessions, and the next attempt succeeds."""
    monkeypatch.setenv("ADWARM_WORKERS", "1")
    monkeypatch.setenv("ADWARM_RECOVERY__MAX_ATTEMPTS", "2")
    resets = parse_fault_profile({"fault": [{"kind": "reset", "calls": 2}]}, "resets")
    platform.state.set_fault_profile(resets)
    finished = run(accounts=ACCOUNTS[:1])

    assert finished.state == "success"
    assert _statuses(runtime, finished) == ["fetched"]
    ((action, scope, succeeded),) = _healed(runtime)
    assert (action, succeeded) == ("session_restart", True)
    assert scope.startswith(f"{CONNECTION}@")


def test_an_action_of_the_user_heals(
    run: Callable[..., Any], runtime: Runtime, platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function that the settings name is called with the failure, and its result is the detail of the row."""
    told.clear()
    healer = {"action": "custom", "errors": ["Transient"], "pattern": "^2$", "call": f"{__name__}:note"}
    monkeypatch.setenv("ADWARM_RECOVERY__HEALERS", json.dumps([healer]))
    monkeypatch.setenv("ADWARM_WORKERS", "1")
    monkeypatch.setenv("ADWARM_RECOVERY__MAX_ATTEMPTS", "2")
    busy = parse_fault_profile({"fault": [{"kind": "transient_2", "calls": 2}]}, "busy")
    platform.state.set_fault_profile(busy)
    finished = run(accounts=ACCOUNTS[:1])

    assert finished.state == "success"
    assert _statuses(runtime, finished) == ["fetched"]
    assert [run.detail for run in HealingStore(runtime.engine).list_recent(10)] == ["the proxy was restarted"]
    assert [(item["source"], item["connection"], item["kind"]) for item in told] == [("meta", CONNECTION, "Transient")]


def test_a_connection_has_one_name_everywhere(connect: Connect, runtime: Runtime) -> None:
    """Errors, alert, healing and isolation of a dead token name the Airflow connection, and nothing else."""
    connect("dead")
    requests = [KeyRequest(ReportKey(account, "last_7d")) for account in ACCOUNTS]
    result = open_runtime(conn_id=CONNECTION).prefetch_engine().run(requests, Priority.LOW)
    assert {type(outcome.error) for outcome in result.outcomes} <= {TokenDead, Isolated}
    events = runtime.errors.list_recent(100, ErrorFilter(kind="TokenDead"))
    assert {event.connection for event in events} == {CONNECTION}
    assert [alert.scope for alert in list_alerts(runtime.engine)] == [f"connection:{CONNECTION}"]
    assert {run.scope for run in HealingStore(runtime.engine).list_recent(10)} == {CONNECTION}
    pool = open_runtime(conn_id=CONNECTION).source_factories()
    assert list(pool) == [CONNECTION]
