"""Tests of isolating what fails: counting, isolation, probes, relapses, and what it costs."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, event

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.gate import Gate, Rule
from adwarm.recovery.isolation import MAX_ISOLATION_SECONDS, IsolationTracker
from adwarm.settings import RecoverySettings
from adwarm.store.gates import SqlGates, list_due
from tests.support.gate_rows import list_isolated
from tests.support.memory_recovery import MemoryGates

BEGIN = datetime(2026, 11, 25, 12, tzinfo=UTC)
SETTINGS = RecoverySettings()
SCOPE = "account:act_1"


@pytest.fixture
def store(engine: Engine) -> SqlGates:
    """The states in SQL, on both databases."""
    return SqlGates(engine)


@pytest.fixture
def tracker(clock: VirtualClock) -> IsolationTracker:
    """A tracker whose states are in memory."""
    return IsolationTracker(MemoryGates(), SETTINGS, clock)


def record(tracker: IsolationTracker, failures: int, successes: int = 0) -> None:
    """Record calls of the account, failures first."""
    for _ in range(failures):
        tracker.record(SCOPE, failed=True, reason="Transient: down", kind="Transient")
    for _ in range(successes):
        tracker.record(SCOPE, failed=False)


def isolate(tracker: IsolationTracker) -> float:
    """Fail until the account is isolated, and return for how long."""
    for _ in range(100):
        record(tracker, 1)
        if seconds := tracker.remaining_seconds(SCOPE):
            return seconds
    raise AssertionError("never isolated")


def test_five_failures_isolate_for_five_minutes(store: SqlGates, clock: VirtualClock) -> None:
    """The state says since when, why and until when; after that time calls may be made."""
    tracker = IsolationTracker(store, SETTINGS, clock)
    record(tracker, 4)
    assert tracker.remaining_seconds(SCOPE) == 0
    record(tracker, 1)

    (state,) = list_isolated(tracker)
    assert (state.scope, state.state, state.data["failures"], state.data["kind"]) == (SCOPE, "closed", 5, "Transient")
    assert (state.since, state.closed_until) == (clock.now().timestamp(), clock.now().timestamp() + 300)
    assert state.why == "all 5 calls failed in 300 s; the last: Transient: down"
    clock.sleep(100)
    assert tracker.remaining_seconds(SCOPE) == pytest.approx(200)
    clock.sleep(200)
    assert tracker.remaining_seconds(SCOPE) == 0


def test_a_dead_token_is_looked_at_again_before_its_isolation_is_over(store: SqlGates, clock: VirtualClock) -> None:
    """Callers learn which credential was refused, and wait five minutes at most, also after relapses."""
    scope = "connection:main"
    for _ in range(3):  # each relapse doubles the isolation
        tracker = IsolationTracker(store, SETTINGS, clock)
        for number in range(5):
            tracker.record(scope, failed=True, kind="TokenDead", account=f"act_{number}", credential="old")
        clock.sleep(list_isolated(tracker)[0].remaining_seconds(clock.now().timestamp()) - 400)
        isolated = IsolationTracker(store, SETTINGS, clock).find_isolation([scope])
        clock.sleep(401)

    assert isolated is not None
    assert (isolated.kind, isolated.credential, isolated.retry_after) == ("TokenDead", "old", 300)


def test_half_of_the_calls_are_too_few_to_isolate(tracker: IsolationTracker) -> None:
    """Five failures isolate only when they are more than half of the calls that were counted."""
    record(tracker, 4, successes=5)
    record(tracker, 1)
    assert tracker.remaining_seconds(SCOPE) == 0
    record(tracker, 1)
    assert tracker.remaining_seconds(SCOPE) > 0


def test_failures_leave_the_window(tracker: IsolationTracker, clock: VirtualClock) -> None:
    """Failures of the window before do not count."""
    record(tracker, 4)
    clock.sleep(330)
    record(tracker, 4)

    assert tracker.remaining_seconds(SCOPE) == 0


@pytest.mark.parametrize(("successes", "is_isolated"), [(4, False), (3, True)])
def test_four_of_five_probes_must_succeed(
    store: SqlGates, clock: VirtualClock, successes: int, is_isolated: bool
) -> None:
    """The first five calls after the isolation decide, at a success rate of 0.8."""
    tracker = IsolationTracker(store, SETTINGS, clock)
    record(tracker, 5)
    clock.sleep(300)
    record(tracker, 0, successes)
    record(tracker, 5 - successes)

    assert (tracker.remaining_seconds(SCOPE) > 0) == is_isolated
    assert bool(list_isolated(tracker)) == is_isolated


def test_a_relapse_isolates_for_longer_up_to_an_hour(tracker: IsolationTracker, clock: VirtualClock) -> None:
    """The time doubles with every relapse, whether probes fail or it fails again right after it recovered."""
    waits = []
    for _ in range(6):
        waits.append(isolate(tracker))
        clock.sleep(waits[-1])
    assert waits == [300, 600, 1_200, 2_400, 3_600, 3_600]
    record(tracker, 0, successes=5)
    assert isolate(tracker) == 3_600


def test_a_quiet_window_resets_the_growth(tracker: IsolationTracker, clock: VirtualClock) -> None:
    """After it worked for a whole window, the next isolation lasts five minutes again."""
    clock.sleep(isolate(tracker))
    clock.sleep(isolate(tracker))
    record(tracker, 0, successes=5)
    clock.sleep(301)

    assert isolate(tracker) == 300


@given(st.lists(st.tuples(st.floats(0, 400), st.booleans()), max_size=80))
def test_isolation_always_ends(steps: list[tuple[float, bool]]) -> None:
    """Whatever happens, calls may be made again after the longest isolation."""
    clock = VirtualClock(BEGIN)
    tracker = IsolationTracker(MemoryGates(), SETTINGS, clock)
    for seconds, failed in steps:
        clock.sleep(seconds)
        tracker.record(SCOPE, failed=failed)
        assert tracker.remaining_seconds(SCOPE) <= MAX_ISOLATION_SECONDS
    clock.sleep(MAX_ISOLATION_SECONDS)
    assert tracker.remaining_seconds(SCOPE) == 0


def test_a_clock_that_jumps_back_prolongs_no_isolation(tracker: IsolationTracker, clock: VirtualClock) -> None:
    """The remaining time is bounded by the longest isolation."""
    isolate(tracker)
    clock.set(BEGIN - timedelta(days=300))

    assert tracker.remaining_seconds(SCOPE) <= MAX_ISOLATION_SECONDS


def test_other_processes_see_it(engine: Engine, clock: VirtualClock) -> None:
    """The state is in the database, so another task knows it within a second."""
    other = IsolationTracker(SqlGates(engine), SETTINGS, clock)
    assert other.remaining_seconds(SCOPE) == 0
    record(IsolationTracker(SqlGates(engine), SETTINGS, clock), 5)
    clock.sleep(1)

    assert other.remaining_seconds(SCOPE) == pytest.approx(299)
    assert other.remaining_seconds("account:act_2") == 0


def test_concurrent_failures_are_all_counted(
    engine: Engine, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of twenty failures that twenty threads record at the same time, none is lost."""
    monkeypatch.setattr("adwarm.recovery.isolation.ISOLATION_FAILURES", 20)
    barrier = threading.Barrier(20)

    def fail() -> None:
        tracker = IsolationTracker(SqlGates(engine), SETTINGS, clock)
        barrier.wait()
        tracker.record(SCOPE, failed=True)

    threads = [threading.Thread(target=fail) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (state,) = list_isolated(IsolationTracker(SqlGates(engine), SETTINGS, clock))
    assert state.data["failures"] == 20


def test_calls_that_succeed_cost_one_read_a_second(engine: Engine, clock: VirtualClock) -> None:
    """A hundred calls of a hundred healthy accounts write nothing; a success after a failure is counted."""
    statements: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def _note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    tracker = IsolationTracker(SqlGates(engine), SETTINGS, clock)
    for second in range(3):
        for number in range(100):
            assert tracker.find_isolation(["connection:meta", f"account:act_{number}"]) is None
            tracker.record("connection:meta", failed=False)
            tracker.record(f"account:act_{number}", failed=False)
        assert len([text for text in statements if text.startswith("SELECT gate")]) == second + 1
        assert not [text for text in statements if text.startswith(("INSERT", "UPDATE"))]
        clock.sleep(1)
    record(tracker, 1, successes=1)
    assert [text for text in statements if text.startswith("INSERT")]


def test_the_longest_isolation_is_the_error(tracker: IsolationTracker, clock: VirtualClock) -> None:
    """It names the scope, since when, why, and until when."""
    record(tracker, 5)
    for _ in range(5):
        tracker.record("connection:main", failed=True, reason="TokenDead: expired", kind="TokenDead")
    clock.sleep(10)
    error = tracker.find_isolation(["connection:main", SCOPE])
    assert error is not None
    assert (error.scope, error.retry_after, error.kind) == ("connection:main", 290, "TokenDead")
    since, until = (f"{clock.now() + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S}" for seconds in (-10, 290))
    assert str(error) == (
        f"connection:main is isolated since {since} until {until} UTC: all 5 calls failed in 300 s; the last: "
        "TokenDead: expired; it is tested then"
    )


def test_idle_scopes_wait_for_a_probe(engine: Engine, clock: VirtualClock) -> None:
    """Scopes whose time is over come first, the longest over first; then those that lack probes."""
    tracker = IsolationTracker(SqlGates(engine), SETTINGS, clock)

    def list_scopes() -> list[str]:
        return [gate.scope for gate in list_due(engine, Rule.ISOLATION, clock.now().timestamp())]

    for scope in ("account:act_1", "account:act_2", "account:act_3", "account:act_4"):
        for _ in range(5):
            tracker.record(scope, failed=True)
        clock.sleep(100)
    assert list_scopes() == ["account:act_1", "account:act_2"]
    tracker.record("account:act_1", failed=False)

    assert list_scopes() == ["account:act_2", "account:act_1"]
    assert [state.state for state in list_isolated(tracker)] == ["testing", "closed", "closed", "closed"]


def test_healthy_scopes_are_deleted(engine: Engine, clock: VirtualClock) -> None:
    """Only those that are not isolated, and whose failures had stopped counting."""
    gates = SqlGates(engine)
    tracker = IsolationTracker(gates, SETTINGS, clock)
    record(tracker, 5)
    tracker.record("account:act_2", failed=True)
    clock.sleep(200)
    tracker.record("account:act_3", failed=True)
    assert gates.delete_ended(clock.now().timestamp()) == 0
    clock.sleep(200)

    assert gates.delete_ended(clock.now().timestamp()) == 1
    assert [state.scope for state in list_isolated(tracker)] == [SCOPE]


def test_an_isolation_can_be_released(store: SqlGates, clock: VirtualClock) -> None:
    """Calls may be made at once; a relapse is isolated for the longer time."""
    tracker = IsolationTracker(store, SETTINGS, clock)
    isolate(tracker)
    tracker.release(SCOPE)
    assert tracker.remaining_seconds(SCOPE) == 0
    assert list_isolated(tracker) == []

    assert isolate(tracker) == 600


def test_a_connection_needs_failures_of_several_accounts(tracker: IsolationTracker) -> None:
    """One account, however often it fails, does not isolate its connection; three do."""
    for _ in range(20):
        tracker.record("connection:main", failed=True, account="act_1")
    assert tracker.remaining_seconds("connection:main") == 0
    tracker.record("connection:main", failed=True, account="act_2")
    assert tracker.remaining_seconds("connection:main") == 0
    for _ in range(2):
        tracker.record("connection:main", failed=True, account="act_3")

    assert tracker.remaining_seconds("connection:main") == 300


def test_long_names_are_cut_everywhere(engine: Engine, clock: VirtualClock) -> None:
    """A name longer than its column is still isolated."""
    tracker = IsolationTracker(SqlGates(engine), SETTINGS, clock)
    scope = "fallback:" + "x" * 300
    for _ in range(5):
        tracker.record(scope, failed=True, reason="y" * 5_000)
    clock.sleep(2)

    assert tracker.remaining_seconds(scope) == pytest.approx(298)


class FailingStore(MemoryGates):
    """A store whose database is gone for a while."""

    is_gone = False
    reads = 0

    def list_gates(self, now: float, *rules: Rule) -> list[Gate]:
        self.reads += 1
        if self.is_gone:
            raise OSError("the database is gone")
        return super().list_gates(now, *rules)


def test_a_store_that_fails_is_asked_once_a_second(clock: VirtualClock) -> None:
    """In between the older list serves, so that calls do not queue for a database that is gone."""
    store = FailingStore()
    tracker = IsolationTracker(store, SETTINGS, clock)
    isolate(tracker)
    store.is_gone = True
    clock.sleep(1)
    reads = store.reads
    with pytest.raises(OSError, match="gone"):
        tracker.remaining_seconds(SCOPE)
    assert [tracker.remaining_seconds(SCOPE) for _ in range(5)] == [299] * 5
    assert store.reads == reads + 1
