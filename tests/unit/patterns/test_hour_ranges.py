"""Hours of the week are written as ranges that mean exactly these hours."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.patterns.hour_of_week import SHORT_DAYS, format_day, format_peaks, format_week, list_times

NIGHTS = {day * 24 + hour for day in range(5) for hour in (22, 23)} | {
    (day * 24 + hour) % 168 for day in range(1, 6) for hour in range(7)
}


def test_ranges_read_as_people_write_them(subtests: pytest.Subtests) -> None:
    """Equal ranges of several weekdays are written once, nights across midnight as one range."""
    for hours, text in [
        (set(), ""),
        (set(range(168)), "all week"),
        ({9}, "Mon 09:00-10:00"),
        (NIGHTS, "Mon-Fri 22:00-07:00"),
        ({*range(24 * 5, 24 * 7)}, "Sat-Sun all day"),
        ({*range(24 * 4 + 18, 24 * 7), *range(7)}, "Fri 18:00 to Mon 07:00"),
        ({*range(24 * 3 + 18, 24 * 5)}, "Thu 18:00 to Fri 24:00"),
        ({23, 47, 95}, "Mon-Tue, Thu 23:00-24:00"),
        ({167, 0}, "Sun 23:00-01:00"),
    ]:
        with subtests.test(hours=hours, text=text):
            assert format_week(hours) == text


def _hours(text: str) -> set[int]:
    """Read ranges back."""
    if text == "all week":
        return set(range(168))
    hours: set[int] = set()
    for part in filter(None, text.split("; ")):
        if spanning := re.fullmatch(r"(\w+) (\d+):00 to (\w+) (\d+):00", part):
            start = SHORT_DAYS.index(spanning[1]) * 24 + int(spanning[2])
            end = SHORT_DAYS.index(spanning[3]) * 24 + int(spanning[4])
            hours |= {(start + n) % 168 for n in range((end - start) % 168)}
            continue
        names, _, times = (
            part.removesuffix(" all day").rpartition(" ") if "all day" not in part else (part[:-8], "", "")
        )
        start, end = map(int, re.findall(r"(\d+):00", times)) if times else (0, 24)
        length = end - start if end > start else end + 24 - start
        for days in names.split(", "):
            first, _, last = days.partition("-")
            for day in range(SHORT_DAYS.index(first), SHORT_DAYS.index(last or first) + 1):
                hours |= {(day * 24 + start + n) % 168 for n in range(length)}
    return hours


@given(st.sets(st.integers(0, 167)) | st.sets(st.integers(0, 167)).map(lambda some: set(range(168)) - some))
def test_ranges_mean_exactly_the_hours(hours: set[int]) -> None:
    """Whatever the hours, the text names them all and no other."""
    assert _hours(format_week(hours)) == hours


@given(st.sets(st.integers(0, 167)), st.integers(0, 6))
def test_a_weekday_has_its_own_hours_only(hours: set[int], day: int) -> None:
    """The ranges of one weekday cover its hours, do not touch each other, and end at 24:00 at the latest."""
    found = [tuple(map(int, re.findall(r"(\d+):00", text))) for text in format_day(hours, day)]
    assert {hour for start, end in found for hour in range(start, end)} == {h % 24 for h in hours if h // 24 == day}
    assert all(end < start for (_, end), (start, _) in pairwise(found))


def test_peaks_are_listed_by_weekday() -> None:
    """Weekdays without a peak are left out."""
    assert format_peaks({9, 10, 14, 33}) == "Mon 09:00, 10:00, 14:00; Tue 09:00"
    assert (format_peaks(set()), list_times({33, 9}, 1)) == ("", ["09:00"])
