"""The admission of a process: it limits calls on a loaded machine, renews leases, and remembers open breakers.

| event                                | effect                                                               |
|--------------------------------------|----------------------------------------------------------------------|
| a call is requested                  | it waits while the machine is at its limit                           |
| a call is granted                    | it is running; a background thread starts unless there is one        |
| a third of its lease has passed      | the lease is renewed, for `longest_call_seconds` at most: a call     |
|                                      | that takes longer hangs, and its slot is free when its lease expires |
| it is released                       | with its newest token; the thread ends when no call is running       |
| an open breaker rejects a call       | the process rejects such calls for a second without a query          |

Each call takes its own permit from the shared budget, and returns it when it ends.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from time import monotonic as system_monotonic

from adwarm.backpressure.admission import Admission, CallOutcome, CallRequest, Decision, Grant, Rejected
from adwarm.backpressure.breakers import single_account, source_scope
from adwarm.backpressure.machine_load import MachineGuard
from adwarm.foundation.errors import Transient
from adwarm.foundation.redaction import log_unexpected

log = logging.getLogger(__name__)
CHECK_SECONDS = 1.0
"""How often the thread looks for leases to renew; a lease lasts many times as long."""
CACHE_SECONDS = 1.0
"""How long an open breaker is remembered. One that a human reset is noticed then; a query a second costs nothing."""


class _RunningCall:
    """A call in flight, by this process's monotonic clock. Its lock is held while its grant is renewed or released."""

    __slots__ = ("grant", "lock", "renew_at", "renew_every", "started_at")

    def __init__(self, grant: Grant, requested_at: float) -> None:
        self.started_at = requested_at
        self.renew_every = (grant.expires_at - grant.granted_at) / 3
        self.lock = threading.Lock()
        self.set_grant(grant, requested_at)

    def set_grant(self, grant: Grant, requested_at: float) -> None:
        """Store the grant that was requested or renewed at `requested_at`; it is younger, so it is renewed early."""
        self.grant, self.renew_at = grant, requested_at + self.renew_every


class ProcessAdmission:
    """An admission for the calls of one process. Safe to share between threads.

    Args:
        admission: the shared budget.
        guard: holds the calls to the limit of the machine; None for no such limit.
        renews_in_background: whether a thread calls `renew_due`; if not, call it now and then.
    """

    def __init__(
        self,
        admission: Admission,
        guard: MachineGuard | None = None,
        *,
        renews_in_background: bool = True,
        longest_call_seconds: float = 900.0,
        monotonic: Callable[[], float] = system_monotonic,
    ) -> None:
        self._admission = admission
        self._guard = guard
        self._longest_call_seconds = longest_call_seconds
        self._monotonic = monotonic
        self._running: dict[str, _RunningCall] = {}
        # By source and scope. Every step is one operation on a dict, so that threads may share it.
        self._rejections: dict[tuple[str, str], tuple[float, Rejected]] = {}
        self._lock = threading.Lock()
        self._renews_in_background = renews_in_background
        self._thread: threading.Thread | None = None

    def admit(self, call: CallRequest) -> Decision:
        """Request admission from the shared budget, unless a breaker is still open or the machine is at its limit."""
        if (rejection := self._find_rejection(call)) is not None:
            return rejection
        if self._guard is not None and (wait := self._guard.begin(call.priority)) is not None:
            return wait
        decision, now = None, self._monotonic()
        try:
            decision = self._admission.admit(call)
        finally:
            if not isinstance(decision, Grant):
                self._end()
        if isinstance(decision, Grant):
            with self._lock:
                self._running[decision.id] = _RunningCall(decision, now)
                self._ensure_thread()
        elif isinstance(decision, Rejected) and decision.scope is not None:
            self._rejections[call.source, decision.scope] = (now, decision)
        return decision

    def _find_rejection(self, call: CallRequest) -> Rejected | None:
        """Return the cached rejection of a breaker that the call must pass, with the time that is left."""
        if not self._rejections:
            return None
        for scope in (source_scope(call.source), str(single_account(call.scopes) or "")):
            cached = self._rejections.get((call.source, scope))
            if cached is None:
                continue
            requested_at, rejection = cached
            age = self._monotonic() - requested_at
            if age < min(CACHE_SECONDS, rejection.retry_after):
                return replace(rejection, retry_after=rejection.retry_after - age)
            self._rejections.pop((call.source, scope), None)
        return None

    def _end(self) -> None:
        if self._guard is not None:
            self._guard.end()

    def renew(self, grant: Grant) -> Grant:
        """Extend the lease of a running call.

        Raises:
            Transient: the lease had expired, so another caller may hold the slot; request admission again.
        """
        call = self._running.get(grant.id)
        if call is None:
            return self._admission.renew(grant)
        with call.lock:
            now = self._monotonic()
            call.set_grant(self._admission.renew(call.grant), now)
            return call.grant

    def release(self, grant: Grant, outcome: CallOutcome) -> None:
        """End a call, and report its outcome. A second release has no effect."""
        call = self._running.pop(grant.id, None)
        if call is None:
            self._admission.release(grant, outcome)
            return
        self._end()
        with call.lock:
            self._admission.release(call.grant, outcome)

    def renew_due(self) -> int:
        """Renew the leases of calls that have run for a while, and return how many calls are running."""
        now = self._monotonic()
        calls = list(self._running.items())
        for id_, call in calls:
            if now >= call.renew_at and now - call.started_at < self._longest_call_seconds:
                self._renew(id_, call, now)
        return len(calls)

    def _renew(self, id_: str, call: _RunningCall, now: float) -> None:
        with call.lock:
            if id_ not in self._running:
                return
            try:
                call.set_grant(self._admission.renew(call.grant), now)
            except Transient as error:
                # The slot is lost, but the call goes on and its outcome will still be reported.
                log.info("a call outlived its lease: %s", error)
                call.renew_at = float("inf")

    def _ensure_thread(self) -> None:
        if self._renews_in_background and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._run, name="adwarm-leases", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(CHECK_SECONDS):
            try:
                self.renew_due()
            except Exception as error:
                log_unexpected(log, error, "renewing leases failed; those of dead calls expire by themselves")
            with self._lock:
                if not self._running:
                    self._thread = None
                    return
