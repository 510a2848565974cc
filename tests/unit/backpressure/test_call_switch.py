"""The switch `calls`: no call of any flow is made while it is off, and each goes on afterwards."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from adwarm.backpressure import CallRequest, Grant, SqlAdmission, Wait
from adwarm.backpressure.admission import CallsStopped
from adwarm.foundation.errors import AdwarmError
from adwarm.maintenance.steps import run_if_due
from adwarm.model import Account, Priority, ReportKey, Scope, ScopeKind, Window
from adwarm.prefetch import KeyRequest
from adwarm.prefetch.backfill import run_backfill
from adwarm.runtime import Runtime
from adwarm.serving import read_or_fetch
from adwarm.settings import Settings
from adwarm.store import accounts
from adwarm.store.switches import Switch, SwitchState, find_stop, set_switch
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.support import fatigue_scores

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
KEY = ReportKey("act_1", "yesterday")


def _turn(engine: Engine, *, is_on: bool) -> None:
    set_switch(engine, SwitchState(Switch.CALLS, is_on, NOW, "ops", "asked to stop"))


def test_the_switch_is_seen_by_the_next_admission(make: Callable[..., SqlAdmission], engine: Engine) -> None:
    """A call waits with who and why, whatever its class; a grant is not renewed; then both go on."""
    admission, scopes = make(), [Scope(ScopeKind.ACCOUNT, "act_1")]
    held = admission.admit(CallRequest(scopes, Priority.LOW, "meta"))
    assert isinstance(held, Grant)
    _turn(engine, is_on=False)
    stopped = admission.admit(CallRequest(scopes, Priority.CRITICAL, "meta"))
    assert isinstance(stopped, Wait)
    assert "calls are switched off" in stopped.reason
    assert "by ops: asked to stop" in stopped.reason
    with pytest.raises(CallsStopped, match="asked to stop"):
        admission.renew(held)
    _turn(engine, is_on=True)
    assert isinstance(admission.admit(CallRequest(scopes, Priority.LOW, "meta")), Grant)
    assert admission.renew(held).token > held.token


@pytest.fixture
def platform() -> Iterator[SimulatorServer]:
    """A simulated platform."""
    with SimulatorServer(SimulatorConfig(accounts=("act_1",), ads=2)) as server:
        yield server


@pytest.fixture
def runtime(platform: SimulatorServer, tmp_path: Path) -> Runtime:
    """An installation that waits for admission a second at most."""
    made = Runtime(
        Settings(
            home=tmp_path,
            source={"graph_url": platform.url, "access_token": "simulated-token"},  # type: ignore[arg-type]  # pydantic makes the sections
            backpressure={"timeout_seconds": 1.0},  # type: ignore[arg-type]
            recovery={"initial_delay_seconds": 0},  # type: ignore[arg-type]
        )
    )
    accounts.save(made.engine, [Account("act_1", "UTC", "UTC", "EUR")], made.clock.now())
    return made


def _warm(runtime: Runtime) -> None:
    runtime.prefetch_engine().run([KeyRequest(KEY)], Priority.CRITICAL)


def _drain(runtime: Runtime) -> None:
    # A request that was given back waits for its next attempt, so each drain has one of its own.
    name = "today" if runtime.queue.list_newest(1) else "yesterday"
    runtime.queue.enqueue(ReportKey("act_1", name), Priority.CRITICAL)
    runtime.queue_worker().drain(5)


def _read(runtime: Runtime) -> None:
    read_or_fetch(runtime.reader, runtime.prefetch_engine, KEY)


def _discover(runtime: Runtime) -> None:
    runtime.account_discovery(with_retries=False).run(runtime.source_factories())


def _maintain(runtime: Runtime) -> None:
    for step in ("check_health", "reconcile", "watch_platform"):
        run_if_due(runtime.maintenance_parts(), step, run_now=True)


def _read_creatives(runtime: Runtime) -> None:
    now = runtime.clock.now()
    fatigue_scores.publish(runtime.engine, [fatigue_scores.make_score("1", now.date(), total=50.0)], 1, True, now)
    run_if_due(runtime.maintenance_parts(), "read_creatives", run_now=True)


def _backfill(runtime: Runtime) -> None:
    day = runtime.clock.now().date() - timedelta(days=40)
    run_backfill(runtime.prefetch_engine(), [Account("act_1", "UTC", "UTC", "EUR")], Window(day, day))


FLOWS: dict[str, Callable[[Runtime], object]] = {
    "warm": _warm,
    "drain": _drain,
    "read": _read,
    "discover": _discover,
    "maintain": _maintain,
    "read_creatives": _read_creatives,
    "backfill": _backfill,
}


@pytest.mark.parametrize("name", FLOWS)
def test_no_flow_calls_while_calls_are_off(name: str, runtime: Runtime, platform: SimulatorServer) -> None:
    """Each flow makes no call while the switch is off, and makes its calls once it is on again."""
    _turn(runtime.engine, is_on=False)
    with suppress(AdwarmError):  # what a flow raises says why, and is its own matter
        FLOWS[name](runtime)
    assert platform.calls()["total"] == 0
    _turn(runtime.engine, is_on=True)
    runtime.__dict__.pop("call_admission", None)  # a process that starts later
    if name != "maintain":  # which probes only what is isolated, and compares only what is stored
        FLOWS[name](Runtime(runtime.settings))
        assert platform.calls()["total"] > 0


def test_plans_name_the_switch(engine: Engine) -> None:
    """A plan that is made while calls are off is cut, with the switch as the reason."""
    assert find_stop(engine) is None
    _turn(engine, is_on=False)
    assert find_stop(engine) == "calls are switched off since 2026-11-25 12:00 UTC by ops: asked to stop"
