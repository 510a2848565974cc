"""Background iteration yields the same items and errors as direct iteration."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.patterns.background_iterator import iterate_in_background, map_in_background


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


def test_mapped_items_come_in_order_and_few_are_read_ahead() -> None:
    """Results keep the order of their items, and no more items are in memory than workers plus one."""
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            read.append(number)
            yield number

    ahead = []
    for taken, result in enumerate(map_in_background(lambda number: number * number, items(), workers=2)):
        assert result == taken * taken
        ahead.append(len(read) - taken)
    assert max(ahead) <= 3


def test_an_error_of_a_mapped_item_is_raised() -> None:
    """The results before the error arrive first."""
    results = map_in_background(lambda number: 6 // number, [3, 2, 0, 1])
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)
