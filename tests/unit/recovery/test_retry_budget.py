"""Tests of the retry budget."""

from hypothesis import given
from hypothesis import strategies as st

from adwarm.recovery.retry_budget import RetryBudget


@given(st.lists(st.booleans(), max_size=400))
def test_retries_stay_a_tenth_of_first_tries_beyond_the_reserve(steps: list[bool]) -> None:
    """However tries and retries interleave, at most ten more than a tenth is granted."""
    budget, tries, retries = RetryBudget(0.1), 0, 0
    for first in steps:
        if first:
            budget.record_first_attempt()
            tries += 1
        else:
            retries += budget.try_acquire()

    assert retries <= 10 + tries / 10 + 1e-6


def test_a_ratio_of_zero_never_retries() -> None:
    """The setting can switch retries off."""
    budget = RetryBudget(0.0)
    budget.record_first_attempt()

    assert not budget.try_acquire()


def test_ten_first_tries_earn_exactly_one_retry() -> None:
    """Tenths add up in spite of floating point."""
    budget = RetryBudget(0.1)
    while budget.try_acquire():
        pass
    for _ in range(10):
        budget.record_first_attempt()

    assert budget.try_acquire()
    assert not budget.try_acquire()
