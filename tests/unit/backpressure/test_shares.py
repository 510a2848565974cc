"""Tests of dividing the slots of a scope between classes."""

from hypothesis import given
from hypothesis import strategies as st

from adwarm.backpressure.shares import AGEING_SECONDS, PRIORITY_CLASSES, ClassDemand, free_slots
from adwarm.model import Priority

SHARES = (0.4, 0.3, 0.2, 0.1)
CRITICAL, HIGH, NORMAL, LOW = Priority


def waiting(*classes: Priority, at: float = 99.0) -> ClassDemand:
    """Return a demand in which these classes had to wait at `at`."""
    demand = ClassDemand()
    for priority in classes:
        demand.record_wait(priority, at)
    return demand


def test_alone_a_class_may_use_everything() -> None:
    """A class takes every free slot while no other class makes requests."""
    assert free_slots(10, SHARES, LOW, [0, 0, 0, 9], ClassDemand(), 100.0) == 1
    assert free_slots(10, SHARES, LOW, [0, 0, 0, 10], ClassDemand(), 100.0) == 0


def test_slots_that_a_higher_class_waits_for_are_kept_for_two_seconds() -> None:
    """Critical waits with no call in flight: its four slots are not lent to low."""
    assert free_slots(10, SHARES, LOW, [0, 0, 0, 6], waiting(CRITICAL), 100.0) == 0
    assert free_slots(10, SHARES, CRITICAL, [0, 0, 0, 6], waiting(CRITICAL), 100.0) == 4
    assert free_slots(10, SHARES, LOW, [0, 0, 0, 6], waiting(CRITICAL, at=97.0), 100.0) == 4


def test_a_class_that_was_served_keeps_one_slot_free() -> None:
    """Critical made a request lately and does not wait: all but one of its free slots are lent."""
    demand = waiting(CRITICAL)
    demand.record_grant(CRITICAL, 98.9)

    assert free_slots(10, SHARES, LOW, [1, 0, 0, 0], demand, 100.0) == 8


def test_a_higher_class_leaves_a_lower_one_its_share() -> None:
    """Critical at its share does not borrow the slot that low is waiting for."""
    assert free_slots(10, SHARES, CRITICAL, [9, 0, 0, 0], waiting(LOW), 100.0) == 0
    assert free_slots(10, SHARES, LOW, [9, 0, 0, 0], waiting(LOW, CRITICAL), 100.0) == 1


def test_under_ten_slots_the_most_urgent_class_goes_first() -> None:
    """Few slots are not divided."""
    assert free_slots(3, SHARES, LOW, [0, 0, 0, 0], waiting(CRITICAL, LOW, at=100.0), 100.0) == 0
    assert free_slots(3, SHARES, CRITICAL, [0, 0, 0, 0], waiting(CRITICAL, LOW, at=100.0), 100.0) == 3


def test_under_ten_slots_waiting_raises_the_priority() -> None:
    """A low call that waited for three classes' worth goes before a new critical one."""
    demand = waiting(LOW, at=100.0)
    late = 100.0 + 3 * AGEING_SECONDS + 0.1
    for moment in (101.5, 103.0, 104.5, late):
        demand.record_wait(LOW, moment)
    demand.record_wait(CRITICAL, late)

    assert free_slots(1, SHARES, CRITICAL, [0, 0, 0, 0], demand, late) == 0
    assert free_slots(1, SHARES, LOW, [0, 0, 0, 0], demand, late) == 1


@given(st.integers(1, 60), st.lists(st.sampled_from(list(Priority)), max_size=120))
def test_the_total_never_exceeds_the_slots_and_every_class_gets_its_share(slots: int, asks: list[Priority]) -> None:
    """Any order of requests keeps the total; with ten slots or more each waiting class reaches its share."""
    held = [0] * len(PRIORITY_CLASSES)
    demand = waiting(*Priority)
    for priority in [*asks, *Priority, *(p for p in Priority for _ in range(slots))]:
        if free_slots(slots, SHARES, priority, held, demand, 100.0) > 0:
            held[priority] += 1
        assert sum(held) <= slots

    if slots >= 10:
        assert all(held[priority] >= int(SHARES[priority] * slots + 1e-9) for priority in Priority)
