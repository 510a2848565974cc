"""Tests of the division of the fleet's slots."""

from hypothesis import given
from hypothesis import strategies as st

from adwarm.backpressure.shares import may_take
from adwarm.model import Priority

SHARES = (0.4, 0.3, 0.2, 0.1)
CRITICAL, HIGH, NORMAL, LOW = Priority


def test_alone_a_class_may_use_everything() -> None:
    """Unused shares are lent while nobody else asks."""
    assert may_take(10, SHARES, LOW, {LOW: 9}, {}, 100.0)
    assert not may_take(10, SHARES, LOW, {LOW: 10}, {}, 100.0)


def test_what_a_class_above_wants_is_kept_for_two_seconds() -> None:
    """Critical asked a moment ago and holds nothing: its four slots are not lent to low."""
    assert not may_take(10, SHARES, LOW, {LOW: 6}, {CRITICAL: 99.0}, 100.0)
    assert may_take(10, SHARES, CRITICAL, {LOW: 6}, {CRITICAL: 99.0}, 100.0)
    assert may_take(10, SHARES, LOW, {LOW: 6}, {CRITICAL: 97.0}, 100.0)


def test_the_urgent_leave_the_patient_their_share() -> None:
    """Critical at its share does not borrow the slot that low is waiting for."""
    assert not may_take(10, SHARES, CRITICAL, {CRITICAL: 9}, {LOW: 99.5}, 100.0)
    assert may_take(10, SHARES, LOW, {CRITICAL: 9}, {LOW: 99.5, CRITICAL: 99.5}, 100.0)


def test_with_one_slot_the_order_is_the_priority() -> None:
    """A fleet of one serves who is most urgent among those that asked."""
    assert not may_take(1, SHARES, LOW, {}, {CRITICAL: 100.0, LOW: 100.0}, 100.0)
    assert may_take(1, SHARES, CRITICAL, {}, {CRITICAL: 100.0, LOW: 100.0}, 100.0)


@given(st.integers(1, 60), st.lists(st.sampled_from(list(Priority)), max_size=120))
def test_the_total_never_exceeds_the_slots_and_every_asker_gets_its_share(slots: int, asks: list[Priority]) -> None:
    """Any order of asking keeps the total, and with ten slots or more a steady asker reaches its share."""
    held = dict.fromkeys(Priority, 0)
    asked = dict.fromkeys(Priority, 100.0)
    for priority in [*asks, *Priority, *(p for p in Priority for _ in range(slots))]:
        if may_take(slots, SHARES, priority, held, asked, 100.0):
            held[priority] += 1
        assert sum(held.values()) <= slots

    if slots >= 10:
        assert all(held[priority] >= int(SHARES[priority] * slots + 1e-9) for priority in Priority)
