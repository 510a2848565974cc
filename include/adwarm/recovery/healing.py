"""Healing: an action that may fix the cause of an error, run once for all callers that met the error.

The cool-down prevents the action from being repeated; it is never waited for. Only an action that another caller is
running at this moment is waited for, a few seconds at most, because its result helps this caller too.
"""

import logging
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from adwarm.foundation import telemetry
from adwarm.foundation.clock import Clock
from adwarm.foundation.redaction import redact
from adwarm.recovery.call import Failure
from adwarm.store.healing_runs import HealingRun

log = logging.getLogger(__name__)
_LONGEST_WAIT_SECONDS = 10.0
_POLL_SECONDS = 0.2


class Healer(Protocol):
    """An action that fixes the cause of some errors.

    `heal` runs once per cool-down and scope over all workers. `adopt` runs in every process that met the error: after
    its own `heal`, and when another worker ran `heal` within the cool-down.

    Attributes:
        action: what it is, such as `token_refresh`; with the scope, the name of the cool-down.
        cooldown_seconds: the shortest time between two runs of one scope, over all workers.
    """

    action: str
    cooldown_seconds: float

    def matches(self, failure: Failure) -> bool:
        """Return whether the action may fix the cause of `failure`."""
        ...

    def scope(self, failure: Failure) -> str:
        """Return what it would heal, such as the name of a connection."""
        ...

    def heal(self, failure: Failure) -> str:
        """Run the action and return a short description of what it did; raise when it failed."""
        ...

    def adopt(self, failure: Failure) -> bool:
        """Take over in this process what the action did; return whether another attempt may succeed now."""
        ...


class CooldownLedger(Protocol):
    """When named actions last ran. `adwarm.store.healing_runs.HealingStore` keeps it in SQL for all workers."""

    def acquire(self, name: str, cooldown_seconds: float) -> bool:
        """Claim the right to run the action now; only one caller per cool-down succeeds."""
        ...

    def finish(self, name: str, *, succeeded: bool, detail: str, run: HealingRun | None = None) -> None:
        """Record the result of the claimed action, and in the history of healing the `run`, if it was one."""
        ...

    def is_running(self, name: str, seconds: float) -> bool:
        """Return whether the action was claimed less than `seconds` ago and has not finished."""
        ...


class MemoryLedger:
    """The ledger of one process, for callers without a database."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._runs: dict[str, tuple[float, bool]] = {}  # start of the last run, and whether it has finished
        self._history: list[HealingRun] = []
        self._lock = threading.Lock()

    def acquire(self, name: str, cooldown_seconds: float) -> bool:
        """Claim the right to run the action now."""
        now = self._clock.now().timestamp()
        with self._lock:
            if name in self._runs and now - self._runs[name][0] < cooldown_seconds:
                return False
            self._runs[name] = (now, False)
            return True

    def finish(self, name: str, *, succeeded: bool, detail: str, run: HealingRun | None = None) -> None:
        """Record the result of the claimed action."""
        with self._lock:
            self._runs[name] = (self._runs[name][0], True)
            if run is not None:
                self._history = [*self._history[-99:], run]
        log.info("%s %s: %s", name, "succeeded" if succeeded else "failed", detail)

    def is_running(self, name: str, seconds: float) -> bool:
        """Return whether the action was claimed less than `seconds` ago and has not finished."""
        with self._lock:
            started, has_finished = self._runs.get(name, (0.0, True))
        return not has_finished and self._clock.now().timestamp() - started < seconds

    def list_recent(self, limit: int) -> list[HealingRun]:
        """Return the newest runs first; a hundred are kept."""
        with self._lock:
            return self._history[::-1][:limit]


class Healed(NamedTuple):
    """A healing action after which another attempt may succeed."""

    action: str
    scope: str

    def __str__(self) -> str:
        return f"{self.action} of {self.scope}"


def heal(
    healers: Sequence[Healer], failure: Failure, ledger: CooldownLedger, clock: Clock, owner: str = ""
) -> Healed | None:
    """Run the matching healers until one succeeds, and return it; None when none did.

    A healer that another worker ran within its cool-down is not run again; its result is adopted.

    Args:
        healers: tried in order.
        ledger: cool-downs, and the history of healing.
        clock: gives the time, and sleeps while another worker runs the same action.
        owner: names this process in the history.
    """
    for healer in healers:
        if healer.matches(failure) and _heal_once(healer, failure, ledger, clock, owner):
            return Healed(healer.action, healer.scope(failure))
    return None


def _heal_once(healer: Healer, failure: Failure, ledger: CooldownLedger, clock: Clock, owner: str) -> bool:
    name = f"{healer.action}:{healer.scope(failure)}"
    if not ledger.acquire(name, healer.cooldown_seconds):
        _wait_while_running(name, ledger, clock)
        return healer.adopt(failure)
    started = clock.now()
    try:
        detail = redact(healer.heal(failure))
        adopted = healer.adopt(failure)
    except Exception as problem:
        detail, adopted = redact(f"{type(problem).__name__}: {problem}"), False
        log.warning("healing %s failed: %s", name, detail)
    run = _build_run(healer, failure, started, clock, owner)
    telemetry.report(telemetry.HEALINGS, action=healer.action, result="helped" if adopted else "failed")
    ledger.finish(name, succeeded=adopted, detail=detail, run=run._replace(succeeded=adopted, detail=detail))
    return adopted


def _wait_while_running(name: str, ledger: CooldownLedger, clock: Clock) -> None:
    """Wait until another worker has finished the action; not for a worker that died."""
    waited = 0.0
    while waited < _LONGEST_WAIT_SECONDS and ledger.is_running(name, _LONGEST_WAIT_SECONDS):
        clock.sleep(_POLL_SECONDS)
        waited += _POLL_SECONDS


def _build_run(healer: Healer, failure: Failure, started: datetime, clock: Clock, owner: str) -> HealingRun:
    seconds = max(0.0, (clock.now() - started).total_seconds())
    scope, source = redact(healer.scope(failure)), failure.call.source
    return HealingRun(started, healer.action, scope, source, failure.kind, seconds=seconds, owner=owner)
