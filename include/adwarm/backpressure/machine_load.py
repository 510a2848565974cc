"""Calls of a loaded machine: while its memory or its processors are above their limit, its concurrency is halved.

| a reading of the machine                        | calls that it may have in flight                               |
|-------------------------------------------------|----------------------------------------------------------------|
| above a limit for `LOAD_SECONDS`                | half of the most that were in flight since then, one at least  |
| still above it after another `LOAD_SECONDS`     | half of that                                                   |
| below both limits for `LOAD_SECONDS`            | twice as many; from as many as before the first cut on, no limit|
| none for `LOAD_SECONDS`: the machine was idle   | unchanged; the time begins anew                                |

All processes of a machine share its readings and its limit through one row of the database, so that tasks that make a
single call count as well. Critical calls always pass: somebody waits for them, and they are few.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from adwarm.backpressure.admission import Wait
from adwarm.foundation.clock import Clock
from adwarm.foundation.wording import format_count
from adwarm.model import Priority
from adwarm.settings import BackpressureSettings
from adwarm.store import capacity
from adwarm.store.capacity import MachineLoad
from adwarm.store.database import database_time

LOAD_SECONDS = 60.0
"""How long a machine is above a limit, or below both, before its calls change: longer than an import or a training."""
READ_SECONDS = 10.0
"""How old a reading may be that a call acts on."""
WAIT_SECONDS = 1.0
SHOWN_SECONDS = 3_600.0
log = logging.getLogger(__name__)


class Reading(NamedTuple):
    """What a machine shows at a moment: memory in percent, and seconds of its processors since it started."""

    memory_percent: float
    cpu_busy: float
    cpu_total: float


def read_machine() -> Reading:
    """Return what this machine shows now."""
    import psutil

    times = psutil.cpu_times()._asdict()
    total = sum(seconds for name, seconds in times.items() if not name.startswith("guest"))  # user and nice hold them
    busy = total - times["idle"] - times.get("iowait", 0.0)
    return Reading(float(psutil.virtual_memory().percent), busy, total)


def advance(
    last: MachineLoad | None, machine: str, reading: Reading, calls: int, settings: BackpressureSettings, now: float
) -> MachineLoad:
    """Return the load of a machine after a reading at `now`, with `calls` in flight; see the table of the module."""
    cpu = None if last is None else _percent(reading.cpu_busy - last.cpu_busy, reading.cpu_total - last.cpu_total)
    is_high = reading.memory_percent > settings.memory_percent or (cpu or 0.0) > settings.cpu_percent
    load = MachineLoad(
        machine=machine,
        read_at=now,
        memory_percent=reading.memory_percent,
        cpu_percent=cpu,
        cpu_busy=reading.cpu_busy,
        cpu_total=reading.cpu_total,
        is_high=is_high,
        since=now,
        calls=calls,
    )
    if last is None:
        return load
    load = replace(load, limit=last.limit, full=last.full, limited_at=last.limited_at)
    if last.is_high is not is_high or not 0 <= now - last.read_at <= LOAD_SECONDS:
        return load
    load = replace(load, since=last.since, calls=max(calls, last.calls))
    if now - load.since < LOAD_SECONDS:
        return load
    return replace(_cut(load) if is_high else _lift(load), since=now, calls=calls)


def _percent(busy: float, total: float) -> float | None:
    return 100 * busy / total if total > 0 <= busy else None  # the counts of a machine that restarted begin anew


def _cut(load: MachineLoad) -> MachineLoad:
    before = max(1, load.calls if load.limit is None else load.limit)
    full, since = load.full or before, load.limited_at or load.read_at
    return replace(load, limit=(before + 1) // 2, full=full, limited_at=since)


def _lift(load: MachineLoad) -> MachineLoad:
    if load.limit is None or 2 * load.limit >= (load.full or 0):
        return replace(load, limit=None, full=None, limited_at=None)
    return replace(load, limit=2 * load.limit)


class MachineGuard:
    """Counts the calls of this process, and holds them to the limit of its machine. Safe to share between threads.

    Args:
        engine: the database, which all processes of the machine share.
        owner: this process in grants, which begins with the host name.
    """

    def __init__(
        self,
        engine: Engine,
        settings: BackpressureSettings,
        owner: str,
        clock: Clock,
        read: Callable[[], Reading] | None = None,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._owner = owner
        self._machine = owner.partition(":")[0]
        self._clock = clock
        self._read = read or read_machine
        self._lock = threading.Lock()
        self._calls = 0
        self._most_calls = 0
        self._load: MachineLoad | None = None

    @property
    def scope(self) -> str:
        """The name of the machine in refusals."""
        return f"machine:{self._machine}"

    def begin(self, priority: Priority) -> Wait | None:
        """Count a call that begins; return a `Wait` when the machine may have no further call in flight."""
        with self._lock:
            load = self._find_load(self._clock.now().timestamp())
            limit = None if priority is Priority.CRITICAL else load.limit
            if limit is None or self._calls + self._count_others() < limit:
                self._calls += 1
                self._most_calls = max(self._most_calls, self._calls)
                return None
        return Wait(WAIT_SECONDS, f"{describe_load(load)}; {describe_limit(load)}", self.scope)

    def end(self) -> None:
        """Count a call that has ended."""
        with self._lock:
            self._calls = max(0, self._calls - 1)

    def _find_load(self, now: float) -> MachineLoad:
        before = self._load
        if before is not None and _is_fresh(before, now):
            return before
        load = capacity.find_load(self._engine, self._machine)
        if load is None or not _is_fresh(load, now):
            load = self._renew(now)
        if before is not None and before.limit != load.limit:
            log.warning("%s; %s", describe_load(load), describe_limit(load))
        self._load, self._most_calls = load, self._calls
        return load

    def _renew(self, now: float) -> MachineLoad:
        # A call may be too short to be in flight at many readings, so the most since the last one count.
        reading, calls = self._read(), max(self._most_calls, self._calls + 1) + self._count_others()

        def renew(last: MachineLoad | None) -> MachineLoad:
            if last is not None and _is_fresh(last, now):  # another process was first
                return last
            return advance(last, self._machine, reading, calls=calls, settings=self._settings, now=now)

        return capacity.renew_load(self._engine, self._machine, renew)

    def _count_others(self) -> int:
        return capacity.count_calls_of_others(self._engine, self._machine, self._owner)


def count_free_calls(
    engine: Engine, machine: str, *, time: Callable[[Connection], float] = database_time
) -> int | None:
    """Return how many more calls a machine may have in flight now; None for as many as other limits allow."""
    load = capacity.find_load(engine, machine)
    if load is None or load.limit is None:
        return None
    return max(0, load.limit - capacity.count_calls_of_others(engine, machine, owner="", time=time))


def _is_fresh(load: MachineLoad, now: float) -> bool:
    return 0 <= now - load.read_at < READ_SECONDS


@dataclass(frozen=True, slots=True)
class MachineStatus:
    """A machine that made a call lately, as `adwarm status` and the page show it."""

    machine: str
    read_at: datetime
    memory_percent: float
    cpu_percent: float | None
    limit: int | None
    limited_since: datetime | None
    effect: str


def list_machines(engine: Engine, now: datetime) -> list[MachineStatus]:
    """Return the machines that made a call within the last hour, by name."""
    loads = capacity.list_loads(engine, now.timestamp() - SHOWN_SECONDS)
    return [
        MachineStatus(
            machine=load.machine,
            read_at=datetime.fromtimestamp(load.read_at, UTC),
            memory_percent=round(load.memory_percent, 1),
            cpu_percent=None if load.cpu_percent is None else round(load.cpu_percent, 1),
            limit=load.limit,
            limited_since=None if load.limited_at is None else datetime.fromtimestamp(load.limited_at, UTC),
            effect=describe_limit(load),
        )
        for load in loads
    ]


def describe_load(load: MachineLoad) -> str:
    """Return the reading in words."""
    cpu = "" if load.cpu_percent is None else f", processors {load.cpu_percent:.0f} %"
    state = "is overloaded" if load.is_high else "is not overloaded" if load.limit is None else "was just overloaded"
    return f"the machine {load.machine} {state} (memory {load.memory_percent:.0f} %{cpu})"


def describe_limit(load: MachineLoad) -> str:
    """Return the limit in words."""
    if load.limit is None:
        return "its calls are not limited"
    return f"it may make {format_count(load.limit, 'call')} at a time, and those that a reader waits for"
