"""How the four priority classes divide the slots of a scope.

Rules, for a class that requests a slot:

1. A class that no other class competes with may take every free slot.
2. In a scope with fewer than `MIN_SLOTS_TO_DIVIDE` slots the most urgent waiting class is served first; every
   `AGEING_SECONDS` of waiting count as much as one class.
3. In a larger scope each class is entitled to its share of the slots. A class takes free slots up to its entitlement,
   except those that a class above it waits for within its own entitlement.
4. Beyond its entitlement, a class also leaves the slots that any class below it waits for within its entitlement.
5. A class above that made a request lately, without waiting, keeps one slot free for its next call.

"Lately" means within `ACTIVE_SECONDS`. The module is pure: callers pass the time. Lists are indexed by `Priority`; a
time of 0 means never.
"""

from collections.abc import Sequence

import msgspec

from adwarm.model import Priority

ACTIVE_SECONDS = 2.0
GRACE_SECONDS = 1.0
MIN_SLOTS_TO_DIVIDE = 10
AGEING_SECONDS = 2.0

PRIORITY_CLASSES = tuple(range(len(Priority)))
Shares = tuple[float, float, float, float]


def entitlement(slots: int, shares: Shares, priority: int) -> int:
    """Return the slots that the class is entitled to out of `slots`: at least one for a share above 0."""
    share = shares[priority]
    return max(1, int(share * slots + 1e-9)) if share > 0 else 0


def is_recent(moment: float, now: float) -> bool:
    """Whether `moment` is within `ACTIVE_SECONDS` of `now`; a moment in the future counts (the clock was set back)."""
    return moment > 0 and now - moment <= ACTIVE_SECONDS


def _never() -> list[float]:
    return [0.0] * len(PRIORITY_CLASSES)


class ClassDemand(msgspec.Struct, array_like=True):
    """When each class last requested capacity of a scope and last had to wait; stored as a list of its fields.

    Attributes:
        last_request_at: the last request of each class.
        last_wait_at: the last time each class had to wait for this scope.
        waiting_since: when the current wait of each class began.
    """

    last_request_at: list[float] = msgspec.field(default_factory=_never)
    last_wait_at: list[float] = msgspec.field(default_factory=_never)
    waiting_since: list[float] = msgspec.field(default_factory=_never)

    def record_wait(self, priority: int, now: float) -> None:
        """Note that the class must wait."""
        if not is_recent(self.last_wait_at[priority], now):
            self.waiting_since[priority] = now
        self.last_request_at[priority] = self.last_wait_at[priority] = now

    def record_grant(self, priority: int, now: float) -> None:
        """Note that a call of the class was admitted; other callers of the class count as waiting for one second."""
        self.last_request_at[priority] = self.waiting_since[priority] = now
        self.last_wait_at[priority] = min(self.last_wait_at[priority], now - ACTIVE_SECONDS + GRACE_SECONDS)

    def is_waiting(self, priority: int, now: float) -> bool:
        """Whether the class had to wait lately and was not served since."""
        return is_recent(self.last_wait_at[priority], now)

    def is_only_class(self, priority: int, now: float) -> bool:
        """Whether no other class made a request lately."""
        oldest = now - ACTIVE_SECONDS
        last_request_at = self.last_request_at
        return all(last_request_at[other] < oldest or other == priority for other in PRIORITY_CLASSES)


def free_slots(
    slots: int, shares: Shares, priority: int, in_flight: Sequence[int], demand: ClassDemand, now: float
) -> int:
    """Return how many more of `slots` the class may take, given the calls in flight of each class and the demand."""
    free = max(0, slots - sum(in_flight))
    if demand.is_only_class(priority, now):
        return free
    if slots < MIN_SLOTS_TO_DIVIDE:
        return 0 if _is_overtaken(priority, demand, now) else free
    own = entitlement(slots, shares, priority) - in_flight[priority]
    above = sum(
        _slots_reserved_for(slots, shares, other, in_flight=in_flight, demand=demand, now=now)
        for other in PRIORITY_CLASSES[:priority]
    )
    below = sum(
        max(0, entitlement(slots, shares, other) - in_flight[other])
        for other in PRIORITY_CLASSES[priority + 1 :]
        if demand.is_waiting(other, now)
    )
    return max(0, min(own, free - above), free - above - below)


def _slots_reserved_for(
    slots: int, shares: Shares, other: int, in_flight: Sequence[int], demand: ClassDemand, now: float
) -> int:
    missing = max(0, entitlement(slots, shares, other) - in_flight[other])
    if demand.is_waiting(other, now):
        return missing
    return min(1, missing) if is_recent(demand.last_request_at[other], now) else 0


def _is_overtaken(priority: int, demand: ClassDemand, now: float) -> bool:
    own_rank = _rank(priority, demand, now)
    return any(
        demand.is_waiting(other, now) and _rank(other, demand, now) < own_rank
        for other in PRIORITY_CLASSES
        if other != priority
    )


def _rank(priority: int, demand: ClassDemand, now: float) -> tuple[float, int]:
    waited = now - demand.waiting_since[priority] if demand.is_waiting(priority, now) else 0.0
    return priority - max(0.0, waited) / AGEING_SECONDS, priority
