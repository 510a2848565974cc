"""Tests of the look that tells waiters when to ask again."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, event, select

from adwarm.backpressure import CallOutcome, CallOutcomeKind, Granted, SqlAdmission
from adwarm.backpressure.sql_admission import CallRequest, CapacityPreview, preview_capacity
from adwarm.model import Priority, Scope
from adwarm.settings import BackpressureSettings
from adwarm.store.database import read_transaction
from adwarm.store.tables import breaker, capacity_grant, capacity_scope

from .conftest import DatabaseClock

Make = Callable[..., SqlAdmission]
ONE, TWO, APP = Scope.parse("account:act_1"), Scope.parse("account:act_2"), Scope.parse("app:7")


def waiter(*scopes: Scope, priority: Priority = Priority.LOW) -> CallRequest:
    """A call to the source "meta"."""
    return CallRequest(scopes, priority, "meta")


def settle(admission: SqlAdmission, scope: Scope, outcome: CallOutcome) -> None:
    """Make one call that ends like this."""
    decision = admission.admit([scope], Priority.CRITICAL, source="meta")
    assert isinstance(decision, Granted)
    admission.release(decision.grant, outcome)


@pytest.fixture
def look(engine: Engine, time: DatabaseClock) -> Callable[..., list[CapacityPreview]]:
    """Looks for waiters, by the database's time."""

    def _look(*waiters: CallRequest, **changes: int) -> list[CapacityPreview]:
        return preview_capacity(engine, BackpressureSettings(**changes), waiters, database_time=time)

    return _look


def test_an_untouched_budget_has_room(look: Callable[..., list[CapacityPreview]]) -> None:
    """Scopes that nobody named yet may be called."""
    assert look(waiter(ONE, APP), waiter()) == [CapacityPreview(0.0), CapacityPreview(0.0)]


def test_a_park_ends_when_it_ends(make: Make, time: DatabaseClock, look: Callable[..., list[CapacityPreview]]) -> None:
    """The parked account waits for its end, one on another account does not, and afterwards there is room."""
    settle(make(), ONE, CallOutcome(CallOutcomeKind.THROTTLED, park_seconds=600))
    parked, free = look(waiter(ONE, APP), waiter(TWO, APP))

    assert 600 <= parked.wait_seconds <= 660
    assert "parked" in parked.reason
    assert (parked.is_queueing, free.wait_seconds) == (False, 0.0)
    time.now += parked.wait_seconds
    assert look(waiter(ONE, APP)) == [CapacityPreview(0.0)]


def test_a_broken_upstream_is_waited_for(
    make: Make, time: DatabaseClock, look: Callable[..., list[CapacityPreview]]
) -> None:
    """Everybody on the source waits for the cool-down; then a probe may go."""
    for number in range(10):
        settle(make(), Scope.parse(f"account:act_{50 + number}"), CallOutcome(CallOutcomeKind.FAILED))
    [found] = look(waiter(TWO))

    assert (found.wait_seconds, found.is_queueing) == (30.0, False)
    time.now += 30
    assert look(waiter(TWO)) == [CapacityPreview(0.0)]


def test_a_full_fleet_is_queued_for(
    make: Make, time: DatabaseClock, look: Callable[..., list[CapacityPreview]]
) -> None:
    """Want of a slot may end at any moment; that of a worker that died ends with its lease."""
    admission = make(max_concurrent=2)
    for _ in range(2):
        assert isinstance(admission.admit([ONE], Priority.LOW, source="meta"), Granted)
    [found] = look(waiter(TWO), max_concurrent=2)

    assert (found.is_queueing, found.wait_seconds > 0) == (True, True)
    time.now += 31
    assert look(waiter(TWO), max_concurrent=2) == [CapacityPreview(0.0)]


def test_many_waiters_are_one_look_that_only_reads(
    engine: Engine, make: Make, look: Callable[..., list[CapacityPreview]]
) -> None:
    """A hundred waiters take as many statements as one, and nothing is written."""
    settle(make(), ONE, CallOutcome(CallOutcomeKind.THROTTLED, park_seconds=600))

    def rows() -> list[object]:
        with read_transaction(engine) as connection:
            return [
                connection.execute(select(table)).mappings().all()
                for table in (capacity_scope, capacity_grant, breaker)
            ]

    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    before = rows()
    event.listen(engine, "before_cursor_execute", note)
    try:
        look(waiter(ONE, APP))
        for_one = len(statements)
        look(*(waiter(Scope.parse(f"account:act_{number}"), APP) for number in range(100)))
    finally:
        event.remove(engine, "before_cursor_execute", note)

    assert len(statements) == 2 * for_one
    assert not any(text.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")) for text in statements)
    assert rows() == before
