"""Memory pressure: above the limit, intake slows to a trickle instead of stopping, and says so.

By default this process's intake is slowed. A process that makes a single call would not notice; it takes turns with the
others of its machine. Critical calls pass: somebody waits for them, and they are few.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from uuid import uuid4

from sqlalchemy import Engine

from adwarm.backpressure.admission import Admission, CallOutcome, Decision, Grant, Wait
from adwarm.foundation.clock import Clock
from adwarm.model import Priority, Scope
from adwarm.store import leases

log = logging.getLogger(__name__)

TRICKLE_SECONDS = 1.0
AcquireTurn = Callable[[], float]
"""Takes a turn to make a call while memory is short: 0 when it is the caller's, else the seconds to wait for it."""


def memory_used_percent() -> float:
    """Return how much of the machine's memory is in use, in percent."""
    import psutil

    return float(psutil.virtual_memory().percent)


def machine_turn(engine: Engine, machine: str) -> AcquireTurn:
    """Return turns that all processes of a machine take together, by a lease of a second in the database."""

    def turn() -> float:
        taken = leases.acquire(engine, f"memory:{machine}", uuid4().hex, TRICKLE_SECONDS)
        return 0.0 if taken else TRICKLE_SECONDS

    return turn


class MemoryAwareAdmission:
    """An admission that lets one call a second through while memory is short, and every call otherwise.

    Args:
        percent: how much of the memory is in use.
        turn: whose second it is; by default the calls of this object take turns.
    """

    def __init__(
        self,
        admission: Admission,
        clock: Clock,
        limit_percent: float,
        percent: Callable[[], float] = memory_used_percent,
        turn: AcquireTurn | None = None,
    ) -> None:
        self._admission = admission
        self._clock = clock
        self._limit = limit_percent
        self._percent = percent
        self._turn = turn or self._own_turn
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

    def release(self, grant: Grant, outcome: CallOutcome) -> None:
        """Settle with the wrapped admission."""
        self._admission.release(grant, outcome)

    def _pressed(self) -> Wait | None:
        percent = self._percent()
        with self._lock:
            self._say(percent)
            seconds = self._turn() if percent > self._limit else 0.0
        if seconds <= 0:
            return None
        return Wait(seconds, f"memory is at {percent:.0f} %, above {self._limit:.0f} %: intake is slowed", "memory")

    def _own_turn(self) -> float:
        now = self._clock.now().timestamp()
        if now < self._next_at:
            return self._next_at - now
        self._next_at = now + TRICKLE_SECONDS
        return 0.0

    def _say(self, percent: float) -> None:
        short = percent > self._limit
        if short != self._short:
            self._short = short
            word = "intake slows" if short else "intake is free again"
            log.warning("memory is at %.0f %% (limit %.0f %%): %s", percent, self._limit, word)
