"""Tests of previewing admission for calls that wait."""

from collections.abc import Callable
from random import Random

import pytest
from sqlalchemy import Engine, event, select

from adwarm.backpressure import CallOutcome, CallOutcomeKind, Grant, SqlAdmission
from adwarm.backpressure.admission import CallRequest
from adwarm.backpressure.capacity_preview import CapacityPreview, preview_capacity
from adwarm.foundation.gate import OpenedBy
from adwarm.model import Priority, Scope
from adwarm.settings import BackpressureSettings
from adwarm.store import capacity
from adwarm.store.capacity import MachineLoad, capacity_grant, capacity_scope
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.gates import table as gate
from tests.support.gate_rows import isolation_row

from .conftest import DatabaseClock

Make = Callable[..., SqlAdmission]
ONE, TWO, APP = Scope.parse("account:act_1"), Scope.parse("account:act_2"), Scope.parse("app:7")


def request(*scopes: Scope, priority: Priority = Priority.LOW) -> CallRequest:
    """A call to the source "meta"."""
    return CallRequest(scopes, priority, "meta")


def make_call(admission: SqlAdmission, scope: Scope, outcome: CallOutcome) -> None:
    """Make one call with this outcome."""
    decision = admission.admit(CallRequest((scope,), Priority.CRITICAL, "meta"))
    assert isinstance(decision, Grant)
    admission.release(decision, outcome)


@pytest.fixture
def preview(engine: Engine, time: DatabaseClock) -> Callable[..., list[CapacityPreview]]:
    """Previews calls, at the database's time."""

    def _preview(*waiters: CallRequest, **changes: int) -> list[CapacityPreview]:
        return preview_capacity(engine, BackpressureSettings(**changes), waiters, database_time=time)

    return _preview


def test_an_unused_budget_has_capacity(preview: Callable[..., list[CapacityPreview]]) -> None:
    """Scopes without a row may be called."""
    assert preview(request(ONE, APP), request()) == [CapacityPreview(0.0), CapacityPreview(0.0)]


def test_a_parked_call_waits_until_the_park_ends(
    make: Make, time: DatabaseClock, preview: Callable[..., list[CapacityPreview]]
) -> None:
    """A call on a parked account waits until the park ends; a call on another account does not."""
    make_call(make(), ONE, CallOutcome(CallOutcomeKind.THROTTLED, park_seconds=600))
    parked, free = preview(request(ONE, APP), request(TWO, APP))

    assert 600 <= parked.wait_seconds <= 660
    assert "parked" in parked.reason
    assert (parked.is_queueing, free.wait_seconds) == (False, 0.0)
    time.now += parked.wait_seconds
    assert preview(request(ONE, APP)) == [CapacityPreview(0.0)]


def test_an_open_breaker_is_waited_for(
    make: Make, time: DatabaseClock, preview: Callable[..., list[CapacityPreview]]
) -> None:
    """Every call to the source waits for the cool-down; then a probe may go."""
    for number in range(10):
        make_call(make(), Scope.parse(f"account:act_{50 + number}"), CallOutcome(CallOutcomeKind.FAILED))
    [found] = preview(request(TWO))

    assert (found.wait_seconds, found.is_queueing) == (30.0, False)
    time.now += 30
    assert preview(request(TWO)) == [CapacityPreview(0.0)]


def test_a_full_fleet_means_queueing(
    make: Make, time: DatabaseClock, preview: Callable[..., list[CapacityPreview]]
) -> None:
    """A slot may become free at any time; the slot of a dead worker does when its lease expires."""
    admission = make(max_concurrent=2)
    for _ in range(2):
        assert isinstance(admission.admit(CallRequest((ONE,), Priority.LOW, "meta")), Grant)
    [found] = preview(request(TWO), max_concurrent=2)

    assert (found.is_queueing, found.wait_seconds > 0) == (True, True)
    time.now += 31
    assert preview(request(TWO), max_concurrent=2) == [CapacityPreview(0.0)]


def load_machine(engine: Engine, limit: int | None) -> None:
    """Hold the calls of the machine `one` to a limit."""
    load = MachineLoad(
        machine="one", read_at=0.0, memory_percent=90.0, cpu_percent=9.0, cpu_busy=1.0, cpu_total=2.0, is_high=True,
        since=0.0, calls=1, limit=limit, full=8,
    )  # fmt: skip
    capacity.renew_load(engine, "one", lambda _: load)


def test_all_that_would_refuse_a_call_is_asked(
    engine: Engine, make: Make, time: DatabaseClock, preview: Callable[..., list[CapacityPreview]]
) -> None:
    """A park, an isolated account or connection, and a loaded machine each hold its call back, and no other call."""
    make_call(make(), Scope.parse("account:act_9"), CallOutcome(CallOutcomeKind.THROTTLED, park_seconds=600))
    until = time.now + 90
    with write_transaction(engine) as connection:
        isolated = [isolation_row(name, "open", 0.0, until, "down") for name in ("account:act_8", "connection:down")]
        renewed = isolation_row("connection:renewed", "open", 0.0, until, "dead")
        dead = {**renewed, "opened_by": OpenedBy.CREDENTIAL.value}
        connection.execute(gate.insert(), [*isolated, dead])
    load_machine(engine, limit=1)
    holder = SqlAdmission(engine, BackpressureSettings(), owner="one:9", rng=Random(0), database_time=time)
    held = holder.admit(CallRequest((TWO,), Priority.LOW, "other"))
    assert isinstance(held, Grant)

    calls = {
        name: CallRequest.parse(name.split(), Priority.LOW, "meta")
        for name in ("account:act_9", "account:act_8", "connection:down", "machine:one", "machine:two", "app:7")
    }
    waits = dict(zip(calls, preview(*calls.values()), strict=True))
    assert [name for name, item in waits.items() if item.wait_seconds > 0] == list(calls)[:4]
    assert [round(waits[name].wait_seconds) for name in list(calls)[1:4]] == [90, 90, 1]
    assert (waits["machine:one"].free_calls, waits["machine:two"].free_calls) == (0, None)

    allowed = ["account:act_1", "connection:renewed", "machine:one"]
    assert preview(CallRequest.parse(allowed, Priority.CRITICAL, "meta")) == [CapacityPreview(0.0)]
    holder.release(held, CallOutcome(CallOutcomeKind.OK))
    assert preview(CallRequest.parse(allowed, Priority.LOW, "meta")) == [CapacityPreview(0.0, free_calls=1)]


def test_many_calls_take_one_set_of_queries_that_only_read(
    engine: Engine, make: Make, preview: Callable[..., list[CapacityPreview]]
) -> None:
    """A hundred calls take as many statements as one, and nothing is written."""
    make_call(make(), ONE, CallOutcome(CallOutcomeKind.THROTTLED, park_seconds=600))

    def rows() -> list[object]:
        with read_transaction(engine) as connection:
            return [
                connection.execute(select(table)).mappings().all() for table in (capacity_scope, capacity_grant, gate)
            ]

    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    before = rows()
    event.listen(engine, "before_cursor_execute", note)
    try:
        preview(request(ONE, APP))
        for_one = len(statements)
        preview(*(request(Scope.parse(f"account:act_{number}"), APP) for number in range(100)))
    finally:
        event.remove(engine, "before_cursor_execute", note)

    assert len(statements) == 2 * for_one
    assert not any(text.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")) for text in statements)
    assert rows() == before
