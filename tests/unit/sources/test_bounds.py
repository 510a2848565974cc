"""The bounds of pages: pages that are full are bounded by their rows, those that are not by their number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.errors import AdwarmError, Corrupt, TooMuchData
from adwarm.sources import bounds
from adwarm.sources.bounds import MAX_ROWS, PageTrail

SIZE = 500


def _read(trail: PageTrail, rows: int, pages: int) -> AdwarmError | None:
    """Add pages of `rows` rows until one is refused; return its error."""
    try:
        for number in range(pages):
            trail.add(f"{trail.count}-{number}", rows, rows / SIZE)
    except AdwarmError as error:
        return error
    return None


def test_an_honest_account_of_any_size_is_read() -> None:
    """Full pages up to the largest result, and some that are not full, stay within the bounds."""
    trail = PageTrail("act_1")
    assert _read(trail, SIZE, MAX_ROWS // SIZE - 60) is None
    assert _read(trail, 30, 50) is None
    trail.add(None, 7, 7 / SIZE)
    assert trail.cursor is None


@pytest.mark.parametrize("rows", [0, 3, 100])
def test_pages_without_an_end_are_few(rows: int) -> None:
    """Pages that are hardly filled end after about `MAX_SPARSE_PAGES` of them."""
    trail = PageTrail("act_1")
    error = _read(trail, rows, 10_000)
    assert isinstance(error, Corrupt)
    assert error.code == "pages"
    assert "not full may be 100 at most" in str(error)
    assert trail.count <= 125


def test_full_pages_without_an_end_are_too_much_data() -> None:
    """Their rows are bounded, so the request is split."""
    error = _read(PageTrail("act_1"), SIZE, 10_000)
    assert isinstance(error, TooMuchData)
    assert "exceeds 500,000 rows; request fewer days or fields" in str(error)


def test_pages_read_before_count_as_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that is continued has the whole allowance for the pages that follow; a repeated cursor is refused."""
    monkeypatch.setattr(bounds, "MAX_SPARSE_PAGES", 5)
    trail = PageTrail("act_1")
    trail.resume("x", 400, 9_000, 10)
    assert (trail.count, trail.cursor, trail.size_bytes) == (400, "x", 10)
    assert _read(trail, 1, 4) is None
    with pytest.raises(Corrupt, match="circle"):
        trail.add("x", 500, 1.0)


@given(st.lists(st.integers(0, 600), max_size=60), st.integers(1, 20))
def test_no_sequence_of_pages_exceeds_the_bound(pages: list[int], most: int) -> None:
    """Whatever pages come, those that were accepted lack less than `MAX_SPARSE_PAGES` full ones, but for the last."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "MAX_SPARSE_PAGES", most)
        _check_pages(pages, most)


def _check_pages(pages: list[int], most: int) -> None:
    trail, lacking = PageTrail("act_1"), 0.0
    for number, rows in enumerate(pages):
        try:
            trail.add(str(number), rows, rows / SIZE)
        except Corrupt:
            assert lacking + 1 >= most
            return
        lacking += 1 - min(1.0, rows / SIZE)
    assert lacking < most + 1e-6
