"""Stops every call of a platform when a human switches calls off: an admission around that of a process.

Every call of every flow is admitted: batches, backfills, the queue of readers' requests, probes, account discovery. So
this is where all of them stop. A long response stops between two of its pages, when its grant is renewed.
"""

import threading
import time
from collections.abc import Callable, Sequence

from sqlalchemy import Engine

from adwarm.backpressure.admission import Admission, CallOutcome, Decision, Grant, Wait
from adwarm.foundation.errors import AdwarmError, Transient
from adwarm.model import Priority, Scope
from adwarm.store.switches import find_call_stop

CHECK_SECONDS = 2.0
"""How old the position of the switch may be that a call acts on."""
RETRY_SECONDS = 60.0
"""When a call that was stopped is worth another attempt."""
SCOPE = "switch:calls"


class CallsStopped(Transient):
    """Calls were switched off; the message says by whom and why."""

    own_refusal = True


class SwitchedAdmission:
    """An admission that admits nothing while the switch `calls` is off. Safe to share between threads.

    Args:
        admission: the wrapped one.
        engine: the database, which holds the switch.
        monotonic: measures the age of what was read, in seconds.
    """

    def __init__(self, admission: Admission, engine: Engine, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._admission = admission
        self._engine = engine
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._read_at: float | None = None
        self._stop: str | None = None

    def admit(self, scopes: Sequence[Scope], priority: Priority, cost: float = 1.0, *, source: str) -> Decision:
        """Request admission from the wrapped object, or return a `Wait` while calls are off."""
        if (stop := self._find_stop()) is not None:
            return Wait(RETRY_SECONDS, stop, SCOPE)
        return self._admission.admit(scopes, priority, cost, source=source)

    def renew(self, grant: Grant) -> Grant:
        """Renew with the wrapped admission.

        Raises:
            CallsStopped: calls are switched off.
            Transient: the lease had expired.
        """
        if (stop := self._find_stop()) is not None:
            raise CallsStopped(stop)
        return self._admission.renew(grant)

    def release(self, grant: Grant, outcome: CallOutcome) -> None:
        """Release with the wrapped admission."""
        self._admission.release(grant, outcome)

    def _find_stop(self) -> str | None:
        with self._lock:
            now = self._monotonic()
            if self._read_at is None or not 0 <= now - self._read_at < CHECK_SECONDS:
                try:
                    self._stop = find_call_stop(self._engine)
                except AdwarmError:  # the wrapped admission needs the database, too, and raises what is wrong
                    return self._stop
                self._read_at = now
            return self._stop
