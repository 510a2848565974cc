"""Checks invariants at every event and records the events; a violation stops the simulation at once."""

from collections import deque
from dataclasses import dataclass, field
from hashlib import blake2b

from adwarm.backpressure import Grant
from adwarm.backpressure.shared_budget import SharedBudget
from adwarm.model import Priority, Scope

CONTENDED_SECONDS = 120.0
SHARE_KEPT = 0.9


class InvariantViolation(AssertionError):
    """An invariant did not hold."""


@dataclass
class InvariantChecker:
    """Checks the events of a simulation.

    Attributes:
        parked_until: until when the platform asked that a scope is not called, as far as the budget knows.
        windows: checked periods in which every class always had a call waiting for the fleet.
        open_grants: grants whose calls have not ended.
        waits: seconds from a request to its call, by class.
    """

    seed: int
    budget: SharedBudget
    parked_until: dict[Scope, float] = field(default_factory=dict)
    calls: int = 0
    windows: int = 0
    waits: dict[Priority, list[float]] = field(default_factory=lambda: {priority: [] for priority in Priority})
    open_grants: dict[str, Grant] = field(default_factory=dict)
    contended: deque[tuple[float, Priority]] = field(default_factory=deque)
    contended_since: float | None = None
    _digest: "blake2b" = field(default_factory=lambda: blake2b(digest_size=12))

    def record(self, now: float, *details: object) -> None:
        """Record an event."""
        self._digest.update(f"{now:.6f} {details}\n".encode())

    @property
    def digest(self) -> str:
        """A digest of all events."""
        return self._digest.hexdigest()

    def on_parked(self, scope: Scope, until: float) -> None:
        """Record that the budget parks a scope."""
        self.parked_until[scope] = max(self.parked_until.get(scope, 0.0), until)

    def on_call_started(self, grant: Grant, waited: float, now: float) -> None:
        """Check that no scope of the call is parked or has more calls in flight than its highest limit."""
        self.calls += 1
        self.open_grants[grant.id] = grant
        self.waits[grant.priority].append(waited)
        self.record(now, "start", grant.id, grant.priority)
        for scope in grant.scopes:
            state = self.budget.scopes[scope]
            if self.parked_until.get(scope, 0.0) > now or state.parking.remaining_seconds(now) > 0:
                self._fail(now, f"{scope} was called while it was parked")
            live = sum(scope in other.scopes for other in self.open_grants.values() if other.expires_at > now)
            if live > state.rules.limit.maximum:
                self._fail(now, f"{live} calls of {scope} are in flight, over {state.rules.limit.maximum}")

    def on_admitted(self, priority: Priority, waiting: set[Priority], now: float) -> None:
        """Note that the fleet admitted a call while the classes in `waiting` had calls waiting."""
        if len(waiting) < len(Priority):
            self.contended.clear()
            self.contended_since = None
            return
        if self.contended_since is None:
            self.contended_since = now
        self.contended.append((now, priority))
        if now - self.contended_since >= CONTENDED_SECONDS:
            self._check_shares(now)

    def _check_shares(self, now: float) -> None:
        shares, total = self.budget.settings.shares, len(self.contended)
        for priority in Priority:
            got = sum(admitted is priority for _, admitted in self.contended)
            if got < SHARE_KEPT * shares[priority] * total - 2:
                self._fail(now, f"{priority.name} got {got} of {total} calls, less than its share")
        self.windows += 1
        self.contended.clear()
        self.contended_since = None

    def on_call_ended(self, grant: Grant, now: float, how: object) -> None:
        """Note that a call ended and its grant was released."""
        self.open_grants.pop(grant.id, None)
        self.record(now, "end", grant.id, how)

    def _fail(self, now: float, what: str) -> None:
        raise InvariantViolation(f"seed {self.seed}, at {now:.3f}: {what}")
