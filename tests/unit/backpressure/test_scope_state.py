"""Tests of parking a scope."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.backpressure.scope_state import Parking


@given(st.lists(st.tuples(st.floats(0, 50), st.none() | st.floats(0, 4000)), max_size=20), st.integers())
def test_a_parking_is_never_shortened_and_never_ends_early(asks: list[tuple[float, float | None]], seed: int) -> None:
    """Each request is honored in full, whatever was requested before or after it."""
    rng, parking, now = Random(seed), Parking(), 1000.0
    for passed, seconds in asks:
        now += passed
        before = parking.until or 0.0
        parking = parking.extended(now, seconds, "throttled", rng)
        asked = 60.0 if seconds is None else seconds
        assert parking.until is not None
        assert parking.until >= before
        assert parking.until >= now + asked
        assert parking.until <= max(before, now + 1.1 * asked)


def test_scopes_parked_together_do_not_resume_together() -> None:
    """The jitter differs from scope to scope."""
    rng = Random(7)

    assert len({Parking().extended(0.0, 60, "throttled", rng).until for _ in range(10)}) == 10


@pytest.mark.parametrize("asked", [1e5, 6e10, 1e300, float("inf")])
def test_an_endless_park_is_cut_to_the_longest(asked: float) -> None:
    """One response cannot disable an account for years, and parks that were cut do not end at the same time."""
    ends = {Parking().extended(0.0, asked, "throttled", Random(seed), 86_400).until for seed in range(20)}

    assert len(ends) == 20
    assert all(end is not None and 0.9 * 86_400 <= end <= 86_400 for end in ends)


def test_nan_parks_for_the_default_time() -> None:
    """An unreadable time parks like a missing one; a time in the past does not park."""
    assert 60 <= (Parking().extended(0.0, float("nan"), "throttled", Random(1)).until or 0) <= 66
    assert Parking().extended(0.0, float("-inf"), "throttled", Random(1)).until == 0


def test_a_new_scope_is_not_parked() -> None:
    """A new scope may be called."""
    assert Parking().remaining_seconds(1e9) == 0
