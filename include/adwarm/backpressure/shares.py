"""Four classes divide the slots of a scope: each has its share, and borrows what others do not use.

What a class that waits does not yet hold of its share is never lent to one below; a class that holds its own share
leaves alone what any other waits for. A class above that asked lately without waiting keeps one slot free, so that its
next call finds it. With fewer than `DIVIDED` slots there is nothing to divide: they are served in order of priority,
and waiting makes urgent. Pure. Classes are indexed by `Priority`; a moment of 0 means never.
"""

from collections.abc import Sequence

from adwarm.model import Priority

ACTIVE_SECONDS = 2.0
GRACE_SECONDS = 1.0
MIN_SLOTS_TO_DIVIDE = 10
AGEING_SECONDS = 2.0
"""In a scope that is not divided, waiting so long counts as much as one class."""

PRIORITY_CLASSES = tuple(range(len(Priority)))
Shares = tuple[float, float, float, float]


def entitlement(slots: int, shares: Shares, priority: int) -> int:
    """Return the slots that are the class's own out of `slots`."""
    share = shares[priority]
    return max(1, int(share * slots + 1e-9)) if share > 0 else 0


def is_recent(moment: float, now: float) -> bool:
    """Whether something that last happened at `moment` still counts; a clock set back counts it."""
    return moment > 0 and now - moment <= ACTIVE_SECONDS


_NEVER = (0.0,) * len(PRIORITY_CLASSES)


class ClassDemand:
    """Who asked a scope, who waits there, and since when: one moment per class, all by the same clock.

    Attributes:
        asked: when the class last asked.
        refused: when it was last told to wait for this very scope.
        since: from when its waiting is counted.
    """

    __slots__ = ("last_request_at", "last_wait_at", "waiting_since")

    def __init__(
        self,
        asked: Sequence[float] | None = None,
        refused: Sequence[float] | None = None,
        since: Sequence[float] | None = None,
    ) -> None:
        self.last_request_at = list(asked or _NEVER)
        self.last_wait_at = list(refused or _NEVER)
        self.waiting_since = list(since or _NEVER)

    def record_wait(self, priority: int, now: float) -> None:
        """Note that the class must wait."""
        if not is_recent(self.last_wait_at[priority], now):
            self.waiting_since[priority] = now
        self.last_request_at[priority] = self.last_wait_at[priority] = now

    def record_grant(self, priority: int, now: float) -> None:
        """Note that a call of the class was let in; who waits behind it has a second to say so."""
        self.last_request_at[priority] = self.waiting_since[priority] = now
        self.last_wait_at[priority] = min(self.last_wait_at[priority], now - ACTIVE_SECONDS + GRACE_SECONDS)

    def is_waiting(self, priority: int, now: float) -> bool:
        """Whether the class was turned away lately and not served since."""
        return is_recent(self.last_wait_at[priority], now)

    def to_list(self) -> list[list[float]]:
        """Return the moments as they are stored."""
        return [self.last_request_at, self.last_wait_at, self.waiting_since]

    def is_only_class(self, priority: int, now: float) -> bool:
        """Whether no other class asked lately."""
        oldest = now - ACTIVE_SECONDS
        asked = self.last_request_at
        return all(asked[other] < oldest or other == priority for other in PRIORITY_CLASSES)

    def has_waiters(self, now: float) -> bool:
        """Whether any class does."""
        return any(is_recent(moment, now) for moment in self.last_wait_at)


def free_slots(
    slots: int, shares: Shares, priority: int, in_flight: Sequence[int], demand: ClassDemand, now: float
) -> int:
    """Return how many more of `slots` the class may take, given what each class holds and who waits."""
    free = slots - sum(in_flight)
    if free <= 0:
        return 0
    if demand.is_only_class(priority, now):
        return free
    if slots < MIN_SLOTS_TO_DIVIDE:
        return 0 if _is_overtaken(priority, demand, now) else free
    own = entitlement(slots, shares, priority) - in_flight[priority]
    above = sum(
        _slots_reserved_for(slots, shares, other, in_flight, demand, now) for other in PRIORITY_CLASSES[:priority]
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
    mine = _rank(priority, demand, now)
    return any(
        demand.is_waiting(other, now) and _rank(other, demand, now) < mine
        for other in PRIORITY_CLASSES
        if other != priority
    )


def _rank(priority: int, demand: ClassDemand, now: float) -> tuple[float, int]:
    waited = now - demand.waiting_since[priority] if demand.is_waiting(priority, now) else 0.0
    return priority - max(0.0, waited) / AGEING_SECONDS, priority
