"""A loaded machine makes half as many calls at a time, in all of its processes together, and recovers."""

from dataclasses import dataclass, replace
from random import Random

import pytest
from sqlalchemy import Engine

from adwarm.backpressure import (
    CallOutcome,
    CallOutcomeKind,
    CallRequest,
    Decision,
    Grant,
    MachineGuard,
    Rejected,
    SqlAdmission,
    Wait,
)
from adwarm.backpressure.machine_load import Reading, advance, list_machines, read_machine  # before it is replaced
from adwarm.backpressure.process_admission import ProcessAdmission
from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import StorageError
from adwarm.model import Priority, Scope
from adwarm.settings import BackpressureSettings
from adwarm.store import capacity, write_transaction
from adwarm.store.capacity import FORGOTTEN_AFTER_SECONDS, MachineLoad, capacity_grant

SETTINGS = BackpressureSettings()
DONE = CallOutcome(CallOutcomeKind.OK)
GRANT = Grant("g", (), Priority.LOW, 1.0, 0.0, 30.0, "meta")
CALM, FULL_MEMORY = (40.0, 20.0), (81.0, 20.0)
BUSY = (40.0, 71.0)


@dataclass
class Machine:
    """A machine whose memory and processors a test sets, in percent; its processors work two seconds each second."""

    clock: VirtualClock
    memory: float = 40.0
    cpu: float = 20.0
    busy: float = 1_000.0
    total: float = 9_000.0

    def pass_time(self, seconds: float, memory: float, cpu: float) -> None:
        """Let time pass in which it shows these figures."""
        self.memory, self.cpu = memory, cpu
        self.busy += 2 * seconds * cpu / 100
        self.total += 2 * seconds
        self.clock.sleep(seconds)

    def read(self) -> Reading:
        """Return what it shows."""
        return Reading(self.memory, self.busy, self.total)


class OpenAdmission:
    """Gives the same answer to every request, or raises it."""

    def __init__(self, answer: Decision | Exception) -> None:
        self.answer = answer

    def admit(self, call: CallRequest) -> Decision:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def renew(self, grant: Grant) -> Grant:
        return grant

    def release(self, grant: Grant, outcome: CallOutcome) -> None:
        del grant, outcome


def follow(machine: Machine, *steps: tuple[float, tuple[float, float], int]) -> list[int | None]:
    """Return the limit after each step: seconds, what the machine showed in them, and calls in flight at their end."""
    load, limits = None, []
    for seconds, (memory, cpu), calls in steps:
        machine.pass_time(seconds, memory, cpu)
        load = advance(load, "one", machine.read(), calls, SETTINGS, machine.clock.now().timestamp())
        limits.append(load.limit)
    return limits


@pytest.mark.parametrize("high", [FULL_MEMORY, BUSY])
def test_a_load_of_a_minute_halves_the_calls_and_a_calm_minute_doubles_them(
    clock: VirtualClock, high: tuple[float, float]
) -> None:
    """Each further minute halves again, down to one; the limit ends where it began."""
    steps = [(10, CALM, 2), (30, high, 7), (30, high, 3), (29, high, 1), (2, high, 1)]
    assert follow(Machine(clock), *steps) == [None, None, None, None, 4]
    steps = [(10, CALM, 5), *[(60, high, 4)] * 5, *[(60, CALM, 1)] * 4]
    assert follow(Machine(clock), *steps) == [None, None, 2, 1, 1, 1, 1, 2, None, None]


def test_a_short_load_changes_nothing(clock: VirtualClock) -> None:
    """Exactly at a limit is not above it; a calm reading or a gap between readings begins the minute anew."""
    machine = Machine(clock)
    assert follow(machine, *[(30, (80.0, 70.0), 4)] * 5) == [None] * 5
    assert follow(machine, *[(40, FULL_MEMORY, 4), (10, CALM, 4)] * 4) == [None] * 8
    assert follow(machine, *[(61, FULL_MEMORY, 4)] * 4) == [None] * 4


def test_the_counts_of_a_restarted_machine_begin_anew(clock: VirtualClock) -> None:
    """Processor seconds that went back say nothing about the time between."""
    machine = Machine(clock)
    load = advance(None, "one", machine.read(), 1, SETTINGS, clock.now().timestamp())
    machine.pass_time(10, *BUSY)
    load = advance(load, "one", machine.read(), 1, SETTINGS, clock.now().timestamp())
    assert (load.cpu_percent, load.is_high) == (pytest.approx(71), True)
    machine.busy = machine.total = 5.0
    load = advance(load, "one", machine.read(), 1, SETTINGS, clock.now().timestamp())
    assert (load.cpu_percent, load.is_high) == (None, False)


class Processes:
    """Processes of machines over one database, each with a shared budget of its own."""

    def __init__(self, engine: Engine, clock: VirtualClock) -> None:
        self.engine, self.clock = engine, clock
        self.machine = Machine(clock)

    def start(self, name: str) -> ProcessAdmission:
        """Start a process, such as `one:1`: its machine comes first."""
        settings = BackpressureSettings(max_concurrent=100, per_account_concurrent=100)
        budget = SqlAdmission(self.engine, settings, owner=name, rng=Random(name))
        guard = MachineGuard(self.engine, settings, name, self.clock, self.machine.read)
        return ProcessAdmission(budget, guard, renews_in_background=False)


def admit(process: ProcessAdmission, priority: Priority = Priority.LOW) -> Decision:
    """Request a call."""
    return process.admit(CallRequest((Scope.parse("account:act_1"),), priority, "meta"))


def test_processes_of_a_machine_share_its_limit(engine: Engine, clock: VirtualClock) -> None:
    """Four calls in flight in three processes, and one more, become three; critical calls and other machines pass."""
    processes = Processes(engine, clock)
    first, second, third = (processes.start(f"one:{number}") for number in range(3))
    taken = [admit(process) for process in (first, first, second, third)]
    assert all(isinstance(answer, Grant) for answer in taken)
    for _ in range(7):
        processes.machine.pass_time(10, *FULL_MEMORY)
        answer = admit(first)
        if isinstance(answer, Grant):
            first.release(answer, DONE)
    assert isinstance(answer, Wait)
    assert answer.scope == "machine:one"
    assert answer.reason == (
        "the machine one is overloaded (memory 81 %, processors 20 %); "
        "it may make 3 calls at a time, and those that a reader waits for"
    )
    assert isinstance(admit(third, Priority.CRITICAL), Grant)
    assert isinstance(admit(processes.start("two:1")), Grant)
    assert isinstance(admit(processes.start("one:9")), Wait), "a process that starts now knows the limit"
    shown = next(item for item in list_machines(engine, clock.now()) if item.machine == "one")
    assert (shown.memory_percent, shown.cpu_percent, shown.limit) == (81.0, 20.0, 3)

    for process, answer in zip((first, first, second), taken, strict=False):
        assert isinstance(answer, Grant)
        process.release(answer, DONE)
    assert isinstance(admit(first), Grant), "there is room again"
    clock.sleep(-60)  # the clock of the machine is set back
    admit(second)
    assert list_machines(engine, clock.now())[0].read_at == clock.now()
    for _ in range(8):
        processes.machine.pass_time(10, *CALM)
        admit(first)
    assert [item.limit for item in list_machines(engine, clock.now()) if item.machine == "one"] == [None]


def test_the_cut_halves_what_runs_and_ends_in_steps(engine: Engine, clock: VirtualClock) -> None:
    """Eight short calls at a time, of which a reading sees one, become four, not one; calm minutes double that."""
    processes = Processes(engine, clock)
    process, limits = processes.start("one:1"), []

    def work(load: tuple[float, float]) -> None:
        """Make up to eight calls at a time six times a minute, each time with none in flight before."""
        for _ in range(6):
            processes.machine.pass_time(10, *load)
            granted = [answer for answer in (admit(process) for _ in range(8)) if isinstance(answer, Grant)]
            for answer in granted:
                process.release(answer, DONE)
        limits.append(list_machines(engine, clock.now())[0].limit)

    for load in (CALM, FULL_MEMORY, FULL_MEMORY, FULL_MEMORY, CALM, CALM, CALM, CALM):
        work(load)
    assert limits[:2] == [None, None]
    assert limits[2:] == [4, 2, 2, 4, None, None]


def _limit_machine(engine: Engine, clock: VirtualClock, limit: int) -> None:
    """Store that the machine `one` is loaded, and may have `limit` calls in flight."""
    load = MachineLoad(
        machine="one", read_at=clock.now().timestamp(), memory_percent=90.0, cpu_percent=10.0, cpu_busy=1.0,
        cpu_total=2.0, is_high=True, since=clock.now().timestamp(), calls=1, limit=limit, full=2 * limit,
    )  # fmt: skip
    capacity.renew_load(engine, "one", lambda _: load)


@pytest.mark.parametrize("answer", [Wait(3.0, "no capacity"), Rejected("down", 30.0), StorageError("locked")])
def test_a_call_that_is_not_admitted_does_not_count(
    engine: Engine, clock: VirtualClock, answer: Decision | Exception
) -> None:
    """After any number of refusals a machine with a limit of one admits the next call, and no second one."""
    _limit_machine(engine, clock, 1)
    wrapped = OpenAdmission(answer)
    guard = MachineGuard(engine, SETTINGS, "one:1", clock, Machine(clock).read)
    process = ProcessAdmission(wrapped, guard, renews_in_background=False)
    for _ in range(3):
        if isinstance(answer, Exception):
            with pytest.raises(StorageError):
                admit(process)
        else:
            assert admit(process) == answer
    wrapped.answer = GRANT
    assert admit(process) == GRANT
    assert isinstance(admit(process), Wait)
    process.release(process.renew(GRANT), DONE)
    assert admit(process) == GRANT


def test_only_calls_of_the_machine_that_run_count(engine: Engine, clock: VirtualClock) -> None:
    """Grants of this process, of a machine whose name begins alike, and expired ones are left out."""
    now = clock.now().timestamp()
    grant = {
        "scopes": [], "priority": 3, "cost": 1.0, "source": "meta", "probe": False, "counted": True,
        "granted_at": now,
    }  # fmt: skip
    owners = {"one:1": now + 9, "one:2": now + 9, "one:3": now - 1, "one-more:1": now + 9, "o_e:1": now + 9}
    with write_transaction(engine) as connection:
        rows = [{**grant, "id": owner, "owner": owner, "expires_at": until} for owner, until in owners.items()]
        connection.execute(capacity_grant.insert(), rows)
    assert capacity.count_calls_of_others(engine, "one", "one:1", time=lambda _: now) == 1
    assert capacity.count_calls_of_others(engine, "o_e", "", time=lambda _: now) == 1


def test_machines_that_are_gone_are_forgotten(engine: Engine, clock: VirtualClock) -> None:
    """Containers have new names: the first call of one deletes the rows that are a day old; shown is the last hour."""
    now = clock.now().timestamp()
    load = advance(None, "old", Machine(clock).read(), 1, SETTINGS, now)
    capacity.renew_load(engine, "old", lambda _: load)
    later = now + FORGOTTEN_AFTER_SECONDS + 1
    capacity.renew_load(engine, "new", lambda _: replace(load, machine="new", read_at=later))
    assert [item.machine for item in capacity.list_loads(engine, 0.0)] == ["new"]
    clock.sleep(FORGOTTEN_AFTER_SECONDS)
    assert [item.machine for item in list_machines(engine, clock.now())] == ["new"]
    clock.sleep(7_200)
    assert list_machines(engine, clock.now()) == []


def test_the_machine_is_read() -> None:
    """The default reads real memory and processors, whose counts only grow."""
    first, then = read_machine(), read_machine()
    assert 0 < first.memory_percent <= 100
    assert 0 < first.cpu_busy < first.cpu_total <= then.cpu_total


def test_a_call_ends_once_for_its_machine(engine: Engine, clock: VirtualClock) -> None:
    """A second release of one of two calls makes no room: a machine with a limit of two admits one more, not two."""
    _limit_machine(engine, clock, 2)
    wrapped = OpenAdmission(GRANT)
    guard = MachineGuard(engine, SETTINGS, "one:1", clock, Machine(clock).read)
    process = ProcessAdmission(wrapped, guard, renews_in_background=False)
    admit(process)
    wrapped.answer = replace(GRANT, id="another")
    admit(process)
    for _ in range(2):
        process.release(GRANT, DONE)
    assert isinstance(admit(process), Grant)
    assert isinstance(admit(process), Wait)


def test_an_open_breaker_answers_before_the_machine(engine: Engine, clock: VirtualClock) -> None:
    """A call of a full machine gets the answer of the open breaker, which lasts longer than a wait for a slot."""
    _limit_machine(engine, clock, 1)
    wrapped = OpenAdmission(GRANT)
    guard = MachineGuard(engine, SETTINGS, "one:1", clock, Machine(clock).read)
    process = ProcessAdmission(wrapped, guard, renews_in_background=False, monotonic=lambda: 0.0)
    admit(process)
    assert isinstance(admit(process), Wait)
    wrapped.answer = Rejected("down", 30.0, "source:meta")
    assert isinstance(admit(process, Priority.CRITICAL), Rejected)
    assert isinstance(admit(process), Rejected)
