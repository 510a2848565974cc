"""CSV that spreadsheets read as it was written and never run."""

import csv
import io
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.csv_text import format_csv

STARTS = "=+-@\t\r\n＝＋－＠"


def test_text_that_begins_as_a_formula_is_text(subtests: pytest.Subtests) -> None:
    """Each character that begins a formula gets an apostrophe in front, also after spaces and in a header."""
    for start in list(STARTS):
        with subtests.test(start=start):
            header, row, spaced = csv.reader(
                io.StringIO(format_csv([f"{start}a"], [[f"{start}1"], [f"  {start}1"]]), newline="")
            )
            assert (header, row, spaced) == ([f"'{start}a"], [f"'{start}1"], [f"'  {start}1"])


def test_values_keep_their_form() -> None:
    """Numbers are not quoted, None is empty, booleans are words, and times are ISO 8601."""
    row = [-1.5, 3, None, True, date(2026, 11, 24), datetime(2026, 11, 24, 5, tzinfo=UTC)]
    assert format_csv(["a"], [row]) == "a\r\n-1.5,3,,true,2026-11-24,2026-11-24T05:00:00+00:00\r\n"


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    """Whatever a name holds, one cell comes back: as it was, or with an apostrophe, and never as a formula."""
    (_, (cell, end)) = csv.reader(io.StringIO(format_csv(["a", "b"], [[text, "end"]]), newline=""))
    plain = text.replace("\0", "")
    assert (cell in {plain, f"'{plain}"}, end) == (True, "end")
    assert not cell.lstrip(" ").startswith(tuple(STARTS))
