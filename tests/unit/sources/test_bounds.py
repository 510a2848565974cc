"""The bounds of pages: pages that are full are bounded by their rows, those that are not by their number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.errors import AdwarmError, Corrupt, TooMuchData
from adwarm.settings import SourceSettings
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
    """Full pages up to the largest result, and some that are not full, stay within the default settings."""
    trail = PageTrail(SourceSettings(), "act_1")
    assert _read(trail, SIZE, MAX_ROWS // SIZE - 60) is None
    assert _read(trail, 30, 50) is None
    trail.add(None, 7, 7 / SIZE)
    assert trail.cursor is None


@pytest.mark.parametrize("rows", [0, 3, 100])
def test_pages_without_an_end_are_few(rows: int) -> None:
    """Pages that are hardly filled end after about `max_pages` of them, and the error names the setting."""
    trail = PageTrail(SourceSettings(), "act_1")
    error = _read(trail, rows, 10_000)
    assert isinstance(error, Corrupt)
    assert error.code == "pages"
    assert "ADWARM_SOURCE__MAX_PAGES" in str(error)
    assert trail.count <= 125


def test_full_pages_without_an_end_are_too_much_data() -> None:
    """Their rows are bounded, so the request is split."""
    error = _read(PageTrail(SourceSettings(), "act_1"), SIZE, 10_000)
    assert isinstance(error, TooMuchData)
    assert "exceeds 500,000 rows; request fewer days or fields" in str(error)


def test_pages_read_before_count_as_full() -> None:
    """A result that is continued has the whole allowance for the pages that follow; a repeated cursor is refused."""
    trail = PageTrail(SourceSettings(max_pages=5), "act_1")
    trail.resume("x", 400, 9_000, 10)
    assert (trail.count, trail.cursor, trail.size_bytes) == (400, "x", 10)
    assert _read(trail, 1, 4) is None
    with pytest.raises(Corrupt, match="circle"):
        trail.add("x", 500, 1.0)


@given(st.lists(st.integers(0, 600), max_size=60), st.integers(1, 20))
def test_no_sequence_of_pages_exceeds_the_bound(pages: list[int], most: int) -> None:
    """Whatever pages come, those that were accepted lack less than `max_pages` full ones, but for the last."""
    trail, lacking = PageTrail(SourceSettings(max_pages=most), "act_1"), 0.0
    for number, rows in enumerate(pages):
        try:
            trail.add(str(number), rows, rows / SIZE)
        except Corrupt:
            assert lacking + 1 >= most
            return
        lacking += 1 - min(1.0, rows / SIZE)
    assert lacking < most + 1e-6
