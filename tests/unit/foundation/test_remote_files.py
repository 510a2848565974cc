"""A parallel map gives what a plain one gives, in the same order, with bounded memory."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.remote_files import map_ordered


@given(st.lists(st.integers()), st.integers(1, 5))
def test_it_equals_the_plain_map(items: list[int], width: int) -> None:
    """Nothing is lost, added or swapped, whatever the width."""
    assert list(map_ordered(lambda number: number * 2, items, width)) == [number * 2 for number in items]


def test_width_calls_run_at_once() -> None:
    """Each call waits for the others, so fewer at once would never end."""
    barrier = threading.Barrier(4, timeout=30)
    assert len(list(map_ordered(lambda _: barrier.wait(), range(4), 4))) == 4


def test_one_item_or_one_at_once_needs_no_thread() -> None:
    """The function runs in the calling thread."""
    own = threading.get_ident()
    found = [*map_ordered(lambda _: threading.get_ident(), [1], 8)]
    found += map_ordered(lambda _: threading.get_ident(), [1, 2], 1)
    assert found == [own] * 3


def test_a_caller_that_stops_ends_the_threads() -> None:
    """What has not started never does."""
    calls: list[int] = []
    found: Any = map_ordered(calls.append, range(1_000), 2)
    next(found)
    found.close()
    assert len(calls) <= 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("adwarm-parallel")]


def test_mapped_items_come_in_order_and_few_are_read_ahead() -> None:
    """Results keep the order of their items, and no more items are in memory than workers plus one."""
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            read.append(number)
            yield number

    ahead = []
    for taken, result in enumerate(map_ordered(lambda number: number * number, items(), 2)):
        assert result == taken * taken
        ahead.append(len(read) - taken)
    assert max(ahead) <= 3


def test_an_error_of_a_mapped_item_is_raised() -> None:
    """The results before the error arrive first."""
    results = map_ordered(lambda number: 6 // number, [3, 2, 0, 1], 2)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)
