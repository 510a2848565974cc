"""Memory pressure: above the limit, admission slows to one call per second instead of stopping.

By default the calls of this process share that one call per second. A process that makes a single call would not slow
down, so `machine_turn` shares it between all processes of a machine. Critical calls always pass: somebody waits for
them, and they are few.
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
"""Acquires the right to make a call while memory is short: returns 0 on success, else the seconds to wait."""


def memory_used_percent() -> float:
    """Return how much of the machine's memory is in use, in percent."""
    import psutil

    return float(psutil.virtual_memory().percent)


def machine_turn(engine: Engine, machine: str) -> AcquireTurn:
    """Return turns that all processes of a machine share, by a lease of one second in the database."""

    def acquire_turn() -> float:
        is_acquired = leases.acquire(engine, f"memory:{machine}", uuid4().hex, TRICKLE_SECONDS)
        return 0.0 if is_acquired else TRICKLE_SECONDS

    return acquire_turn


class MemoryAwareAdmission:
    """An admission that admits one call per second while memory is short, and every call otherwise.

    Args:
        percent: returns how much of the memory is in use.
        turn: acquires the turn for a call while memory is short; by default the calls of this object share turns.
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
        self._limit_percent = limit_percent
        self._percent = percent
        self._acquire_turn = turn or self._acquire_own_turn
        self._next_at = 0.0
        self._is_short = False
        self._lock = threading.Lock()

    def admit(self, scopes: Sequence[Scope], priority: Priority, cost: float = 1.0, *, source: str) -> Decision:
        """Request admission from the wrapped object, or return a `Wait` while memory is short."""
        if priority is not Priority.CRITICAL and (wait := self._memory_wait()):
            return wait
        return self._admission.admit(scopes, priority, cost, source=source)

    def renew(self, grant: Grant) -> Grant:
        """Renew with the wrapped admission.

        Raises:
            Transient: the lease had expired.
        """
        return self._admission.renew(grant)

    def release(self, grant: Grant, outcome: CallOutcome) -> None:
        """Release with the wrapped admission."""
        self._admission.release(grant, outcome)

    def _memory_wait(self) -> Wait | None:
        percent = self._percent()
        with self._lock:
            self._log_change(percent)
            seconds = self._acquire_turn() if percent > self._limit_percent else 0.0
        if seconds <= 0:
            return None
        reason = f"memory is at {percent:.0f} %, above {self._limit_percent:.0f} %: intake is slowed"
        return Wait(seconds, reason, "memory")

    def _acquire_own_turn(self) -> float:
        now = self._clock.now().timestamp()
        if now < self._next_at:
            return self._next_at - now
        self._next_at = now + TRICKLE_SECONDS
        return 0.0

    def _log_change(self, percent: float) -> None:
        is_short = percent > self._limit_percent
        if is_short != self._is_short:
            self._is_short = is_short
            effect = "calls are slowed down" if is_short else "calls are no longer slowed down"
            log.warning("memory is at %.0f %% (limit %.0f %%): %s", percent, self._limit_percent, effect)
