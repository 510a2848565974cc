"""Opening a gate goes through the state machines: a park ends, a breaker tests its upstream, an isolation ends."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from adwarm.actions.audit import ActionServices, Doer
from adwarm.actions.open_gates import find_human_cause, list_gates, open_gates
from adwarm.backpressure import CallOutcome, CallOutcomeKind, CallRequest, Grant
from adwarm.backpressure.admission import Rejected
from adwarm.foundation.errors import BadRequest, Blocked
from adwarm.model import Priority, Scope, ScopeKind
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from adwarm.store import denials
from adwarm.store.action_events import list_actions
from tests.unit.conftest import NOW

ACCOUNT = Scope(ScopeKind.ACCOUNT, "act_1")
DOER = Doer("ops", "cli")


@pytest.fixture
def services(engine: Engine, tmp_path: Path) -> ActionServices:
    """Services over an empty database."""
    runtime = Runtime(Settings(home=tmp_path, data_url=str(tmp_path / "data")))
    runtime.__dict__["engine"] = engine
    return runtime.action_services


def _call(services: ActionServices, outcome: CallOutcome) -> None:
    granted = services.admission.admit(CallRequest((ACCOUNT,), Priority.LOW, "meta"))
    assert isinstance(granted, Grant)
    services.admission.release(granted, outcome)


def _open_breaker(services: ActionServices) -> None:
    for _ in range(30):
        decision = services.admission.admit(CallRequest((ACCOUNT,), Priority.LOW, "meta"))
        if not isinstance(decision, Grant):
            return
        services.admission.release(decision, CallOutcome(CallOutcomeKind.FAILED))


def test_an_open_breaker_is_tested_at_once(services: ActionServices) -> None:
    """The next call passes as a probe; when it fails, the breaker opens again."""
    _open_breaker(services)
    assert isinstance(services.admission.admit(CallRequest((ACCOUNT,), Priority.LOW, "meta")), Rejected)
    [gate] = list_gates(services)
    assert (gate.scope, gate.rule) == ("source:meta account:act_1", "breaker")

    assert open_gates(services, DOER, "account:act_1").startswith(
        "ended: source:meta account:act_1 is not called after failures"
    )
    probe = services.admission.admit(CallRequest((ACCOUNT,), Priority.LOW, "meta"))
    assert isinstance(probe, Grant)
    assert probe.is_probe
    services.admission.release(probe, CallOutcome(CallOutcomeKind.FAILED))
    assert isinstance(services.admission.admit(CallRequest((ACCOUNT,), Priority.LOW, "meta")), Rejected)


def test_the_usage_before_a_released_park_counts_no_more(services: ActionServices) -> None:
    """A scope that was parked at a full quota admits calls of every class after its gate was opened."""
    _call(services, CallOutcome(CallOutcomeKind.THROTTLED, park_seconds=600.0))
    open_gates(services, DOER, "account:act_1")
    assert isinstance(services.admission.admit(CallRequest((ACCOUNT,), Priority.LOW, "meta")), Grant)
    assert list_gates(services) == []


def test_an_isolation_ends_and_names_what_only_a_human_fixes(services: ActionServices) -> None:
    """The platform's block is shown as such; afterwards the connection may be called."""
    for number in range(40):
        error = Blocked("the app is blocked", scope="app:1", until=NOW)
        services.isolation.record_failure("connection:default", error, account=f"act_{number}")
    [gate] = list_gates(services)
    assert (gate.rule, find_human_cause(gate)) == ("isolation", "the platform blocks it")
    open_gates(services, DOER, "connection:default", "appeal granted")
    assert services.isolation.remaining_seconds("connection:default") == 0
    [event] = list_actions(services.context.engine)
    assert (event.actor, event.subject, event.arguments["why"]) == ("ops", "connection:default", "appeal granted")


def test_a_denial_is_lifted(services: ActionServices) -> None:
    """The account of a connection that was denied is called again."""
    engine = services.context.engine
    denials.record(engine, "act_1", "default", "digest", "no role on it", datetime(9000, 1, 1, tzinfo=UTC))
    [gate] = list_gates(services, "account:act_1")
    assert (gate.rule, gate.opened_by, gate.account_id) == ("denial", "credential", "act_1")
    assert "connection:default account:act_1 is denied until" in open_gates(services, DOER, "account:act_1")
    assert list_gates(services) == []


def test_a_name_that_is_no_scope_is_a_recorded_failure(services: ActionServices) -> None:
    """The error lists what to do, and the attempt is recorded."""
    with pytest.raises(BadRequest, match="is not a scope"):
        open_gates(services, DOER, "planet:mars")
    [event] = list_actions(services.context.engine)
    assert (event.succeeded, "is not a scope" in event.detail) == (False, True)


def test_nothing_to_end_is_said(services: ActionServices) -> None:
    """A second release says that nothing holds the scope back."""
    assert "nothing holds account:act_1 back now" in open_gates(services, DOER, "account:act_1")
