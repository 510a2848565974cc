"""Tests of the division of a scope's slots."""

from hypothesis import given
from hypothesis import strategies as st

from adwarm.backpressure.shares import AGEING_SECONDS, PRIORITY_CLASSES, ClassDemand, free_slots
from adwarm.model import Priority

SHARES = (0.4, 0.3, 0.2, 0.1)
CRITICAL, HIGH, NORMAL, LOW = Priority


def waiting(*classes: Priority, at: float = 99.0) -> ClassDemand:
    """Askers of which these classes were turned away at `at`."""
    askers = ClassDemand()
    for priority in classes:
        askers.record_wait(priority, at)
    return askers


def test_alone_a_class_may_use_everything() -> None:
    """Unused shares are lent while nobody else asks."""
    assert free_slots(10, SHARES, LOW, [0, 0, 0, 9], ClassDemand(), 100.0) == 1
    assert free_slots(10, SHARES, LOW, [0, 0, 0, 10], ClassDemand(), 100.0) == 0


def test_what_a_class_above_waits_for_is_kept_for_two_seconds() -> None:
    """Critical waits and holds nothing: its four slots are not lent to low."""
    assert free_slots(10, SHARES, LOW, [0, 0, 0, 6], waiting(CRITICAL), 100.0) == 0
    assert free_slots(10, SHARES, CRITICAL, [0, 0, 0, 6], waiting(CRITICAL), 100.0) == 4
    assert free_slots(10, SHARES, LOW, [0, 0, 0, 6], waiting(CRITICAL, at=97.0), 100.0) == 4


def test_a_class_that_was_served_keeps_one_slot_free() -> None:
    """Critical asked lately and waits for nothing: all but one of its free slots are lent."""
    askers = waiting(CRITICAL)
    askers.record_grant(CRITICAL, 98.9)

    assert free_slots(10, SHARES, LOW, [1, 0, 0, 0], askers, 100.0) == 8


def test_the_urgent_leave_the_patient_their_share() -> None:
    """Critical at its share does not borrow the slot that low is waiting for."""
    assert free_slots(10, SHARES, CRITICAL, [9, 0, 0, 0], waiting(LOW), 100.0) == 0
    assert free_slots(10, SHARES, LOW, [9, 0, 0, 0], waiting(LOW, CRITICAL), 100.0) == 1


def test_under_ten_slots_the_order_is_the_priority() -> None:
    """Few slots are not divided: who is most urgent among those that wait goes."""
    assert free_slots(3, SHARES, LOW, [0, 0, 0, 0], waiting(CRITICAL, LOW, at=100.0), 100.0) == 0
    assert free_slots(3, SHARES, CRITICAL, [0, 0, 0, 0], waiting(CRITICAL, LOW, at=100.0), 100.0) == 3


def test_under_ten_slots_waiting_makes_urgent() -> None:
    """Low goes before a critical call that came just now, once it waited for three classes' worth."""
    askers = waiting(LOW, at=100.0)
    late = 100.0 + 3 * AGEING_SECONDS + 0.1
    for moment in (101.5, 103.0, 104.5, late):
        askers.record_wait(LOW, moment)
    askers.record_wait(CRITICAL, late)

    assert free_slots(1, SHARES, CRITICAL, [0, 0, 0, 0], askers, late) == 0
    assert free_slots(1, SHARES, LOW, [0, 0, 0, 0], askers, late) == 1


@given(st.integers(1, 60), st.lists(st.sampled_from(list(Priority)), max_size=120))
def test_the_total_never_exceeds_the_slots_and_every_asker_gets_its_share(slots: int, asks: list[Priority]) -> None:
    """Any order of asking keeps the total, and with ten slots or more a steady asker reaches its share."""
    held = [0] * len(PRIORITY_CLASSES)
    askers = waiting(*Priority)
    for priority in [*asks, *Priority, *(p for p in Priority for _ in range(slots))]:
        if free_slots(slots, SHARES, priority, held, askers, 100.0) > 0:
            held[priority] += 1
        assert sum(held) <= slots

    if slots >= 10:
        assert all(held[priority] >= int(SHARES[priority] * slots + 1e-9) for priority in Priority)
