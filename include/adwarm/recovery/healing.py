"""Healing: an action that may cure an error, run once for however many callers met it.

The cool-down guards against repeating the action; nobody sleeps through it.
"""

import logging
import threading
from collections.abc import Sequence
from typing import Protocol

from adwarm.foundation.clock import Clock
from adwarm.foundation.redaction import redact

log = logging.getLogger(__name__)


class Healer(Protocol):
    """A cure for some errors.

    Attributes:
        name: what the cool-down is kept under; healers of one thing share it.
        cooldown_seconds: the shortest time between two runs, over all workers.
    """

    name: str
    cooldown_seconds: float

    def matches(self, error: BaseException) -> bool:
        """Return whether the cure may help against `error`."""
        ...

    def heal(self) -> str:
        """Run the cure and return what was done, in a few words. It raises when it could not."""
        ...


class CooldownLedger(Protocol):
    """When named actions last ran. `adwarm.store.healing_runs.HealingStore` keeps it in SQL for all workers."""

    def acquire(self, name: str, cooldown_seconds: float) -> bool:
        """Take the right to run the action now; exactly one caller in a cool-down gets it."""
        ...

    def finish(self, name: str, *, succeeded: bool, detail: str) -> None:
        """Record how the claimed action ended."""
        ...

    def succeeded_within(self, name: str, seconds: float) -> bool:
        """Return whether the action's last run began within `seconds` and went well."""
        ...


class MemoryLedger:
    """The ledger of one process, for callers without a database."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._runs: dict[str, tuple[float, bool]] = {}
        self._lock = threading.Lock()

    def acquire(self, name: str, cooldown_seconds: float) -> bool:
        """Take the right to run the action now."""
        now = self._clock.now().timestamp()
        with self._lock:
            if name in self._runs and now - self._runs[name][0] < cooldown_seconds:
                return False
            self._runs[name] = (now, False)
            return True

    def finish(self, name: str, *, succeeded: bool, detail: str) -> None:
        """Record how the claimed action ended."""
        with self._lock:
            self._runs[name] = (self._runs[name][0], succeeded)
        log.info("%s: %s", name, detail)

    def succeeded_within(self, name: str, seconds: float) -> bool:
        """Return whether the action's last run began within `seconds` and went well."""
        with self._lock:
            began, succeeded = self._runs.get(name, (0.0, False))
        return succeeded and self._clock.now().timestamp() - began < seconds


def heal(healers: Sequence[Healer], error: BaseException, ledger: CooldownLedger) -> str | None:
    """Return the name of a healer that cured, or just had cured, what `error` is about; None when none did.

    Every matching healer gets its turn until one succeeds. A healer that another worker ran within its cool-down is not
    run again: if that run went well, the operation is worth one more try.
    """
    for healer in healers:
        if healer.matches(error) and _cured(healer, ledger):
            return healer.name
    return None


def _cured(healer: Healer, ledger: CooldownLedger) -> bool:
    if not ledger.acquire(healer.name, healer.cooldown_seconds):
        return ledger.succeeded_within(healer.name, healer.cooldown_seconds)
    try:
        detail = healer.heal()
    except Exception as failure:
        words = redact(f"{type(failure).__name__}: {failure}")
        log.warning("healing %s failed: %s", healer.name, words)
        ledger.finish(healer.name, succeeded=False, detail=words)
        return False
    ledger.finish(healer.name, succeeded=True, detail=redact(detail))
    return True
