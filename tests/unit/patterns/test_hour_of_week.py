"""Counts by hour of the reader's week equal a count of single events, however the slots are split."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.patterns import open_counts
from adwarm.patterns.access_profiles import profile_and_count_log
from adwarm.patterns.hour_of_week import (
    SHORT_DAYS,
    format_day,
    format_peaks,
    format_week,
    list_times,
)
from adwarm.patterns.open_counts import count_hours_of_week
from adwarm.patterns.slot_counts import SlotAggregator
from adwarm.settings import Settings
from tests.unit.patterns.conftest import Event, event_batch

ZONES = [
    "UTC",
    "America/New_York",
    "America/Sao_Paulo",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Adelaide",
    "Australia/Lord_Howe",
]
START = datetime(2026, 3, 1, tzinfo=UTC)  # six weeks over four changes of clocks

EVENT = st.tuples(
    st.one_of(
        st.integers(0, 60 * 60 * 24 * 42),
        # around the changes of New York, Berlin and Adelaide
        st.builds(
            lambda day, second: day * 86_400 + second,
            st.sampled_from([7, 28, 34, 35]),
            st.integers(0, 86_399),
        ),
    ),
    st.sampled_from([f"act_{n}" for n in (1, 2, 30, 4)]),
    st.sampled_from(["today", "last_7d", "2026-01-01..2026-01-31"]),
    st.sampled_from([*ZONES, ""]),
    st.sampled_from(["human", "human", "embedded", "api"]),
)


def _table(*parts: list[Event], default_zone: str = "UTC") -> pd.DataFrame:
    slots = SlotAggregator()
    for events in parts:
        slots.add(event_batch(START, events))
    return count_hours_of_week((table for _, table in slots.days()), default_zone)


def _counted(events: list[Event], default_zone: str = "UTC") -> list[object]:
    """Count with pandas and zoneinfo, one event at a time."""
    rows = []
    for at, account, name, zone, actor in events:
        if actor in {"human", "embedded"}:
            local = (START + timedelta(seconds=at)).astimezone(ZoneInfo(zone or default_zone))
            rows.append((account, name, local.weekday() * 24 + local.hour))
    names = ["account_id", "date_range", "hour_of_week"]
    counts = pd.DataFrame(rows, columns=names).groupby(names).size().rename("opens").reset_index()
    return counts.to_dict("records")


@given(st.lists(EVENT, max_size=80))
def test_counts_equal_a_count_of_single_events(events: list[Event]) -> None:
    """Holds in eight zones with whole, half and quarter hour offsets, over clock changes; programs do not count."""
    assert _table(events).to_dict("records") == _counted(events)


@given(st.lists(EVENT, max_size=80), st.integers(1, 7), st.integers(1, 3))
def test_counts_do_not_depend_on_how_slots_are_split(events: list[Event], size: int, rows_at_once: int) -> None:
    """Batches of any size, slots in one table or one a day, and few rows at once give the same table."""
    whole = _table(events)
    pieces = [events[at : at + size] for at in range(0, len(events), size)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_counts, "_ROWS_AT_ONCE", rows_at_once)
        assert _table(*pieces).equals(whole)
    slots = SlotAggregator()
    slots.add(event_batch(START, events))
    assert count_hours_of_week([slots.table()], "UTC").equals(whole)


@given(st.lists(EVENT, max_size=40))
def test_events_without_a_zone_take_the_default(events: list[Event]) -> None:
    """The setting decides where the log names no zone."""
    assert _table(events, default_zone="Asia/Kolkata").to_dict("records") == _counted(events, "Asia/Kolkata")


def test_no_human_opens_give_an_empty_table() -> None:
    """The columns stay."""
    for counts in (count_hours_of_week([], "UTC"), _table([(0, "act_1", "today", "", "api")])):
        assert (len(counts), list(counts)) == (0, ["account_id", "date_range", "hour_of_week", "opens"])


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_a_log_of_any_format_is_counted_in_the_default_zone(tmp_path: Path, suffix: str) -> None:
    """The format does not matter; the setting's zone fills in."""
    # Equal distances would be reloads.
    moments = pd.date_range(START, periods=200, freq="37min")
    moments += pd.to_timedelta([5 * (number % 3) for number in range(200)], unit="min")
    frame = pd.DataFrame({"ts": moments, "account_id": "act_1", "date_range": "today"})
    path = tmp_path / f"log.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(path, index=False, row_group_size=50)
    else:
        frame.to_json(path, orient="records", lines=True, date_format="iso")
    found = profile_and_count_log(str(path), Settings(default_zone="Asia/Kathmandu"))[1]
    expected = moments.tz_convert("Asia/Kathmandu")
    counts = pd.Series(expected.day_of_week * 24 + expected.hour).value_counts()
    assert dict(zip(found["hour_of_week"], found["opens"], strict=True)) == counts.to_dict()


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
