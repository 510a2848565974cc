"""Counts, lists and durations as text."""

import pytest

from adwarm.foundation.wording import format_count, format_duration, format_some


def test_a_count_agrees_with_its_noun(subtests: pytest.Subtests) -> None:
    """One has the singular, every other count the plural; thousands are grouped."""
    for count, text in [(0, "0 batches"), (1, "1 batch"), (2, "2 batches"), (1_200, "1,200 batches")]:
        with subtests.test(count=count, text=text):
            assert format_count(count, "batch", "batches") == text


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
