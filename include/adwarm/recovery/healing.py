"""Healing: an action that may fix the cause of an error, run once for all callers that met the error.

The cool-down prevents the action from being repeated; it is never waited for.
"""

import logging
import threading
from collections.abc import Sequence
from typing import Protocol

from adwarm.foundation.clock import Clock
from adwarm.foundation.redaction import redact
from adwarm.recovery.call import Failure

log = logging.getLogger(__name__)


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

    def finish(self, name: str, *, succeeded: bool, detail: str) -> None:
        """Record the result of the claimed action."""
        ...

    def succeeded_within(self, name: str, seconds: float) -> bool:
        """Return whether the action's last run began within `seconds` and succeeded."""
        ...


class MemoryLedger:
    """The ledger of one process, for callers without a database."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._runs: dict[str, tuple[float, bool]] = {}  # start and success of the last run
        self._lock = threading.Lock()

    def acquire(self, name: str, cooldown_seconds: float) -> bool:
        """Claim the right to run the action now."""
        now = self._clock.now().timestamp()
        with self._lock:
            if name in self._runs and now - self._runs[name][0] < cooldown_seconds:
                return False
            self._runs[name] = (now, False)
            return True

    def finish(self, name: str, *, succeeded: bool, detail: str) -> None:
        """Record the result of the claimed action."""
        with self._lock:
            self._runs[name] = (self._runs[name][0], succeeded)
        log.info("%s: %s", name, detail)

    def succeeded_within(self, name: str, seconds: float) -> bool:
        """Return whether the action's last run began within `seconds` and succeeded."""
        with self._lock:
            started, succeeded = self._runs.get(name, (0.0, False))
        return succeeded and self._clock.now().timestamp() - started < seconds


def heal(healers: Sequence[Healer], failure: Failure, ledger: CooldownLedger) -> str | None:
    """Run the matching healers until one succeeds, and return its action; None when none did.

    A healer that another worker ran within its cool-down is not run again; its result is adopted.
    """
    for healer in healers:
        if healer.matches(failure) and _heal_once(healer, failure, ledger):
            return healer.action
    return None


def _heal_once(healer: Healer, failure: Failure, ledger: CooldownLedger) -> bool:
    name = f"{healer.action}:{healer.scope(failure)}"
    if not ledger.acquire(name, healer.cooldown_seconds):
        return healer.adopt(failure)
    try:
        detail = healer.heal(failure)
        adopted = healer.adopt(failure)
    except Exception as problem:
        message = redact(f"{type(problem).__name__}: {problem}")
        log.warning("healing %s failed: %s", name, message)
        ledger.finish(name, succeeded=False, detail=message)
        return False
    ledger.finish(name, succeeded=adopted, detail=redact(detail))
    return adopted
