"""Memory pressure: above the limit, intake slows to a trickle instead of stopping, and says so.

Only this process's intake is slowed. Critical calls pass: somebody waits for them, and they are few.
"""

import logging
import threading
from collections.abc import Callable, Sequence

from adwarm.backpressure.decision import Admission, Decision, Grant, Outcome, Wait
from adwarm.clock import Clock
from adwarm.model import Priority, Scope

log = logging.getLogger(__name__)

TRICKLE_SECONDS = 1.0


def used_percent() -> float:
    """Return how much of the machine's memory is in use, in percent."""
    import psutil

    return float(psutil.virtual_memory().percent)


class MemoryAwareAdmission:
    """An admission that lets one call a second through while memory is short, and every call otherwise."""

    def __init__(
        self,
        admission: Admission,
        clock: Clock,
        limit_percent: float,
        percent: Callable[[], float] = used_percent,
    ) -> None:
        self._admission = admission
        self._clock = clock
        self._limit = limit_percent
        self._percent = percent
        self._next_at = 0.0
        self._short = False
        self._lock = threading.Lock()

    def admit(self, scopes: Sequence[Scope], priority: Priority, cost: float = 1.0, *, source: str) -> Decision:
        """Ask the wrapped admission, or answer `Wait` for want of memory."""
        if priority is not Priority.CRITICAL and (wait := self._pressed()):
            return wait
        return self._admission.admit(scopes, priority, cost, source=source)

    def renew(self, grant: Grant) -> Grant:
        """Renew with the wrapped admission.

        Raises:
            Transient: the lease had run out.
        """
        return self._admission.renew(grant)

    def settle(self, grant: Grant, outcome: Outcome) -> None:
        """Settle with the wrapped admission."""
        self._admission.settle(grant, outcome)

    def _pressed(self) -> Wait | None:
        percent = self._percent()
        now = self._clock.now().timestamp()
        with self._lock:
            self._say(percent)
            if percent <= self._limit:
                return None
            if now >= self._next_at:
                self._next_at = now + TRICKLE_SECONDS
                return None
            seconds = self._next_at - now
        return Wait(seconds, f"memory is at {percent:.0f} %, above {self._limit:.0f} %: intake is slowed", "memory")

    def _say(self, percent: float) -> None:
        short = percent > self._limit
        if short != self._short:
            self._short = short
            word = "intake slows" if short else "intake is free again"
            log.warning("memory is at %.0f %% (limit %.0f %%): %s", percent, self._limit, word)
