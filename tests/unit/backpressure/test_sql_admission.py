"""Tests of admission with its state in SQL, on both databases."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Connection, Engine, event, func, insert, select, text

from adwarm.backpressure import (
    FLEET,
    CallOutcome,
    CallOutcomeKind,
    CallRequest,
    Grant,
    Rejected,
    SharedBudget,
    SqlAdmission,
    Wait,
)
from adwarm.backpressure.shared_budget import EXPIRED_GRANT_SECONDS
from adwarm.backpressure.sql_admission import Rows
from adwarm.foundation.circuit import Breaker
from adwarm.foundation.errors import Transient
from adwarm.foundation.gate import GateState, Rule
from adwarm.model import Priority, Scope, ScopeKind, UsageSample
from adwarm.settings import BackpressureSettings
from adwarm.store.capacity import capacity_grant
from adwarm.store.database import database_time, read_transaction, write_transaction
from adwarm.store.gates import SqlGates, list_closed
from adwarm.store.gates import table as gate
from tests.support.gate_rows import park_row
from tests.support.kill import wait_until

if TYPE_CHECKING:
    from tests.unit.backpressure.conftest import DatabaseClock

Make = Callable[..., SqlAdmission]
ACCOUNT = Scope(ScopeKind.ACCOUNT, "act_1")
OTHER = Scope(ScopeKind.ACCOUNT, "act_2")
APP = Scope(ScopeKind.APP, "main")
OK = CallOutcome(CallOutcomeKind.OK, 0.5)
FAILED = CallOutcome(CallOutcomeKind.FAILED, 0.5)
WAITING = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


def request(
    admission: SqlAdmission, priority: Priority = Priority.NORMAL, scope: Scope = ACCOUNT, cost: float = 1.0
) -> Grant | Wait | Rejected:
    """Request one call."""
    return admission.admit(CallRequest((scope, APP), priority, "meta", cost))


def acquire(admission: SqlAdmission, priority: Priority = Priority.NORMAL, scope: Scope = ACCOUNT) -> Grant:
    """Request one call that must be granted."""
    decision = request(admission, priority, scope)
    assert isinstance(decision, Grant), decision
    return decision


def count_calls(engine: Engine) -> dict[str, int]:
    """Calls that each breaker has counted, by its scope."""
    gates = SqlGates(engine).list_gates(0.0, Rule.BREAKER)
    return {item.scope: sum(part.calls for part in Breaker.from_dict(item.data).intervals) for item in gates}


def open_source_breaker(admission: SqlAdmission) -> None:
    """Let calls of five accounts fail until the source's breaker opens."""
    for number in range(10):
        account = Scope(ScopeKind.ACCOUNT, f"act_{10 + number % 5}")
        admission.release(acquire(admission, scope=account), FAILED)


def test_a_grant_holds_a_slot_of_every_scope_until_it_is_released(make: Make, time: "DatabaseClock") -> None:
    """The scopes run from the account to the fleet, and the status shows the calls in flight."""
    admission = make()
    grant = acquire(admission)

    assert grant.scopes == (ACCOUNT, APP, FLEET)
    assert time.now + 30 == grant.expires_at
    assert [scope.in_flight for scope in admission.status().scopes] == [{"normal": 1}] * 3
    admission.release(grant, OK)
    assert [scope.in_flight for scope in admission.status().scopes] == [{}] * 3


def test_two_processes_share_the_limit(make: Make) -> None:
    """A slot that one process holds is not free for the other until it is released."""
    one, two = make("one", max_concurrent=3), make("two", max_concurrent=3)
    grants = [acquire(one), acquire(two), acquire(one)]

    refused = request(two)
    assert isinstance(refused, Wait)
    assert "all 3 calls" in refused.reason
    one.release(grants[1], OK)
    acquire(two)


def test_a_renewed_grant_lives_on_and_an_expired_one_cannot_be_renewed(make: Make, time: "DatabaseClock") -> None:
    """A live worker keeps its slot; a worker that was paused too long learns that it lost it."""
    admission = make(max_concurrent=1)
    grant = acquire(admission)
    time.now += 20
    grant = admission.renew(grant)
    time.now += 20
    assert isinstance(request(admission), Wait)

    time.now += 11
    with pytest.raises(Transient, match="expired"):
        admission.renew(grant)


def test_rows_of_long_expired_grants_are_removed(make: Make, time: "DatabaseClock", engine: Engine) -> None:
    """The table does not grow with dead workers, and a late outcome still finds its grant."""
    admission = make()
    late = acquire(admission)
    time.now += 31
    admission.release(late, FAILED)
    assert count_calls(engine)["source:meta"] == 1
    acquire(admission)
    time.now += 31 + EXPIRED_GRANT_SECONDS
    admission.release(acquire(admission), OK)

    with read_transaction(engine) as connection:
        assert connection.execute(select(func.count()).select_from(capacity_grant)).scalar_one() == 0


def test_a_throttled_scope_is_parked_and_never_granted_early(make: Make, time: "DatabaseClock") -> None:
    """The account is parked for what the platform asked and no less; other accounts go on."""
    one, two = make("one"), make("two")
    started = time.now
    one.release(acquire(one), CallOutcome(CallOutcomeKind.THROTTLED, 0.1, (), 300.0, ACCOUNT))

    parked = request(two, Priority.CRITICAL)
    assert isinstance(parked, Wait)
    assert 300 <= parked.seconds <= 330
    assert str(ACCOUNT) == parked.scope
    acquire(two, Priority.LOW, OTHER)
    while isinstance(wait := request(two), Wait):
        time.now += max(wait.seconds / 2, 0.01)
    assert time.now >= started + 300


def test_a_throttle_may_name_a_scope_that_the_call_has_not(make: Make, time: "DatabaseClock") -> None:
    """Its own park and limits are kept: another scope's row is read before it is changed."""
    admission = make()
    for _ in range(2):
        admission.release(acquire(admission, scope=OTHER), CallOutcome(CallOutcomeKind.TIMEOUT, 30.0))
        time.now += 1
    admission.release(acquire(admission), CallOutcome(CallOutcomeKind.THROTTLED, 0.1, (), 300.0, OTHER))

    assert isinstance(request(admission, Priority.CRITICAL, OTHER), Wait)
    assert {scope.scope: scope.limit for scope in admission.status().scopes}[str(OTHER)] == 5
    acquire(admission)


def test_an_app_throttle_parks_every_account_and_cuts_the_fleet(make: Make) -> None:
    """A park of the wider scope stops every call on it, and an overloaded platform gets fewer calls at once."""
    admission = make()
    admission.release(acquire(admission), CallOutcome(CallOutcomeKind.THROTTLED, 0.1, (), 60.0, APP))

    assert isinstance(request(admission, Priority.CRITICAL, OTHER), Wait)
    limits = {scope.scope: scope.limit for scope in admission.status().scopes}
    assert (limits["app:main"], limits["fleet"]) == (8, 8)


def test_an_account_at_its_own_quota_cuts_only_its_own_limit(make: Make) -> None:
    """Its figures show that it reached its quota, so the platform is not overloaded."""
    admission = make()
    admission.release(acquire(admission), CallOutcome(CallOutcomeKind.OK, 0.1, (UsageSample(ACCOUNT, 89.0),)))
    admission.release(
        acquire(admission, Priority.CRITICAL), CallOutcome(CallOutcomeKind.THROTTLED, 0.1, (), 60.0, ACCOUNT)
    )

    assert [scope.limit for scope in admission.status().scopes] == [8, 10, 10]


def test_timeouts_cut_the_limit_once_a_second_and_success_restores_it(make: Make, time: "DatabaseClock") -> None:
    """AIMD over processes: 10, cut to 8, cut to 6 a second later, and up again by successes."""
    admission = make(rate_per_second=1000, burst=1000)
    grants = [acquire(admission) for _ in range(5)]
    for grant in grants[:3]:
        admission.release(grant, CallOutcome(CallOutcomeKind.TIMEOUT, 30.0))
    assert admission.status().scopes[-1].limit == 8
    time.now += 1
    admission.release(grants[3], CallOutcome(CallOutcomeKind.TIMEOUT, 30.0))
    assert admission.status().scopes[-1].limit == 6

    for _ in range(6):
        extra = [acquire(admission) for _ in range(5)]
        for grant in extra:
            admission.release(grant, OK)
    assert 8 <= admission.status().scopes[-1].limit <= 10


def test_the_breaker_opens_for_all_and_probes_close_it(make: Make, time: "DatabaseClock", engine: Engine) -> None:
    """Failures seen by one process stop the other; three successful probes close the breaker for both."""
    one, two = make("one"), make("two")
    open_source_breaker(one)

    refused = request(two)
    assert isinstance(refused, Rejected)
    assert (refused.scope, pytest.approx(refused.retry_after)) == ("source:meta", 30)
    [source] = [found for found in list_closed(engine, time.now) if found.account_id is None]
    assert (source.scope, source.state) == ("source:meta", GateState.CLOSED)
    assert source.why == "all 10 calls of 5 accounts or more failed in 60 s"
    time.now += 30
    probes = [acquire(two), acquire(one), acquire(two)]
    assert all(probe.is_probe for probe in probes)
    assert isinstance(request(one), Wait)
    for probe in probes:
        two.release(probe, OK)
    assert not acquire(one).is_probe


def test_every_process_sees_that_a_source_fails(make: Make, time: "DatabaseClock") -> None:
    """From the opening of its breaker until the probes have closed it; a source without calls does not fail."""
    one, other = make(), make()
    assert not other.is_source_failing("meta")
    open_source_breaker(one)
    assert other.is_source_failing("meta")
    assert not other.is_source_failing("warehouse")
    time.now += 31
    for is_failing in (True, True, False):
        grant = acquire(one)
        one.release(grant, CallOutcome(CallOutcomeKind.OK))
        assert other.is_source_failing("meta") == is_failing


def test_an_endless_park_is_cut_and_reported(engine: Engine, time: "DatabaseClock") -> None:
    """A park of a billion minutes, asked for by an error or a figure, ends within the longest one allowed."""
    told: list[tuple[str, float]] = []
    admission = SqlAdmission(
        engine,
        BackpressureSettings(),
        owner="one",
        rng=Random(1),
        database_time=time,
        on_overlong_park=lambda scope, seconds: told.append((str(scope), seconds)),
    )
    admission.release(acquire(admission), CallOutcome(CallOutcomeKind.THROTTLED, 0.1, (), 6e10, ACCOUNT))
    figures = (UsageSample(OTHER, 100.0, float("inf")), UsageSample(APP, float("nan"), 60.0))
    admission.release(
        acquire(admission, scope=Scope(ScopeKind.ACCOUNT, "act_3")), CallOutcome(CallOutcomeKind.OK, 0.1, figures)
    )

    parked = {found.scope: found.remaining_seconds(time.now) for found in list_closed(engine, time.now)}
    assert set(parked) == {str(ACCOUNT), str(OTHER)}
    assert all(77_000 < seconds <= 86_400 for seconds in parked.values())
    assert told == [(str(ACCOUNT), 6e10), (str(OTHER), float("inf"))]


def test_a_stored_endless_park_is_cut(make: Make, time: "DatabaseClock", engine: Engine) -> None:
    """The account is called within a day after the first request, whatever the date of the row."""
    admission = make()
    admission.release(acquire(admission), OK)
    with write_transaction(engine) as connection:
        connection.execute(insert(gate), [park_row(str(ACCOUNT), 1e15)])

    assert isinstance(request(admission), Wait)
    time.now += 86_401
    acquire(admission)


def test_usage_slows_then_admits_only_critical_then_parks(make: Make, time: "DatabaseClock") -> None:
    """The platform's figures control the scope that they name, and the highest one counts."""
    admission = make(rate_per_second=100.0, burst=100)

    def heard(percent: float, regain: float | None = None) -> None:
        time.now += 100
        samples = (UsageSample(APP, 10.0), UsageSample(APP, percent, regain))
        admission.release(acquire(admission, Priority.CRITICAL), CallOutcome(CallOutcomeKind.OK, 0.5, samples))

    heard(80)
    slowed = [request(admission, scope=OTHER) for _ in range(6)][-1]
    assert isinstance(slowed, Wait)
    assert (str(APP), f"{APP} is at its rate limit") == (slowed.scope, slowed.reason)
    heard(92)
    held_back = request(admission, scope=OTHER)
    assert isinstance(held_back, Wait)
    assert "only critical" in held_back.reason
    acquire(admission, Priority.CRITICAL, OTHER)
    heard(100, 600)
    parked = request(admission, Priority.CRITICAL, OTHER)
    assert isinstance(parked, Wait)
    assert 600 <= parked.seconds <= 660


def test_a_figure_from_before_a_park_does_not_count_after_it(make: Make, time: "DatabaseClock") -> None:
    """The platform named the end itself, so the first call after it is admitted."""
    admission = make()
    admission.release(acquire(admission), CallOutcome(CallOutcomeKind.OK, 0.5, (UsageSample(APP, 100.0, 300.0),)))
    time.now += 331

    acquire(admission, Priority.LOW)


def test_a_call_on_a_parked_account_blocks_no_other_class(make: Make, time: "DatabaseClock") -> None:
    """Critical keeps requesting a parked account: low still gets every slot."""
    admission = make()
    admission.release(acquire(admission), CallOutcome(CallOutcomeKind.THROTTLED, 0.1, (), 300.0, ACCOUNT))
    time.now += 3
    assert isinstance(request(admission, Priority.CRITICAL), Wait)

    for _ in range(7):
        acquire(admission, Priority.LOW, OTHER)


def test_threads_of_two_processes_never_exceed_the_limits(engine: Engine) -> None:
    """Eight threads over two admissions, by the database's clock: at most four in flight, one per account."""
    settings = BackpressureSettings(max_concurrent=4, rate_per_second=10_000, burst=10_000)
    admissions = [SqlAdmission(engine, settings, owner=f"p{i}", rng=Random(i)) for i in range(2)]
    guard = threading.Lock()
    running: dict[str, int] = {}
    peaks: list[tuple[int, int]] = []
    granted = threading.Semaphore(0)

    def work(index: int) -> None:
        admission = admissions[index % 2]
        for turn in range(12):
            account = Scope(ScopeKind.ACCOUNT, f"act_{(index + turn) % 5}")
            decision = admission.admit(CallRequest((account, APP), Priority(index % 4), "meta"))
            if not isinstance(decision, Grant):
                continue
            with guard:
                running[account.id] = running.get(account.id, 0) + 1
                peaks.append((sum(running.values()), max(running.values())))
            with guard:
                running[account.id] -= 1
            admission.release(decision, OK)
            granted.release()

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert granted.acquire(blocking=False)
    assert max(total for total, _ in peaks) <= 4
    assert max(account for _, account in peaks) == 1
    assert all(not scope.in_flight for scope in admissions[0].status().scopes)


def lock(connection: Connection) -> float:
    """Lock the budget and return the time that the holder gets."""
    return Rows(connection, SharedBudget(BackpressureSettings(), Random(1))).load(database_time, lock=True)


def lock_and_end(engine: Engine) -> float:
    """Lock the budget, and release it at once."""
    with write_transaction(engine) as connection:
        return lock(connection)


def test_the_time_is_read_after_the_lock_was_taken(engine: Engine) -> None:
    """Who waited for a holder that changed nothing gets the time of afterwards; else time would run backwards."""
    first = lock_and_end(engine)
    if engine.dialect.name == "sqlite":  # a write transaction waits before its first statement
        assert lock_and_end(engine) >= first
        return
    with ThreadPoolExecutor(1) as pool:
        with write_transaction(engine) as connection:
            lock(connection)
            waiter = pool.submit(lock_and_end, engine)
            wait_until(lambda: connection.execute(WAITING).scalar_one(), "the second caller waits", 30)
            released = database_time(connection)
        assert waiter.result(30) >= released > first


def test_only_the_return_of_a_grant_need_not_be_on_disk(make: Make, engine: Engine) -> None:
    """A grant, a renewal and a gate that closes are, so that no limit is exceeded after a crash of PostgreSQL."""
    later = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        later.append("synchronous_commit" in statement)

    def is_later(operation: Callable[[], object]) -> bool:
        later.clear()
        operation()
        return any(later)

    admission = make()
    event.listen(engine, "before_cursor_execute", note)
    try:
        grants = [acquire(admission) for _ in range(2)]
        assert not any(later)
        assert not is_later(lambda: admission.renew(grants[1]))
        assert is_later(lambda: admission.release(grants[0], OK)) is (engine.dialect.name == "postgresql")
        throttled = CallOutcome(CallOutcomeKind.THROTTLED, 0.1, (), 300.0, ACCOUNT)
        assert not is_later(lambda: admission.release(acquire(admission, scope=OTHER), throttled))
    finally:
        event.remove(engine, "before_cursor_execute", note)
