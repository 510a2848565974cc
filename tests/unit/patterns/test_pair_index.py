"""A pair keeps its number, whether it is looked up in the grid or in the dictionary."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.patterns.pair_index import PairIndex

BATCH = st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 20)), max_size=30)


@pytest.mark.parametrize("limit", [1 << 24, 20_000])
@given(batches=st.lists(BATCH, max_size=5))
def test_numbers_count_up_and_stay(limit: int, batches: list[list[tuple[int, int]]]) -> None:
    """Numbers run from zero without gaps and lead back to the pair, also after the grid became too large."""
    pairs, known = PairIndex(limit), {}
    for batch in batches:
        accounts, ranges = np.array(batch, np.int32).reshape(-1, 2).T
        found = pairs.encode(accounts, ranges, 1501 if len(known) > 10 else 1 + max(accounts, default=0), 21)
        for pair, number in zip(batch, found.tolist(), strict=True):
            assert known.setdefault(pair, number) == number
    assert sorted(known.values()) == list(range(len(pairs)))
    assert {tuple(member): at for at, member in enumerate(pairs.pairs.tolist())} == known
