"""Healing: an action that may fix the cause of an error, run once for all callers that met the error.

The cool-down prevents the action from being repeated; it is never waited for.
"""

import logging
import threading
from collections.abc import Sequence
from typing import Protocol

from adwarm.foundation.clock import Clock
from adwarm.foundation.redaction import redact

log = logging.getLogger(__name__)


class Healer(Protocol):
    """An action that fixes the cause of some errors.

    Attributes:
        name: the name of the cool-down; healers that fix the same thing share it.
        cooldown_seconds: the shortest time between two runs, over all workers.
    """

    name: str
    cooldown_seconds: float

    def matches(self, error: BaseException) -> bool:
        """Return whether the action may fix the cause of `error`."""
        ...

    def heal(self) -> str:
        """Run the action and return a short description of what it did; raise when it failed."""
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


def heal(healers: Sequence[Healer], error: BaseException, ledger: CooldownLedger) -> str | None:
    """Run the matching healers until one succeeds, and return its name; None when none did.

    A healer that another worker ran within its cool-down is not run again; it counts as a success if that run
    succeeded.
    """
    for healer in healers:
        if healer.matches(error) and _heal_once(healer, ledger):
            return healer.name
    return None


def _heal_once(healer: Healer, ledger: CooldownLedger) -> bool:
    if not ledger.acquire(healer.name, healer.cooldown_seconds):
        return ledger.succeeded_within(healer.name, healer.cooldown_seconds)
    try:
        detail = healer.heal()
    except Exception as failure:
        message = redact(f"{type(failure).__name__}: {failure}")
        log.warning("healing %s failed: %s", healer.name, message)
        ledger.finish(healer.name, succeeded=False, detail=message)
        return False
    ledger.finish(healer.name, succeeded=True, detail=redact(detail))
    return True
