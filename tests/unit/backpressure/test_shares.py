"""Tests of dividing the slots of a scope between classes."""

from hypothesis import given
from hypothesis import strategies as st

from adwarm.backpressure.shares import PRIORITY_CLASSES, ClassDemand, entitlement, free_slots, is_recent
from adwarm.model import Priority

SHARES = (0.4, 0.3, 0.2, 0.1)
CRITICAL, HIGH, NORMAL, LOW = Priority


def waiting(*classes: Priority, at: float = 99.0) -> ClassDemand:
    """Return a demand in which these classes had to wait at `at`."""
    demand = ClassDemand()
    for priority in classes:
        demand.record_wait(priority, at)
    return demand


def waiting_since(priority: Priority, since: float) -> ClassDemand:
    """Return a demand in which the class asked every two seconds from `since` on, up to 100."""
    demand = ClassDemand()
    while since < 100.0:
        demand.record_wait(priority, since)
        since += 2.0
    return demand


def test_alone_a_class_may_use_everything() -> None:
    """A class takes every free slot while no other class makes requests."""
    assert free_slots(10, SHARES, LOW, [0, 0, 0, 9], ClassDemand(), 100.0) == 1
    assert [free_slots(10, SHARES, LOW, [0, 0, 0, used], ClassDemand(), 100.0) for used in (10, 12)] == [0, 0]
    assert ClassDemand() == ClassDemand([0.0] * 4, [0.0] * 4, [0.0] * 4)


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


def test_each_class_is_entitled_to_its_share() -> None:
    """In whole slots, one at least; products that fall short by rounding count in full, and no share is no slot."""
    assert [entitlement(10, SHARES, priority) for priority in Priority] == [4, 3, 2, 1]
    assert [entitlement(1, SHARES, priority) for priority in Priority] == [1, 1, 1, 1]
    assert entitlement(100, (0.29, 0.57, 0.14, 0.0), CRITICAL) == 29
    assert entitlement(100, (0.29, 0.57, 0.14, 0.0), LOW) == 0
    assert entitlement(19, SHARES, HIGH) == 5


def test_lately_is_within_two_seconds() -> None:
    """Both ends of the two seconds count, and so does a moment ahead of the clock; a time of 0 is never."""
    assert [is_recent(moment, 100.0) for moment in (97.9, 98.0, 100.0, 200.0)] == [False, True, True, True]
    assert [is_recent(moment, 1.0) for moment in (0.0, 0.5)] == [False, True]
    demand = waiting(CRITICAL, at=98.0)
    assert [demand.is_only_class(priority, 100.0) for priority in (CRITICAL, LOW)] == [True, False]
    assert demand.is_only_class(LOW, 100.1)
    assert free_slots(10, SHARES, LOW, [0, 0, 0, 6], demand, 100.0) == 0


def test_a_wait_begins_anew_after_two_seconds_without_one() -> None:
    """Waits that follow each other are one; a grant ends it, and leaves other callers of the class a second to ask."""
    demand = waiting(LOW, at=100.0)
    demand.record_wait(LOW, 102.0)
    assert (demand.waiting_since[LOW], demand.last_wait_at[LOW], demand.last_request_at[LOW]) == (100.0, 102.0, 102.0)
    demand.record_wait(LOW, 104.5)
    assert demand.waiting_since[LOW] == 104.5
    demand.record_grant(LOW, 105.0)
    assert (demand.waiting_since[LOW], demand.last_wait_at[LOW], demand.last_request_at[LOW]) == (105.0, 104.0, 105.0)
    demand.record_grant(LOW, 106.0)
    assert demand.last_wait_at[LOW] == 104.0
    assert [demand.is_waiting(LOW, now) for now in (106.0, 106.1)] == [True, False]


def test_each_class_leaves_what_others_wait_for() -> None:
    """Those above within their entitlement, those below beyond the own one; a class that made a request keeps one."""
    above_and_below = waiting(CRITICAL, LOW)
    assert free_slots(20, SHARES, HIGH, [5, 0, 0, 0], above_and_below, 100.0) == 10
    assert free_slots(20, SHARES, HIGH, [5, 5, 0, 0], above_and_below, 100.0) == 5
    assert free_slots(20, SHARES, HIGH, [2, 5, 0, 9], above_and_below, 100.0) == 0
    assert free_slots(20, SHARES, HIGH, [2, 2, 0, 9], above_and_below, 100.0) == 1
    assert free_slots(20, SHARES, HIGH, [9, 2, 0, 3], above_and_below, 100.0) == 6
    assert free_slots(20, SHARES, HIGH, [5, 0, 0, 0], waiting(HIGH, NORMAL), 100.0) == 11
    served = waiting(CRITICAL, LOW)
    served.record_grant(CRITICAL, 99.0)
    assert free_slots(20, SHARES, HIGH, [8, 0, 0, 0], served, 100.5) == 10
    assert free_slots(20, SHARES, HIGH, [7, 0, 0, 0], served, 100.5) == 10
    assert free_slots(20, SHARES, HIGH, [7, 6, 0, 0], served, 100.5) == 4


def test_ten_slots_are_divided_and_nine_are_not() -> None:
    """With nine, the most urgent class may take all."""
    assert free_slots(9, SHARES, CRITICAL, [0] * 4, waiting(CRITICAL, LOW), 100.0) == 9
    assert free_slots(10, SHARES, CRITICAL, [0] * 4, waiting(CRITICAL, LOW), 100.0) == 9
    assert free_slots(9, SHARES, LOW, [0] * 4, waiting(CRITICAL, LOW), 100.0) == 0
    assert free_slots(9, SHARES, LOW, [0] * 4, waiting(CRITICAL, LOW, at=97.0), 100.0) == 9


def test_two_seconds_of_waiting_count_as_one_class() -> None:
    """Just as long a wait leaves the first to the class above; a clock that is set back makes no wait negative."""
    for seconds, first in ((1.9, HIGH), (2.0, HIGH), (2.1, NORMAL)):
        demand = waiting(NORMAL, at=100.0)
        demand.record_wait(NORMAL, 100.0 + seconds / 2)
        demand.record_wait(NORMAL, 100.0 + seconds)
        demand.record_wait(HIGH, 100.0 + seconds)
        free = {each: free_slots(1, SHARES, each, [0] * 4, demand, 100.0 + seconds) for each in (HIGH, NORMAL)}
        assert free == {HIGH: int(first is HIGH), NORMAL: int(first is NORMAL)}
    ahead = waiting(HIGH, at=110.0)
    for moment in (98.5, 100.0):
        ahead.record_wait(NORMAL, moment)
    assert free_slots(1, SHARES, HIGH, [0] * 4, ahead, 100.0) == 1
    assert free_slots(1, SHARES, HIGH, [0] * 4, waiting_since(LOW, 95.8), 100.0) == 0


def test_under_ten_slots_the_most_urgent_class_goes_first() -> None:
    """Few slots are not divided."""
    assert free_slots(3, SHARES, LOW, [0, 0, 0, 0], waiting(CRITICAL, LOW, at=100.0), 100.0) == 0
    assert free_slots(3, SHARES, CRITICAL, [0, 0, 0, 0], waiting(CRITICAL, LOW, at=100.0), 100.0) == 3


def test_under_ten_slots_waiting_raises_the_priority() -> None:
    """A low call that waited for three classes' worth goes before a new critical one."""
    demand = waiting(LOW, at=100.0)
    late = 100.0 + 3 * 2.0 + 0.1
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
