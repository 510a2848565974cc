"""Tests of which error counts against which scope, through the pipeline."""

from collections.abc import Callable
from datetime import UTC, datetime
from random import Random

import pytest

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import (
    AdwarmError,
    BadRequest,
    Blocked,
    Corrupt,
    Denied,
    Isolated,
    NotAdmitted,
    NotFound,
    Refused,
    Throttled,
    TokenDead,
    TooMuchData,
    Transient,
)
from adwarm.foundation.gate import Rule
from adwarm.recovery import Call, Failure, Fallback, RecoveryPipeline, RunOptions
from adwarm.recovery.isolation import IsolationTracker
from adwarm.settings import RecoverySettings
from tests.support.gate_rows import list_isolated
from tests.support.memory_recovery import MemoryGates, memory_options

from .conftest import MemoryJournal

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
ONE_TRY = RecoverySettings(max_attempts=1)
CALL = Call("meta", "main", "act_1")


class Runs:
    """A pipeline, its isolations, and an upstream that the test breaks."""

    def __init__(self, clock: VirtualClock, journal: MemoryJournal) -> None:
        self.store = MemoryGates()
        self.failing_sources: set[str] = set()
        self.tracker = IsolationTracker(self.store, ONE_TRY, clock)
        self.journal = journal
        self.calls = 0
        self.pipeline = RecoveryPipeline(
            ONE_TRY,
            journal,
            clock,
            Random(1),
            **memory_options(clock, gates=self.store, is_source_failing=self.failing_sources.__contains__),
        )

    def run(self, call: Call, error: Exception | None = None, options: RunOptions | None = None) -> Exception | None:
        """Run an operation that fails with `error`, and return what it raised."""

        def operation() -> str:
            self.calls += 1
            if error is not None:
                raise error
            return "rows"

        try:
            self.pipeline.run(operation, call=call, options=options)
        except Exception as raised:
            return raised
        return None

    def isolated(self) -> list[str]:
        """Return the isolated scopes."""
        return [state.scope for state in list_isolated(self.tracker)]


@pytest.fixture
def runs(clock: VirtualClock, journal: MemoryJournal) -> Runs:
    """A healthy upstream."""
    return Runs(clock, journal)


TABLE: list[tuple[Exception, list[str]]] = [
    (TokenDead(), ["connection:main"]),
    (Blocked(scope="app:1", until=NOON), ["connection:main"]),
    (Corrupt(), ["account:act_1"]),
    (BadRequest("no such field"), ["account:act_1"]),
    (Transient("down"), ["account:act_1"]),
    (ConnectionResetError(), ["account:act_1"]),
    (TimeoutError(), ["account:act_1"]),
    (TooMuchData(), []),
    (NotFound(), []),
    (Denied(account_id="act_1"), []),
    (Throttled(scope="account:act_1", until=NOON), []),
    (NotAdmitted(scope="account:act_1", until=NOON), []),
    (Refused(retry_after=10), []),
    (KeyError("a bug"), []),
]


def test_each_class_of_error_counts_against_its_scope(clock: VirtualClock, subtests: pytest.Subtests) -> None:
    """Five runs that end with it isolate what it says something about, and nothing else."""
    for error, scopes in TABLE:
        with subtests.test(error=error):
            runs = Runs(clock, MemoryJournal())
            for _ in range(5):
                runs.run(CALL, error)

            assert runs.isolated() == scopes


def test_stored_data_is_never_isolated(runs: Runs) -> None:
    """A damaged object says nothing about the platform."""
    for _ in range(20):
        runs.run(Call("store", account_id="act_1"), Corrupt())

    assert runs.isolated() == []


def test_the_default_connection_has_the_name_of_its_source(runs: Runs) -> None:
    """So a dead token of one source does not isolate another one."""
    for _ in range(5):
        runs.run(Call("meta", account_id="act_1"), TokenDead())

    assert runs.isolated() == ["connection:meta"]
    assert isinstance(runs.run(Call("meta", account_id="act_2")), Isolated)
    assert runs.run(Call("warehouse", account_id="act_1")) is None


def test_an_isolated_call_is_not_made(runs: Runs, clock: VirtualClock) -> None:
    """The error says for how long; it is not a failure and is not recorded. A fallback is used."""
    for _ in range(5):
        runs.run(CALL, BadRequest("no such field"))
    clock.sleep(100)
    calls, events = runs.calls, len(runs.journal.events)
    error = runs.run(CALL)
    assert isinstance(error, Isolated)
    assert (error.scope, error.retry_after) == ("account:act_1", pytest.approx(200))
    assert "not called: account:act_1 is isolated for another 200 s" in error.__notes__
    stored = Fallback("entry", lambda: "stale rows", 1.0)
    outcome = runs.pipeline.run(lambda: "rows", call=CALL, fallbacks=[stored])

    assert (outcome.value, outcome.attempts, outcome.is_degraded) == ("stale rows", 0, True)
    assert outcome.actions == ("not called: account:act_1 is isolated for another 200 s", "fallback entry")
    assert (runs.calls, len(runs.journal.events)) == (calls, events)
    assert runs.run(Call("meta", "main", "act_2")) is None


def test_isolation_can_be_switched_off(runs: Runs) -> None:
    """For a run by its policy; it neither counts nor is refused."""
    off = RunOptions(policy=RecoverySettings(max_attempts=1, isolate=False))
    for _ in range(10):
        assert isinstance(runs.run(CALL, TokenDead(), off), TokenDead)
    assert runs.isolated() == []
    for _ in range(5):
        runs.run(CALL, TokenDead())

    assert runs.run(CALL, None, off) is None


def test_one_bad_account_is_isolated_and_no_other(runs: Runs) -> None:
    """Its failures lie between the successes of the others."""
    for _ in range(5):
        runs.run(CALL, Transient("down"))
        for number in range(2, 5):
            assert runs.run(Call("meta", "main", f"act_{number}")) is None

    assert runs.isolated() == ["account:act_1"]


def test_an_outage_of_the_platform_isolates_no_account(runs: Runs) -> None:
    """Every account fails five times before any breaker has opened; only the first two failures are counted."""
    for _ in range(5):
        for number in range(200):
            runs.run(Call("meta", "main", f"act_{number}"), Transient("down"))

    assert runs.isolated() == []
    assert sum(gate.data["failures"] for gate in runs.store.list_gates(0.0, Rule.ISOLATION)) == 2


def test_while_the_breaker_of_the_source_is_open_nothing_counts(runs: Runs) -> None:
    """A platform with a single account fails too, and its breaker is enough."""
    runs.failing_sources.add("meta")
    for _ in range(20):
        runs.run(CALL, Transient("down"))

    assert runs.isolated() == []


def test_a_connection_that_fails_while_another_works_is_isolated(runs: Runs, clock: VirtualClock) -> None:
    """Its accounts fail between the successes of the other connection."""
    for number in range(8):
        runs.run(Call("meta", "bad", f"act_{number % 4}"), Transient("down"))
        clock.sleep(0.1)
        runs.run(Call("meta", "good", "act_9"))

    assert "connection:bad" in runs.isolated()
    assert "connection:good" not in runs.isolated()


def test_a_success_that_began_before_the_failure_proves_nothing(runs: Runs, clock: VirtualClock) -> None:
    """Calls in flight when an outage begins end well, and isolate no connection."""
    for number in range(20):
        runs.run(Call("meta", "one", f"act_{number}"), Transient("down"))
        runs.run(Call("meta", "two", f"act_{number + 100}"), Transient("down"))

    assert [scope for scope in runs.isolated() if scope.startswith("connection")] == []


class Renewal:
    """Reads the token again; it helps once a human has renewed it."""

    action = "token_refresh"
    cooldown_seconds = 60.0
    is_renewed = False
    adoptions = 0

    def matches(self, failure: Failure) -> bool:
        return isinstance(failure.error, TokenDead)

    def scope(self, failure: Failure) -> str:
        return failure.call.connection

    def heal(self, failure: Failure) -> str:
        return "read again"

    def adopt(self, failure: Failure) -> bool:
        self.adoptions += 1
        return self.is_renewed


def test_a_renewed_token_ends_the_isolation(runs: Runs, clock: VirtualClock) -> None:
    """A human who renews the token waits for no isolation; until then no call is made."""
    healer = Renewal()
    healing = RunOptions(healers=[healer])
    for _ in range(5):
        runs.run(CALL, TokenDead(), healing)
    calls = runs.calls
    clock.sleep(61)
    assert isinstance(runs.run(CALL, None, healing), Isolated)
    assert runs.calls == calls
    healer.is_renewed = True
    clock.sleep(61)

    assert runs.run(CALL, None, healing) is None
    assert runs.isolated() == []


def test_keys_that_are_refused_do_not_all_look_for_a_token(runs: Runs, clock: VirtualClock) -> None:
    """A thousand keys of an isolated connection look once in ten seconds."""
    healer = Renewal()
    healing = RunOptions(healers=[healer])
    for _ in range(5):
        runs.run(CALL, TokenDead(), healing)
    clock.sleep(61)
    before = healer.adoptions
    for _ in range(1_000):
        assert isinstance(runs.run(CALL, None, healing), Isolated)

    assert healer.adoptions == before + 1


def test_a_healed_run_is_a_success(runs: Runs) -> None:
    """What was healed at once counts against nothing."""
    healer = Renewal()
    healer.is_renewed = True
    for _ in range(20):
        outcomes: list[AdwarmError | str] = [TokenDead(), "rows"]

        def operation(outcomes: list[AdwarmError | str] = outcomes) -> str:
            outcome = outcomes.pop(0)
            if isinstance(outcome, AdwarmError):
                raise outcome
            return outcome

        runs.pipeline.run(operation, call=CALL, options=RunOptions(healers=[healer]))

    assert runs.isolated() == []


def test_an_isolation_store_that_fails_stops_no_call(clock: VirtualClock, journal: MemoryJournal) -> None:
    """Calls are made, and their own errors raised."""
    failing: Callable[[str], bool] = lambda source: 1 / 0 > 1  # noqa: E731
    pipeline = RecoveryPipeline(ONE_TRY, journal, clock, Random(1), **memory_options(clock, is_source_failing=failing))

    def down() -> str:
        raise Transient("down")

    for _ in range(8):
        with pytest.raises(Transient):
            pipeline.run(down, call=CALL)
