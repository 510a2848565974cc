"""Deferral until there is capacity: no worker slot is held, one poll serves all triggers, and the task resumes."""

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import delete, select

from adwarm.backpressure import CallOutcome, CallOutcomeKind, CallRequest, Grant
from adwarm.backpressure.capacity_preview import CapacityPreview
from adwarm.foundation.gate import Rule
from adwarm.model import Account, PlannedWarm, Priority, ReportKey, Scope, WarmReason
from adwarm.runtime import Runtime
from adwarm.store import accounts, warms, write_transaction
from adwarm.store.gates import read_row, save_gates
from adwarm.store.gates import table as gate
from graph_simulator.server import SimulatorServer

TASK = SimpleNamespace(retries=2)
CONTEXT: Any = {"ti": SimpleNamespace(task_id="t", try_number=1, max_tries=2, task=TASK), "params": {}}
FORM = {"accounts": ["act_801"], "date_ranges": ["yesterday"], "delay_seconds": 0}


@pytest.fixture(autouse=True)
def runtime(airflow_home: Path, simulator: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """An empty home; the platform's clock is the machine's."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path / "home"))
    simulator.set_now(datetime.now(UTC))
    return Runtime()


def _settle(runtime: Runtime, scope: Scope, outcome: CallOutcome, source: str = "meta") -> None:
    decision = runtime.admission.admit(CallRequest((scope,), Priority.CRITICAL, source))
    assert isinstance(decision, Grant)
    runtime.admission.release(decision, outcome)


def park(runtime: Runtime, name: str) -> None:
    """Park a scope for ten minutes, as after a throttled call."""
    _settle(runtime, Scope.parse(name), CallOutcome(CallOutcomeKind.THROTTLED, park_seconds=600))


def unpark(runtime: Runtime) -> None:
    """OpenedBy every park, as an operator may do by hand."""
    with write_transaction(runtime.engine) as connection:
        connection.execute(delete(gate).where(gate.c.rule == Rule.PARK))


def break_upstream(runtime: Runtime) -> None:
    """Record failed calls until the breaker of the source opens."""
    for number in range(runtime.settings.backpressure.breaker_min_calls):
        _settle(runtime, Scope.parse(f"account:act_{800 + number}"), CallOutcome(CallOutcomeKind.FAILED))


def mend_upstream(runtime: Runtime) -> None:
    """End the cool-down of every breaker."""
    with write_transaction(runtime.engine) as connection:
        rows = connection.execute(select(gate).where(gate.c.rule == Rule.BREAKER)).mappings().all()
        ended = [replace(item, closed_until=0.0, data={**item.data, "probe_at": 0.0}) for item in map(read_row, rows)]
        save_gates(connection, ended)


def _chains(*names: str) -> list[list[str]]:
    return [[name] for name in names]


def _trigger(*names: str) -> Any:
    from adwarm_airflow.triggers import CapacityTrigger

    return CapacityTrigger(_chains(*names), "low", "meta")


async def _events(triggers: Sequence[Any], meanwhile: Callable[[], None] = lambda: None) -> list[Any]:
    """Run triggers concurrently, as a triggerer does, and return the event of each."""
    running = [asyncio.create_task(anext(trigger.run())) for trigger in triggers]
    await asyncio.sleep(0.3)
    assert not any(task.done() for task in running), "no trigger may fire before there is capacity"
    meanwhile()
    return await asyncio.wait_for(asyncio.gather(*running), 60)


def test_it_wakes_when_a_park_is_lifted(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deserialized trigger waits, and fires when the park is lifted, long before its end."""
    from airflow.sdk._shared.module_loading import import_string

    from adwarm_airflow.triggers import capacity

    monkeypatch.setattr(capacity, "RECHECK_SECONDS", 0.05)
    park(runtime, "account:act_801")
    path, values = _trigger("account:act_801").serialize()
    again = import_string(path)(**values)

    [event] = asyncio.run(_events([again], lambda: unpark(runtime)))
    assert event.payload["waited_seconds"] < 60


def test_it_wakes_when_the_breaker_may_be_probed(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open breaker blocks all triggers of the source; the end of its cool-down releases them."""
    from adwarm_airflow.triggers import capacity

    monkeypatch.setattr(capacity, "RECHECK_SECONDS", 0.05)
    break_upstream(runtime)
    triggers = [_trigger(f"account:act_{number}") for number in range(3)]

    assert len(asyncio.run(_events(triggers, lambda: mend_upstream(runtime)))) == 3


class ScriptedPreviews:
    """Previews that a test scripts, and the number of calls in each poll."""

    def __init__(self, *scripts: Callable[[CallRequest], CapacityPreview]) -> None:
        self.scripts = list(scripts)
        self.sizes: list[int] = []

    def __call__(self, waiters: Sequence[CallRequest]) -> list[CapacityPreview]:
        self.sizes.append(len(waiters))
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        return [script(waiter) for waiter in waiters]


@pytest.fixture
def previews(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ScriptedPreviews]:
    """Installs scripted previews instead of the database's."""
    from adwarm_airflow.triggers import capacity

    def install(*scripts: Callable[[CallRequest], CapacityPreview]) -> ScriptedPreviews:
        scripted = ScriptedPreviews(*scripts)
        monkeypatch.setattr(capacity, "_AdmissionPreview", lambda: SimpleNamespace(preview=scripted))
        monkeypatch.setattr(capacity, "POLL_SECONDS", 0.01)
        monkeypatch.setattr(capacity, "RECHECK_SECONDS", 0.02)
        return scripted

    return install


async def _gather(triggers: Sequence[Any]) -> list[Any]:
    return await asyncio.wait_for(asyncio.gather(*(anext(trigger.run()) for trigger in triggers)), 60)


def test_one_poll_serves_every_trigger(previews: Callable[..., ScriptedPreviews]) -> None:
    """A thousand waiting triggers need as many polls as one."""
    scripted = previews(
        lambda _: CapacityPreview(600, "parked"), lambda _: CapacityPreview(600, "parked"), lambda _: CapacityPreview(0)
    )

    assert len(asyncio.run(_gather([_trigger(f"account:act_{n}") for n in range(1000)]))) == 1000
    assert scripted.sizes == [1000, 1000, 1000]


def test_the_first_of_many_chains_wakes_a_task(previews: Callable[..., ScriptedPreviews]) -> None:
    """A trigger with several calls fires when the first is admissible; another trigger keeps waiting."""
    free = Scope.parse("account:act_2")
    scripted = previews(
        lambda waiter: CapacityPreview(0.0 if free in waiter.scopes else 600, "parked"),
        lambda _: CapacityPreview(0.0, "free now"),
    )
    fired = asyncio.run(_gather([_trigger("account:act_1", "account:act_2"), _trigger("account:act_3")]))

    assert [event.payload["why"] for event in fired] == ["parked", "free now"]
    assert scripted.sizes == [3, 1]


def test_a_loaded_machine_resumes_as_many_tasks_as_it_may_run(
    previews: Callable[..., ScriptedPreviews], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of sixteen tasks that wait for a machine with room for two, two resume; each resume is a process more."""
    from adwarm_airflow.triggers import capacity

    previews(lambda waiter: CapacityPreview(0.0, "free", free_calls=2 if waiter.machine == "one" else None))

    async def count_fired(seconds: float) -> int:
        triggers = [capacity.CapacityTrigger([["account:act_1", "machine:one"]], "low", "meta") for _ in range(16)]
        tasks = [asyncio.create_task(anext(trigger.run())) for trigger in [*triggers, _trigger("account:act_2")]]
        await asyncio.wait(tasks, timeout=seconds)
        fired = sum(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        return fired

    assert asyncio.run(count_fired(0.5)) == 2 + 1
    monkeypatch.setattr(capacity, "STARTING_SECONDS", 0.0)
    assert asyncio.run(count_fired(60)) == 16 + 1


def test_a_failed_poll_is_repeated(previews: Callable[..., ScriptedPreviews]) -> None:
    """A database that is down delays the triggers and fails none."""

    def away(_: CallRequest) -> CapacityPreview:
        raise OSError("the database is down")

    scripted = previews(away, lambda _: CapacityPreview(0))
    assert len(asyncio.run(_gather([_trigger("account:act_1")]))) == 1
    assert scripted.sizes == [1, 1]


def test_a_trigger_that_waits_only_for_a_slot_fires_after_a_minute(
    previews: Callable[..., ScriptedPreviews], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A preview reserves no capacity, so the task has to ask itself; a parked scope keeps waiting."""
    from adwarm_airflow.triggers import capacity

    monkeypatch.setattr(capacity, "QUEUEING_SECONDS", 0.05)
    scripted = previews(lambda _: CapacityPreview(1, "all calls are in flight", is_queueing=True))

    [event] = asyncio.run(_gather([_trigger("account:act_1")]))
    assert event.payload["why"] == "all calls are in flight"
    assert len(scripted.sizes) > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("close", "reopen"),
    [
        (lambda runtime: park(runtime, "account:act_801"), unpark),
        (break_upstream, mend_upstream),
    ],
)
def test_a_run_that_waits_holds_no_slot_and_finishes_by_itself(
    dags: dict[str, Any],
    runtime: Runtime,
    monkeypatch: pytest.MonkeyPatch,
    close: Callable[[Runtime], None],
    reopen: Callable[[Runtime], None],
) -> None:
    """The warming task is seen deferred, with a trigger's row and no slot taken; afterwards the run ends well."""
    import airflow.sdk.definitions.dag as running
    from airflow.models.pool import Pool
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session

    from adwarm_airflow.triggers import capacity

    monkeypatch.setattr(capacity, "RECHECK_SECONDS", 0.05)
    once, seen = running._run_task, []

    def wait_as_the_triggerer_does(*, ti: Any, task: Any, run_triggerer: bool = False) -> Any:
        done = once(ti=ti, task=task)
        if ti.state != "deferred":
            return done
        with create_session() as session:
            own = select(Trigger).join(TaskInstance, TaskInstance.trigger_id == Trigger.id)
            row = session.scalars(own.where(TaskInstance.id == ti.id)).one()
            taken = Pool.get_pool("default_pool", session=session).occupied_slots(session=session)
            seen.append((ti.task_id, row.classpath, taken))
            trigger, number = capacity.CapacityTrigger(**row.kwargs), row.id
        [event] = asyncio.run(_events([trigger], lambda: reopen(runtime)))
        with create_session() as session:
            Trigger.submit_event(number, event, session=session)
        ti.refresh_from_db()
        return wait_as_the_triggerer_does(ti=ti, task=task)

    monkeypatch.setattr(running, "_run_task", wait_as_the_triggerer_does)
    close(runtime)
    finished = dags["adwarm_strategy_warming"].test(logical_date=None, run_conf=FORM)

    assert seen == [("warm", "adwarm_airflow.triggers.capacity.CapacityTrigger", 0)]
    assert finished.state == "success"
    assert runtime.queue is not None


def test_a_backfill_yields_to_live_warming(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backfilled day is planned in the lowest class, and a live warm that asks later is admitted before it."""
    from adwarm_airflow.tasks import daily

    monkeypatch.setenv("ADWARM_BACKPRESSURE__MAX_CONCURRENT", "1")
    day = datetime(2026, 1, 5, tzinfo=UTC)
    run = SimpleNamespace(run_type="backfill", dag_id="adwarm_daily_insights", run_id="b", run_after=day)
    interval = {"data_interval_start": day, "data_interval_end": day.replace(day=6), "logical_date": day}
    ti = SimpleNamespace(xcom_push=lambda *_: None, try_number=1)
    daily.plan_day({"dag_run": run, "ti": ti, "params": {"accounts": ["act_801"]}, **interval})
    [planned] = {row.priority for row in warms.list_by_run(runtime.engine, "adwarm_daily_insights/b")}

    budget = Runtime().admission
    backfill, live = (Scope.parse(f"account:act_{number}") for number in (801, 802))

    def ask(scope: Scope, priority: Priority) -> object:
        return budget.admit(CallRequest((scope,), priority, "meta"))

    first = ask(backfill, planned)
    assert isinstance(first, Grant)
    turned_away = [ask(backfill, Priority.LOW), ask(live, Priority.NORMAL)]
    budget.release(first, CallOutcome(CallOutcomeKind.OK, 0.1))
    then = [ask(backfill, Priority.LOW), ask(live, Priority.NORMAL)]

    assert (planned.name, [isinstance(answer, Grant) for answer in turned_away + then]) == (
        "LOW",
        [False] * 3 + [True],
    )


def test_what_waits_for_a_report_is_woken_by_time(runtime: Runtime) -> None:
    """Capacity is no help there: the trigger fires at its deadline, with no call to preview or no capacity."""
    from adwarm_airflow.triggers import CapacityTrigger

    park(runtime, "account:act_801")
    timed = [CapacityTrigger(_chains(*names), "low", "meta", 0.6) for names in ((), ("account:act_801",))]
    fired = asyncio.run(_events(timed))
    assert all(0.5 < event.payload["waited_seconds"] < 10 for event in fired)
    path, values = timed[0].serialize()
    assert CapacityTrigger(**values).serialize() == (path, values)


def test_a_warm_waits_in_the_class_of_its_plan(runtime: Runtime) -> None:
    """The trigger asks for the most urgent parked key of the batch, not for the operator's default."""
    from airflow.sdk.exceptions import TaskDeferred

    from adwarm_airflow.operators import WarmBatchOperator

    now = datetime.now(UTC)
    places = {"act_803": Priority.NORMAL, "act_804": Priority.HIGH, "act_805": Priority.CRITICAL}
    rows = [
        PlannedWarm(
            key=ReportKey(name, "yesterday"),
            reason=WarmReason.STRATEGY,
            priority=priority,
            decided_at=now,
            warm_at=now,
        )
        for name, priority in places.items()
    ]
    warms.replace_plan(runtime.engine, "dag/r", rows)
    run = SimpleNamespace(run_type="manual", dag_id="dag", run_id="r", run_after=now)
    for name in ("act_803", "act_804"):
        park(runtime, f"account:{name}")

    with pytest.raises(TaskDeferred) as deferred:
        WarmBatchOperator(task_id="warm", batch=0).execute({**CONTEXT, "dag_run": run})
    _, values = deferred.value.trigger.serialize()
    assert values["priority"] == "high"
    assert {chain[0] for chain in values["chains"]} == {"account:act_803", "account:act_804"}


def test_a_task_waits_for_the_scopes_of_each_accounts_own_connection(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account of the second connection draws on that one's app, and waits for it."""
    from airflow.sdk.exceptions import TaskDeferred

    from adwarm_airflow.operators import PrefetchInsightsOperator

    extra = json.loads(os.environ["AIRFLOW_CONN_FACEBOOK_DEFAULT"])["extra"] | {"app_id": "200"}
    monkeypatch.setenv("AIRFLOW_CONN_SECOND", json.dumps({"conn_type": "facebook_social", "extra": extra}))
    stored = [Account("act_806", connection="facebook_default"), Account("act_807", connection="second")]
    accounts.save(runtime.engine, stored, datetime.now(UTC))
    for item in stored:
        park(runtime, f"account:{item.id}")
    operator = PrefetchInsightsOperator(
        task_id="t", accounts=[item.id for item in stored], date_ranges=["today"], conn_id="facebook_default, second"
    )
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(CONTEXT)
    chains = {chain[0]: chain[1] for chain in deferred.value.trigger.serialize()[1]["chains"]}
    assert chains == {"account:act_806": "app:100000", "account:act_807": "app:200"}
