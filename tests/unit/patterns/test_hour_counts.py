"""No count is lost, however large, however the rows grow."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from adwarm.patterns.hour_counts import HourCounts

PART = st.tuples(
    st.sampled_from([0, 1, 8191, 8192, 40_000]),
    st.sampled_from([0, 1, 167]),
    st.sampled_from([1, 2, 32_767, 32_768, 32_769, 65_536, 100_000]),
)


def _counts(cells: HourCounts, rows: int) -> dict[tuple[int, int], int]:
    order = np.arange(rows)[::-1].copy()
    found = {}
    for places, hours, counts in cells.blocks(order, size=5000):
        found |= {(int(order[p]), int(h)): int(n) for p, h, n in zip(places, hours, counts, strict=True)}
    return found


@settings(max_examples=40)
@given(st.lists(st.tuples(st.booleans(), PART), max_size=12))
def test_counts_are_exact_beyond_what_a_cell_holds(parts: list[tuple[bool, tuple[int, int, int]]]) -> None:
    """Events one by one and counts made before add up, across the carry at 2**15 and across growth."""
    cells, wanted, rows = HourCounts(), Counter[tuple[int, int]](), 0
    for one_by_one, (row, hour, count) in parts:
        rows = max(rows, row + 1)
        cells.reserve(rows)
        if one_by_one:
            cells.add_events(np.full(count, row, np.int32), np.full(count, hour, np.int16))
        else:
            cells.add_counts(np.array([row, row]), np.array([hour, hour]), np.array([count, 1]))
        wanted[row, hour] += count + (not one_by_one)
    assert _counts(cells, rows) == dict(wanted)
