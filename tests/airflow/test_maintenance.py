"""`adwarm_maintenance`: discovery of accounts on a fresh home, and the steps of maintenance."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from adwarm.compression.statistics import add_counts
from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import BadRequest, Corrupt, Refused, TokenDead
from adwarm.maintenance import compaction
from adwarm.maintenance.platform_watch import list_connections
from adwarm.maintenance.runner import StepReport
from adwarm.maintenance.steps import STEPS
from adwarm.model import (
    Account,
    CompressionCounts,
    EntryKey,
    ReportKey,
    Window,
    resolve_key,
)
from adwarm.planning.strategy_schedule import DEFAULT_STRATEGIES
from adwarm.recovery import IsolationTracker
from adwarm.runtime import Runtime
from adwarm.settings import load_settings
from adwarm.store import accounts, entries, maintenance_steps, write_transaction
from adwarm.store.entries import Entry
from adwarm.store.gates import SqlGates
from adwarm.store.open_files import OpenFiles
from adwarm.store.strategies import save_strategy
from adwarm_airflow.retry_policy import AdwarmRetryPolicy
from adwarm_airflow.tasks import maintenance
from adwarm_airflow.tasks.maintenance import discover_accounts, run_steps
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.support.gate_rows import list_isolated
from tests.support.wall_clock import WallClock

START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def platform() -> Any:
    """A platform with two tokens: one for act_1 and act_2, one for act_3."""
    config = SimulatorConfig(
        accounts=("act_1", "act_2", "act_3"), tokens={"eu-token": ("act_3",)}, zone="Europe/Rome", ads=1
    )
    with SimulatorServer(config) as server:
        yield server


@pytest.fixture(autouse=True)
def home(airflow_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh home without any connection and without a log."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path))
    monkeypatch.delenv("ADWARM_ACCESS_LOG__URL")
    monkeypatch.delenv("AIRFLOW_CONN_FACEBOOK_DEFAULT")


def connect(patch: pytest.MonkeyPatch, platform: SimulatorServer, name: str, token: str) -> None:
    """Define a connection."""
    extra = {"app_id": "100000", "access_token": token, "graph_url": platform.url}
    connection = {"conn_type": "facebook_social", "extra": extra}
    patch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))


def run(after: timedelta = timedelta(0), try_number: int = 1, **params: Any) -> dict[str, Any]:
    """Run the task, so long after the start."""
    at = START + after
    dag_run = SimpleNamespace(dag_id="adwarm_maintenance", run_id="r", run_type="scheduled", run_after=at)
    return discover_accounts({
        "dag_run": dag_run,
        "ti": SimpleNamespace(try_number=try_number),
        "params": {"connection": "facebook_default", "decision_time": at.isoformat(), **params},
    })


def run_step(context: dict[str, Any], name: str) -> dict[str, Any]:
    """Run a task of one step, and return the result of the step."""
    result: dict[str, Any] = run_steps(context, [name])["steps"][name]
    return result


def stored() -> dict[str, str]:
    """Return the connections of the stored accounts."""
    records = accounts.list_records(Runtime(load_settings()).engine, START)
    return {name: record.account.connection for name, record in records.items()}


def test_without_a_connection() -> None:
    """The task is skipped, and the reason names the connection to create."""
    with pytest.raises(AirflowSkipException, match="'facebook_default' does not exist"):
        run()


def test_a_fresh_install(platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong token is not tried at each run; a new one is tried at once; then it is due six hours later."""
    connect(monkeypatch, platform, "facebook_default", "wrong")
    with pytest.raises(TokenDead, match=r"connection facebook_default: .*renew the token"):
        run()
    with pytest.raises(AirflowSkipException, match="renew the token"):
        run(timedelta(minutes=15))
    with pytest.raises(TokenDead):
        run(timedelta(minutes=15), try_number=2)
    connect(monkeypatch, platform, "facebook_default", "simulated-token")
    assert run(timedelta(minutes=30))["facebook_default"]["new"] == 2
    assert stored() == {"act_1": "facebook_default", "act_2": "facebook_default"}
    with pytest.raises(AirflowSkipException, match="2 accounts listed"):
        run(timedelta(hours=6))
    assert run(timedelta(hours=1), discover_now=True)["facebook_default"]["unchanged"] == 2
    assert run(timedelta(hours=7))["facebook_default"]["unchanged"] == 2


def test_several_connections(platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each account gets the connection that lists it; one that is not valid fails the task after the others."""
    connect(monkeypatch, platform, "facebook_default", "simulated-token")
    connect(monkeypatch, platform, "facebook_eu", "eu-token")
    with pytest.raises(BadRequest, match="'facebook_us' does not exist"):
        run(connection="facebook_default, facebook_eu, facebook_us")
    assert stored() == {"act_1": "facebook_default", "act_2": "facebook_default", "act_3": "facebook_eu"}


@pytest.mark.slow
def test_the_other_dags_know_the_accounts(
    dags: dict[str, Any], platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any log, a scheduled strategy for all accounts warms those that the maintenance run has found."""
    connect(monkeypatch, platform, "facebook_default", "simulated-token")
    assert dags["adwarm_maintenance"].test(run_conf={"steps": ["evict_entries"]}).state == "success"
    runtime = Runtime(load_settings())
    with write_transaction(runtime.engine) as connection:
        save_strategy(connection, replace(DEFAULT_STRATEGIES[0], opened_only=False), runtime.clock.now())
    result = dags["adwarm_strategy_warming"].test()
    assert result.state == "success"
    from adwarm.store import warms

    (run_id,) = {f"adwarm_strategy_warming/{result.run_id}"}
    warmed = {row.key.account_id for row in warms.list_by_run(runtime.engine, run_id) if row.status.is_served}
    assert warmed == {"act_1", "act_2"}


def test_entries_of_past_windows_go(
    dags: dict[str, Any], platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run deletes an entry whose window has passed and that nobody read for weeks, and keeps the current one."""
    connect(monkeypatch, platform, "facebook_default", "simulated-token")
    runtime = Runtime(load_settings())
    now = runtime.clock.now()
    old = (now - timedelta(days=60)).date()
    key = EntryKey("act_1", Window(old, old), runtime.settings.spec("default").hash)
    current = resolve_key(
        ReportKey("act_1", "yesterday"), Account("act_1", "UTC", "UTC"), runtime.settings.spec("default"), now
    )
    entry = Entry(key, "yesterday", "default", "zstd", 100, 10, now - timedelta(days=59), None, "meta")
    with write_transaction(runtime.engine) as connection:
        items = [(entry, b"old"), (replace(entry, key=current, fetched_at=now), b"new")]
        entries.publish(connection, items, 1, now)
    assert dags["adwarm_maintenance"].test(run_conf={"steps": ["evict_entries"]}).state == "success"
    assert [item.key for item in entries.list_entries(runtime.engine)] == [current]


def _form(try_number: int = 1, **params: Any) -> dict[str, Any]:
    """Return the context of a task with these values of the form."""
    attempt = SimpleNamespace(try_number=try_number, max_tries=2)
    return {"params": {"steps": [], "run_now": False, "connection": "facebook_default", **params}, "ti": attempt}


def test_what_is_past_its_retention_is_deleted() -> None:
    """The task deletes old rows and old files of the open log, says how many of each, and is then not due."""
    runtime = Runtime(load_settings())
    now = runtime.clock.now()
    for age in (0, 401):
        counts = {"zstd": CompressionCounts(packed=1)}
        add_counts(runtime.engine, now - timedelta(days=age), counts)
    files = OpenFiles(runtime.settings.data)
    for age in (10, 500):
        files.put((now - timedelta(days=age)).date(), "a", b"")
    deleted = run_step(_form(), "apply_retention")["counts"]
    assert {name: count for name, count in deleted.items() if count} == {"amount": 1, "open_log_files": 1}
    assert files.list_days() == [(now - timedelta(days=10)).date()]
    with pytest.raises(AirflowSkipException, match="due again at"):
        run_step(_form(), "apply_retention")
    assert run_step(_form(run_now=True), "apply_retention")["status"] == "done"


def test_three_tasks_run_every_step(dags: dict[str, Any]) -> None:
    """Each step belongs to one task, in the order of the steps, and no task depends on another."""
    dag = dags["adwarm_maintenance"]
    assert dag.task_ids == ["discover_accounts", "monitor", "maintain_store"]
    assert [task.task_id for task in dag.tasks if task.upstream_task_ids or task.downstream_task_ids] == []
    groups = [dag.get_task(name).op_args[0] for name in ("monitor", "maintain_store")]
    assert [[name for name in STEPS if name in group] for group in groups] == groups
    assert sorted(chain(*groups)) == sorted(STEPS)
    assert dag.params.get_param("steps").schema["examples"] == list(chain(*groups))


def test_a_task_names_its_steps() -> None:
    """Its result has each step with what it did or why it was skipped; one that is not due does no work."""
    names = ["evict_entries", "apply_retention", "collect_garbage"]
    run_step(_form(), "apply_retention")
    result = run_steps(_form(steps=["apply_retention", "evict_entries"]), names)
    assert result["ran"] == ["evict_entries"]
    assert sorted(result["skipped"]) == ["apply_retention", "collect_garbage"]
    assert result["steps"]["collect_garbage"]["reason"] == "not chosen in the form"
    assert result["steps"]["apply_retention"]["reason"].startswith("complete since")
    assert result["steps"]["evict_entries"]["status"] == "done"


def test_the_next_run_begins_with_the_steps_that_had_no_time(
    wall_clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task begins no step once its time is used; the step that ran longest ago comes first, so each has its turn."""
    names, begun = ["scrub", "repair_degraded", "compact"], []

    def begin(parts: Any, name: str, *, run_now: bool) -> StepReport:
        begun.append(name)
        maintenance_steps.acquire(parts.context.engine, name, "me", parts.clock.now(), 0.0)
        wall_clock.set(parts.clock.now() + timedelta(seconds=400))
        return StepReport(name, "done")

    monkeypatch.setattr(wall_clock, "is_real", False)
    monkeypatch.setattr(maintenance, "run_if_due", begin)
    reports = [run_steps(_form(), names)["steps"] for _ in range(3)]
    assert begun == ["scrub", "repair_degraded", "compact", "scrub", "repair_degraded", "compact"]
    assert "the next run begins with it" in reports[0]["compact"]["reason"]


def test_a_failing_step_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other steps of its task run first; then the task fails with the step's own error, and names the step."""

    def fail(context: Any) -> Any:
        def step(cursor: Any, budget: Any) -> Any:
            raise Corrupt("a month is damaged")

        return step

    monkeypatch.setattr(compaction, "make_compact", fail)
    with pytest.raises(Corrupt, match="compact: a month is damaged"):
        run_steps(_form(), ["compact", "apply_retention"])
    states = maintenance_steps.list_states(Runtime(load_settings()).engine)
    assert "a month is damaged" in str(states["compact"].error)
    assert states["apply_retention"].round_finished_at is not None


def test_the_form_chooses_steps(dags: dict[str, Any], platform: SimulatorServer) -> None:
    """Steps that were not chosen are skipped, and an unknown one is refused."""
    assert run_step(_form(steps=["compact"]), "compact")["status"] == "done"
    with pytest.raises(AirflowSkipException, match="not chosen"):
        run_step(_form(steps=["compact"]), "evict_entries")
    with pytest.raises(AirflowSkipException, match=r"^compact: complete since .*; due again at "):
        run_step(_form(steps=None), "compact")  # the form sends null for no choice
    assert dags["adwarm_maintenance"].params.get_param("steps").resolve(None) is None
    with pytest.raises(BadRequest, match="'vacuum' is not a step of maintenance"):
        run_step(_form(steps=["vacuum"]), "compact")


def test_a_retry_waits_for_the_hold_of_a_killed_attempt(dags: dict[str, Any]) -> None:
    """The first attempt leaves a step that another process runs; a retry is postponed, and the last one is skipped."""
    runtime = Runtime(load_settings())
    maintenance_steps.acquire(runtime.engine, "compact", "host:1", runtime.clock.now(), 180)
    for number in (1, 3):
        with pytest.raises(AirflowSkipException, match="host:1 runs it since"):
            run_step(_form(number, run_now=True), "compact")
    with pytest.raises(Refused, match="killed attempt") as raised:
        run_step(_form(2, run_now=True), "compact")
    decision = AdwarmRetryPolicy().evaluate(raised.value, 2, 2)

    assert decision.retry_delay is not None
    assert 170 <= decision.retry_delay.total_seconds() <= 181
    assert decision.reason == "step compact refuses further work for now"


@pytest.mark.slow
def test_sampled_accounts_are_reconciled(platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step reads through the DAG's connection, and finds that an honest platform agrees with itself."""
    connect(monkeypatch, platform, "facebook_default", "simulated-token")
    monkeypatch.setenv("ADWARM_MAINTENANCE__RECONCILE_ACCOUNTS", "1")
    monkeypatch.setattr("adwarm.maintenance.reconciliation.POLL_SECONDS", 0.2)
    run()
    context, report = _form(), {"status": "more"}
    while report["status"] == "more":
        report = run_step(context, "reconcile")
    assert report["counts"]["compared"] >= 4
    assert (report["counts"]["differing"], report["problems"]) == (0, [])


def test_connections_of_accounts_are_probed(platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that only accounts name has its own probe; one that is gone keeps its state, and the log says so."""
    connect(monkeypatch, platform, "facebook_default", "simulated-token")
    connect(monkeypatch, platform, "facebook_eu", "wrong")
    runtime = Runtime(load_settings())
    stored_accounts = [Account(f"act_{name}", "UTC", "UTC", connection=f"facebook_{name}") for name in ("eu", "gone")]
    accounts.save(runtime.engine, stored_accounts, START)
    names = ("connection:facebook_default", "connection:facebook_eu", "connection:facebook_gone")
    before = {name: isolate(runtime, name) for name in names}
    report = run_step(_form(), "check_health")
    assert report["counts"] == {"succeeded": 1, "failed": 1, "unknown": 1}
    assert {problem.partition(": ")[0] for problem in report["problems"]} == set(names[1:])
    after = {state.scope: state for state in list_isolated(runtime.isolation)}
    assert set(after) & set(names) >= {names[1], names[2]}
    assert after[names[2]] == before[names[2]]
    assert after[names[1]].why != before[names[1]].why


def test_tokens_of_connections_are_read(platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a connection nothing is to do; else the token of each is read, and a dead one stops no other."""
    with pytest.raises(AirflowSkipException, match="'facebook_default' does not exist"):
        run_step(_form(), "watch_platform")
    connect(monkeypatch, platform, "facebook_default", "simulated-token")
    connect(monkeypatch, platform, "facebook_eu", "wrong")
    runtime = Runtime(load_settings())
    accounts.save(runtime.engine, [Account("act_3", connection="facebook_eu")], START)
    report = run_step(_form(), "watch_platform")
    assert report["counts"] == {"read": 2}
    states = {item["connection"]: item for item in list_connections(runtime.engine, START)}
    assert states["facebook_default"]["token"] == "the access token never ends"
    assert "190" in states["facebook_eu"]["version"]


def isolate(runtime: Runtime, scope: str) -> Any:
    """Isolate a scope whose time is over, and return its state."""
    long_ago = VirtualClock(datetime.now(UTC) - timedelta(hours=1))
    tracker = IsolationTracker(SqlGates(runtime.engine), runtime.settings.recovery, long_ago)
    for number in range(10):
        tracker.record(scope, failed=True, reason="down", kind="Transient", account=f"act_{number}")
    return next(state for state in list_isolated(tracker) if state.scope == scope)
