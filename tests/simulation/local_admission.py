"""Admission with its state in memory, for simulations and tests."""

import threading
from collections.abc import Callable
from random import Random

from adwarm.backpressure import CallRequest
from adwarm.backpressure.admission import CallOutcome, Decision, Grant
from adwarm.backpressure.shared_budget import SharedBudget
from adwarm.backpressure.status import AdmissionStatus
from adwarm.settings import BackpressureSettings


class LocalAdmission:
    """Admission over one `SharedBudget`. Safe to share between threads.

    Args:
        settings: of the budget.
        rng: spreads the ends of parks.
        time: returns the current time in seconds; any clock that runs forwards.
    """

    def __init__(self, settings: BackpressureSettings, *, rng: Random, time: Callable[[], float]) -> None:
        self.budget = SharedBudget(settings, rng)
        self._time = time
        self._lock = threading.Lock()

    def admit(self, call: CallRequest) -> Decision:
        """Request one slot in every scope of the call, the fleet included, and its tokens of the rate."""
        with self._lock:
            return self.budget.admit(call, self._time())

    def renew(self, grant: Grant) -> Grant:
        """Extend the grant's lease.

        Raises:
            Transient: the lease had expired, so another caller may hold the slot.
        """
        with self._lock:
            return self.budget.renew(grant, self._time())

    def release(self, grant: Grant, outcome: CallOutcome) -> None:
        """Return the grant and learn from the outcome. A second release has no effect."""
        with self._lock:
            self.budget.release(grant, outcome, self._time())

    def status(self) -> AdmissionStatus:
        """Return limits, calls in flight, parked scopes and breakers, as they are now."""
        with self._lock:
            return self.budget.status(self._time())
