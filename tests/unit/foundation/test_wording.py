"""Counts, lists and durations as text."""

import csv
import io
import re
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.wording import (
    format_count,
    format_csv,
    format_duration,
    format_part,
    format_plain,
    format_sentence,
    format_some,
)


def test_a_count_agrees_with_its_noun(subtests: pytest.Subtests) -> None:
    """One has the singular, every other count the plural; thousands are grouped."""
    for count, text in [(0, "0 batches"), (1, "1 batch"), (2, "2 batches"), (1_200, "1,200 batches")]:
        with subtests.test(count=count, text=text):
            assert format_count(count, "batch", "batches") == text


def test_all_of_them_are_called_all() -> None:
    """A part is counted of the whole; the whole is not counted twice."""
    texts = [format_part(part, whole, "day") for part, whole in ((3, 12), (12, 12), (1, 1), (0, 1))]
    assert texts == ["3 of 12 days", "all 12 days", "1 day", "0 of 1 day"]


@given(st.text(max_size=40))
def test_a_sentence_begins_with_a_capital_letter_but_no_id_does(text: str) -> None:
    """Only a word of letters gets one; ids, names of settings and code stay as they are."""
    assert format_sentence(f"word {text}") == f"Word {text}"
    assert format_sentence(f"click-through: {text}") == f"Click-through: {text}"
    for first in ("act_1000", "creative-9", "`upstream`", "93%", "2026-11-01", "meta/act_1", "b7"):
        assert format_sentence(f"{first} {text}") == f"{first} {text}"


def test_a_long_list_is_cut() -> None:
    """The first names are shown, and how many more there are."""
    assert format_some([], 2) == "none"
    assert format_some(["act_1", "act_2"], 2) == "act_1, act_2"
    assert format_some([f"act_{n}" for n in range(1, 17)], 2) == "act_1, act_2 and 14 more"


def test_a_duration_has_the_unit_that_suits_it(subtests: pytest.Subtests) -> None:
    """Tenths of a second below ten seconds, then seconds, minutes, hours and days."""
    for seconds, text in [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (45, "45 s"),
        (89, "89 s"),
        (120, "2 min"),
        (5_399, "90 min"),
        (9_000, "2.5 h"),
        (259_200, "3 days"),
    ]:
        with subtests.test(seconds=seconds, text=text):
            assert format_duration(seconds) == text


STARTS = "=+-@\t\r\n＝＋－＠"


def _read_csv(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def test_text_that_begins_as_a_formula_is_text(subtests: pytest.Subtests) -> None:
    """Each character that begins a formula gets an apostrophe in front, also after spaces and in a header."""
    for start in list(STARTS):
        with subtests.test(start=start):
            assert _read_csv(format_csv([f"{start}a"], [[f"{start}b"], [f"  {start}b"]])) == [
                [f"'{start}a"],
                [f"'{start}b"],
                [f"'  {start}b"],
            ]


def test_values_keep_their_form() -> None:
    """Numbers are not changed, also as text; None is empty, an empty text quoted, and times are ISO 8601."""
    row = [-1.5, 3, "-1e-7", None, "", True, date(2026, 11, 24), datetime(2026, 11, 24, 5, tzinfo=UTC)]
    assert format_csv(["a"], [row]) == 'a\r\n-1.5,3,-1e-7,,"",true,2026-11-24,2026-11-24T05:00:00+00:00\r\n'


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    """Whatever a name holds, one cell comes back: as it was, or with an apostrophe, and never as a formula."""
    (_, (cell, end)) = _read_csv(format_csv(["a", "b"], [[text, "end"]]))
    assert (cell in {text, f"'{text}"}, end) == (True, "end")
    assert not cell.lstrip(" ").startswith(tuple(STARTS)) or float(cell) <= 0


LIVE = re.compile(
    r"[<>@*~`|#\\]|\]\(|://|\w\.[a-z]|\b_|_\b|[a-z]__|__[a-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)


@given(st.text() | st.text("<>@*_~`|#[]()!&:/.\\aA1 \n\u202e", max_size=30))
def test_nothing_in_a_plain_text_is_live(text: str) -> None:
    """Whatever somebody calls an ad: no markup, mention, link or invisible character is left, and it is stable."""
    plain = format_plain(text)
    assert not LIVE.search(plain)
    assert plain.count("\n") == text.count("\n")


def test_plain_text_stays_readable(subtests: pytest.Subtests) -> None:
    """What adwarm itself writes, such as figures, names of settings and commands, is as it was."""
    for text, plain in [
        ("38.5% of act_1, v26.0: warning → critical", "38.5% of act_1, v26.0: warning → critical"),
        (
            "`adwarm errors --kind A` and ADWARM_ALERTS__CHANNELS",
            "'adwarm errors --kind A' and ADWARM_ALERTS__CHANNELS",
        ),
        ("[deal](https://evil.example/x)", "\uff3bdeal\uff3d(https[:]//evil[.]example/x)"),
        ("a\u202eb\x1b[31m <!channel> @everyone", "ab\uff3b31m \uff1c!channel\uff1e \uff20everyone"),
    ]:
        with subtests.test(text=text):
            assert format_plain(text) == plain
