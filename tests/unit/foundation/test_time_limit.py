"""Time limits: they nest, a call's own begins with its first attempt, and what is over names its setting."""

import math
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass

import pytest

from adwarm.foundation.time_limit import TimeLimit, TimeLimitReached, check_limits, limited, seconds_left, start_limits


@dataclass
class Seconds:
    """A monotonic clock that a test moves."""

    now: float = 0.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now


def test_the_nearest_end_counts() -> None:
    """Within two limits the one that ends first holds; outside of both there is no limit."""
    clock = Seconds()
    with limited(TimeLimit(10, "the account", "A", monotonic=clock)):
        with limited(TimeLimit(3, "the call", "B", monotonic=clock)):
            assert seconds_left() == 3
            clock.now = 4
            with pytest.raises(TimeLimitReached, match=r"the call took longer than 3 s \(B\)"):
                check_limits()
        assert seconds_left() == 6
        check_limits()
    assert seconds_left() == math.inf


def test_the_time_of_a_call_begins_with_its_first_attempt() -> None:
    """Waiting for admission does not count; a second attempt does not begin anew."""
    clock = Seconds()
    with limited(TimeLimit(5, "the call", "B", waits_for_call=True, monotonic=clock)):
        clock.now = 100
        assert seconds_left() == math.inf
        start_limits()
        clock.now = 103
        start_limits()
        assert seconds_left() == 2


def test_threads_in_a_copy_of_the_context_share_the_limit() -> None:
    """A thread has the limits of the context that it runs in, and its own stay its own."""
    clock = Seconds()

    def inside() -> float:
        with limited(TimeLimit(1, "the call", "B", monotonic=clock)):
            return seconds_left()

    with limited(TimeLimit(10, "the account", "A", monotonic=clock)), ThreadPoolExecutor(1) as pool:
        assert pool.submit(copy_context().run, inside).result() == 1
        assert pool.submit(copy_context().run, seconds_left).result() == 10
        assert pool.submit(seconds_left).result() == math.inf
