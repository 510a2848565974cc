"""The words of dashboards become presets; what is ambiguous stays rejected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.access_log.events import date_range_reader
from adwarm.foundation.errors import BadRequest
from adwarm.model import PRESETS

read = date_range_reader({})


def test_common_words_are_understood(subtests: pytest.Subtests) -> None:
    """Case, spaces, hyphens and the usual synonyms do not matter."""
    for text, preset in [
        ("Last 7 Days", "last_7d"),
        ("last-7-days", "last_7d"),
        ("LAST_7_DAYS", "last_7d"),
        ("past 30 days", "last_30d"),
        ("7d", "last_7d"),
        ("14 days", "last_14d"),
        ("yesterday ", "yesterday"),
        ("last 1 day", "yesterday"),
        ("ThisMonth", "this_month"),
        ("month to date", "this_month"),
        ("Previous Month", "last_month"),
        ("lifetime", "maximum"),
        ("last_week_mon_sun", "last_week_mon_sun"),
        ("2026-01-01..2026-01-31", "2026-01-01..2026-01-31"),
        ("2026-01-01 - 2026-01-31", "2026-01-01..2026-01-31"),
        ("2026-01-01/2026-01-31", "2026-01-01..2026-01-31"),
        ("2026-01-01 to 2026-01-31", "2026-01-01..2026-01-31"),
        ('{"since":"2026-01-01","until":"2026-01-31"}', "2026-01-01..2026-01-31"),
        ("{'until': '2026-01-31', 'since': '2026-01-01'}", "2026-01-01..2026-01-31"),
    ]:
        with subtests.test(text=text, preset=preset):
            assert read(text) == preset


def test_what_is_no_range_of_the_platform_is_refused(subtests: pytest.Subtests) -> None:
    """A range is not guessed."""
    for text in ["last 5 days", "1", "7", "q3", "", "custom", "2026-01-31..2026-01-01", "last_7d; x", "3m"]:
        with subtests.test(text=text), pytest.raises(BadRequest):
            read(text)


def test_own_words_come_from_the_settings() -> None:
    """Case and repeated spaces of a configured word do not matter; it may override a known one."""
    own = date_range_reader({"Letzte Woche": "last_week", "7d": "Last 14 Days"})
    assert (own("letzte  woche "), own("7D"), own("today")) == ("last_week", "last_14d", "today")


@given(st.sampled_from(sorted(PRESETS)), st.sampled_from(["", "_", "-", " "]), st.booleans())
def test_every_preset_is_understood_in_every_spelling(preset: str, separator: str, is_upper: bool) -> None:
    """A preset with other separators and case is the preset."""
    text = preset.replace("_", separator)
    assert read(text.upper() if is_upper else text) == preset


@given(st.text(max_size=40))
def test_no_text_raises_anything_else(text: str) -> None:
    """Whatever the text is, the result is a valid range or the usual error."""
    try:
        found = read(text)
    except BadRequest:
        return
    assert found in PRESETS or ".." in found
