"""What is isolated is probed by one cheap call each, and what the probe shows is counted."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from sqlalchemy import Engine

from adwarm.backpressure import CallOutcome, CallRequest
from adwarm.backpressure.admission import CallOutcomeKind, Grant
from adwarm.foundation.clock import SystemClock, VirtualClock
from adwarm.foundation.errors import AdwarmError, Blocked, Denied, VersionEnded
from adwarm.foundation.gate import GateState, Rule
from adwarm.maintenance.health import make_check_health
from adwarm.maintenance.platform_calls import PlatformCalls
from adwarm.maintenance.runner import StepBudget, StepResult
from adwarm.model import Account, Priority, Scope, ScopeKind
from adwarm.recovery import IsolationTracker
from adwarm.runtime import Runtime
from adwarm.settings import BackpressureSettings, RecoverySettings, Settings, SourceSettings
from adwarm.sources.meta.source import MetaSource
from adwarm.store import accounts, write_transaction
from adwarm.store.gates import SqlGates, list_closed, list_due
from adwarm.store.gates import table as gate
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.support.gate_rows import isolation_row, list_isolated

from .isolations import NothingIsolated


@dataclass
class Recorded(NothingIsolated):
    """Keeps what is recorded of scopes."""

    results: dict[str, tuple[bool, str | None]] = field(default_factory=dict)

    def record(self, scope: str, *, failed: bool) -> None:
        """Keep the result."""
        self.results[scope] = (failed, None)

    def record_failure(self, scope: str, error: Exception) -> None:
        """Keep the result."""
        self.results[scope] = (True, str(error))


@pytest.fixture(scope="module")
def platform() -> Iterator[SimulatorServer]:
    """A platform with two accounts."""
    with SimulatorServer(SimulatorConfig(accounts=("act_1", "act_2"), ads=1)) as server:
        yield server


@pytest.fixture
def runtime(engine: Engine, platform: SimulatorServer, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """A runtime with the platform as the source, and a second connection whose token is wrong."""
    monkeypatch.setattr("adwarm.maintenance.health.PROBE_CALLS", 5)
    monkeypatch.setattr("adwarm.backpressure.breakers.BREAKER_PROBES", 1)
    source = SourceSettings(graph_url=platform.url, access_token="simulated-token")
    settings = Settings(
        home=tmp_path,
        database_url=engine.url.render_as_string(hide_password=False),
        source=source,
        connections={"eu": source.model_copy(update={"access_token": source.access_token.__class__("wrong")})},
        backpressure=BackpressureSettings(breaker_min_calls=2, breaker_cooldown_seconds=0.05),
    )
    return Runtime(settings)


def isolate(runtime: Runtime, *scopes: str) -> Recorded:
    """Isolate scopes, in this order, whose time is over."""
    rows = [isolation_row(scope, "open", 0.0, float(number), "down") for number, scope in enumerate(scopes, 1)]
    with write_transaction(runtime.engine) as connection:
        connection.execute(gate.insert(), rows)
    return Recorded()


def check(runtime: Runtime, isolations: IsolationTracker | Recorded) -> StepResult:
    """Run the step."""
    clock = SystemClock()
    calls = PlatformCalls(runtime.context, runtime.call_admission, clock, runtime.source_factories, runtime.isolation)
    return make_check_health(calls, isolations)(None, StepBudget.of(clock, 60))


def test_each_scope_has_its_probe(runtime: Runtime, platform: SimulatorServer) -> None:
    """A working connection and account succeed, a dead token fails; the fallbacks are read; each costs one call."""
    accounts.save(runtime.engine, [Account("act_1", "UTC", "UTC")], runtime.clock.now())
    before = platform.calls()["total"]
    isolations = isolate(runtime, "connection:default", "account:act_1", "connection:eu", "fallback:entry")
    result = check(runtime, isolations)
    assert {scope: failed for scope, (failed, _) in isolations.results.items()} == {
        "connection:default": False,
        "account:act_1": False,
        "connection:eu": True,
        "fallback:entry": False,
    }
    assert (result.counts, platform.calls()["total"] - before) == ({"succeeded": 3, "failed": 1}, 3)
    assert result.problems[0].startswith("connection:eu: TokenDead")
    assert "wrong" not in result.problems[0]


def test_a_failed_probe_keeps_what_ends_the_isolation(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """The class of the error and the refused credential stay, by which a call notices that the token was renewed."""
    monkeypatch.setattr("adwarm.recovery.isolation.ISOLATION_FAILURES", 1)
    clock = VirtualClock(runtime.clock.now())
    rules = RecoverySettings(isolation_seconds=10)
    tracker = IsolationTracker(SqlGates(runtime.engine), rules, clock)
    tracker.record_failure("connection:eu", Blocked("ended", scope="app:1", until=clock.now()))
    clock.sleep(11)
    check(runtime, tracker)
    (isolated,) = list_isolated(tracker)
    source = runtime.source_factories()["eu"]()
    assert (isolated.data["kind"], isolated.data["credential"]) == ("TokenDead", source.credential)


def test_an_ended_version_fails_the_probe(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """No account can be read by it, while the refusal of one account shows that the platform works."""
    isolations = isolate(runtime, "account:act_1")
    for error, failed in ((Denied("no", account_id="act_1"), False), (VersionEnded("old"), True)):

        def refuse(source: MetaSource, account_id: str, error: AdwarmError = error) -> Account:
            raise error

        monkeypatch.setattr(MetaSource, "get_account", refuse)
        check(runtime, isolations)
        assert isolations.results["account:act_1"][0] is failed


def test_a_connection_that_is_not_known_here_is_not_probed(runtime: Runtime, platform: SimulatorServer) -> None:
    """Another connection says nothing about it: no call is made, and nothing is counted for it."""
    before = platform.calls()["total"]
    isolations = isolate(runtime, "connection:agency")
    result = check(runtime, isolations)
    assert (isolations.results, result.counts, platform.calls()["total"]) == ({}, {"unknown": 1}, before)
    assert "no connection has this name here" in result.problems[0]


def test_a_run_makes_a_bounded_number_of_calls(runtime: Runtime, platform: SimulatorServer) -> None:
    """Of what is due, no more is probed than a run may, and the rest is left uncounted."""
    before = platform.calls()["total"]
    isolations = isolate(runtime, *(f"account:act_{number}" for number in range(1, 10)))
    check(runtime, isolations)
    assert platform.calls()["total"] - before == 5


def test_an_open_breaker_is_probed_once_its_time_is_over(runtime: Runtime, platform: SimulatorServer) -> None:
    """Without any traffic the breaker of an account closes again, because maintenance makes its probe."""
    scopes = (Scope(ScopeKind.ACCOUNT, "act_2"),)
    for _ in range(2):
        decision = runtime.admission.admit(CallRequest(scopes, Priority.NORMAL, "meta"))
        assert isinstance(decision, Grant)
        runtime.admission.release(decision, CallOutcome(CallOutcomeKind.FAILED))
    assert [item.state for item in list_closed(runtime.engine)] == [GateState.CLOSED]
    while not list_due(runtime.engine, Rule.BREAKER):
        pass
    assert check(runtime, Recorded()).counts == {"succeeded": 1}
    assert list_closed(runtime.engine) == []


def test_nothing_is_due(runtime: Runtime) -> None:
    """The step is skipped."""
    assert check(runtime, Recorded()).skipped == "nothing is due to be probed"
