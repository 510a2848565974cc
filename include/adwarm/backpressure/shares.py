"""Four classes divide the slots of a shared scope: each has its share, and borrows what others do not use.

A share counts as wanted for two seconds after its class last asked. What a class above wants and does not yet hold is
never lent; a class that already holds its own share leaves alone what any other class wants. So the urgent do not wait
behind the patient, and the patient keep their share. Each share is worth at least one slot; with fewer slots than
classes, that is service in order of priority.
"""

from collections.abc import Mapping

from adwarm.model import Priority

ACTIVE_SECONDS = 2.0


def entitlement(slots: int, shares: tuple[float, float, float, float], priority: Priority) -> int:
    """Return the slots that are the class's own out of `slots`."""
    share = shares[priority]
    return max(1, int(share * slots + 1e-9)) if share > 0 else 0


def may_take(
    slots: int,
    shares: tuple[float, float, float, float],
    priority: Priority,
    held: Mapping[Priority, int],
    last_asked: Mapping[Priority, float],
    now: float,
) -> bool:
    """Return whether the class may take one more of `slots`, given what each class holds and when it last asked."""
    borrowing = held.get(priority, 0) >= entitlement(slots, shares, priority)
    reserved = sum(
        max(0, entitlement(slots, shares, other) - held.get(other, 0))
        for other in Priority
        if other != priority and (other < priority or borrowing) and _is_active(last_asked.get(other), now)
    )
    return sum(held.values()) + 1 <= slots - reserved


def _is_active(asked_at: float | None, now: float) -> bool:
    return asked_at is not None and now - asked_at <= ACTIVE_SECONDS
