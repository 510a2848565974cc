"""Tests of the adaptive concurrency limit."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from adwarm.backpressure.concurrency import ConcurrencyLimit, LimitRules

RULES = LimitRules(maximum=20)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 5), st.integers(0, 40)), max_size=60))
def test_the_limit_stays_in_bounds_and_is_cut_at_most_once_a_second(
    steps: list[tuple[bool, float, int]],
) -> None:
    """Whatever the outcomes, the limit is 1 to maximum, and many throttles at once are one cut."""
    limit, now, cuts = ConcurrencyLimit(10.0), 100.0, []
    for success, passed, in_flight in steps:
        now += passed
        before = limit
        limit = limit.after_success(RULES, in_flight) if success else limit.after_overload(RULES, now)
        assert 1 <= limit.slots(RULES) <= 20
        if limit.cut_at != before.cut_at:
            cuts.append(now)

    assert all(later - earlier >= 1 for earlier, later in pairwise(cuts))


def test_it_grows_by_one_in_a_limits_worth_of_successes() -> None:
    """Additive increase: about ten successes at ten in flight make eleven."""
    limit = ConcurrencyLimit(10.0)
    for _ in range(11):
        limit = limit.after_success(RULES, 10)

    assert limit.slots(RULES) == 11


def test_an_idle_limit_does_not_grow() -> None:
    """Successes at low use say nothing about more."""
    assert ConcurrencyLimit(10.0) == ConcurrencyLimit(10.0).after_success(RULES, 2)


def test_a_smaller_setting_takes_hold_at_once() -> None:
    """What is stored above the maximum counts as the maximum."""
    assert ConcurrencyLimit(500.0).slots(RULES) == 20
