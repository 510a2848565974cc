"""Tests of admission under memory pressure."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Engine, update

from adwarm.backpressure import CallOutcome, CallOutcomeKind, Decision, Grant, Granted, MemoryAwareAdmission, Wait
from adwarm.backpressure.memory_pressure import machine_turn, memory_used_percent
from adwarm.foundation.clock import VirtualClock
from adwarm.model import Priority, Scope
from adwarm.store import write_transaction
from adwarm.store.tables import lease

GRANT = Grant("g", (), Priority.LOW, 1.0, 0.0, 30.0, "meta")


class OpenAdmission:
    """Grants every call."""

    def __init__(self) -> None:
        self.released = 0

    def admit(self, scopes: Sequence[Scope], priority: Priority, cost: float = 1.0, *, source: str) -> Decision:
        return Granted(GRANT)

    def renew(self, grant: Grant) -> Grant:
        return grant

    def release(self, grant: Grant, outcome: CallOutcome) -> None:
        self.released += 1


def test_admission_slows_to_one_call_a_second(clock: VirtualClock) -> None:
    """One call a second passes while memory is short; critical calls, and all calls otherwise, pass at once."""
    percent = [85.0]
    admission = MemoryAwareAdmission(OpenAdmission(), clock, 80.0, lambda: percent[0])

    assert Granted(GRANT) == admission.admit([], Priority.LOW, source="meta")
    clock.sleep(0.4)
    answer = admission.admit([], Priority.LOW, source="meta")
    assert isinstance(answer, Wait)
    assert round(answer.seconds, 6) == 0.6
    assert "memory is at 85 %" in answer.reason
    assert Granted(GRANT) == admission.admit([], Priority.CRITICAL, source="meta")
    clock.sleep(answer.seconds)
    assert Granted(GRANT) == admission.admit([], Priority.LOW, source="meta")
    percent[0] = 60.0
    assert Granted(GRANT) == admission.admit([], Priority.LOW, source="meta")


def test_renewing_and_releasing_are_never_held_back(clock: VirtualClock) -> None:
    """Both go to the wrapped admission."""
    wrapped = OpenAdmission()
    admission = MemoryAwareAdmission(wrapped, clock, 80.0, lambda: 99.0)
    admission.release(admission.renew(GRANT), CallOutcome(CallOutcomeKind.OK))

    assert wrapped.released == 1


def test_memory_is_read_from_the_machine() -> None:
    """The default reads real memory."""
    assert 0 < memory_used_percent() <= 100


def test_processes_of_a_machine_take_turns(engine: Engine, clock: VirtualClock) -> None:
    """Processes with a single call each: one call a second per machine; another machine has its own turns."""

    def admitted(machine: str, priority: Priority = Priority.LOW, percent: float = 85.0) -> bool:
        turn = machine_turn(engine, machine)
        admission = MemoryAwareAdmission(OpenAdmission(), clock, 80.0, lambda: percent, turn)
        return isinstance(admission.admit([], priority, source="callable"), Granted)

    assert [admitted(name) for name in ("one", "one", "two")] == [True, False, True]
    assert admitted("one", Priority.CRITICAL)
    assert admitted("one", percent=79.0)
    with write_transaction(engine) as connection:
        connection.execute(update(lease).values(expires_at=datetime(2026, 1, 1, tzinfo=UTC)))
    assert [admitted("one"), admitted("one")] == [True, False]
