"""Background iteration yields the same items and errors as direct iteration."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.background_iterator import iterate_in_background


@given(st.lists(st.one_of(st.none(), st.integers())), st.integers(1, 3))
def test_items_come_in_order(items: list[int | None], depth: int) -> None:
    """Nothing is lost, added or swapped; None is an item like another."""
    assert list(iterate_in_background(items, depth)) == items


def test_an_error_comes_after_the_items_before_it() -> None:
    """The caller gets the items before the error, then the error itself."""

    def source() -> Iterator[int]:
        yield 1
        raise ValueError("torn")

    found = iterate_in_background(source())
    assert next(found) == 1
    with pytest.raises(ValueError, match="torn"):
        next(found)


def test_a_caller_that_stops_ends_the_thread() -> None:
    """An endless source is not read on, and no thread remains."""

    def endless() -> Iterator[int]:
        while True:
            yield 1

    found = iterate_in_background(endless())
    assert next(found) == 1
    found.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "adwarm-ahead"]
