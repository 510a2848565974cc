"""Words for hours of the reader's week, such as `Mon-Fri 22:00-07:00; Sat-Sun all day`."""

from collections.abc import Collection
from itertools import pairwise

from adwarm.foundation.local_time import WEEK_HOURS
from adwarm.model import WEEKDAYS

SHORT_DAYS = tuple(name[:3] for name in WEEKDAYS)


def format_time(hour: int) -> str:
    """Return an hour of the day or of the week as `09:00`."""
    return f"{hour % 24:02d}:00"


def format_week(hours: Collection[int]) -> str:
    """Return hours of the week as ranges; equal ranges of several weekdays are written once.

    A range may cross midnight: `Mon-Thu 17:00-09:00` ends on the next day. No hours give an empty text.
    """
    chosen = set(hours)
    if len(chosen) == WEEK_HOURS:
        return "all week"
    days_by_range: dict[tuple[int, int], list[int]] = {}
    for start in sorted(hour for hour in chosen if (hour - 1) % WEEK_HOURS not in chosen):
        length = next(n for n in range(1, WEEK_HOURS) if (start + n) % WEEK_HOURS not in chosen)
        days_by_range.setdefault((start % 24, length), []).append(start // 24)
    return "; ".join(_format_range(days, *span) for span, days in days_by_range.items())


def format_day(hours: Collection[int], weekday: int) -> list[str]:
    """Return those of the hours of the week that lie on one weekday, 0 for Monday, as ranges such as `00:00-07:00`."""
    chosen = sorted(hour % 24 for hour in hours if hour // 24 == weekday)
    starts = [hour for before, hour in pairwise([-2, *chosen]) if hour != before + 1]
    ends = [hour + 1 for hour, after in pairwise([*chosen, 99]) if after != hour + 1]
    return [f"{format_time(start)}-{_format_end(end)}" for start, end in zip(starts, ends, strict=True)]


def list_times(hours: Collection[int], weekday: int) -> list[str]:
    """Return those of the hours of the week that lie on one weekday, 0 for Monday, as times such as `09:00`."""
    return [format_time(hour) for hour in sorted(hours) if hour // 24 == weekday]


def format_peaks(hours: Collection[int]) -> str:
    """Return hours of the week by weekday: `Mon 09:00, 10:00, 14:00; Tue 09:00`. No hours give an empty text."""
    days = ((SHORT_DAYS[day], list_times(hours, day)) for day in range(7))
    return "; ".join(f"{name} {', '.join(times)}" for name, times in days if times)


def _format_range(days: list[int], start: int, length: int) -> str:
    if start == 0 and length % 24 == 0:
        return f"{_format_days(sorted({(day + n) % 7 for day in days for n in range(length // 24)}))} all day"
    if length <= 24:
        return f"{_format_days(days)} {format_time(start)}-{_format_end(start + length)}"
    spans = []
    for day in days:
        end = (day * 24 + start + length) % WEEK_HOURS
        until, time = (end // 24, format_time(end)) if end % 24 else ((end // 24 - 1) % 7, "24:00")
        spans.append(f"{SHORT_DAYS[day]} {format_time(start)} to {SHORT_DAYS[until]} {time}")
    return "; ".join(spans)


def _format_end(hour: int) -> str:
    return "24:00" if hour == 24 else format_time(hour)


def _format_days(days: list[int]) -> str:
    """Return weekdays, ascending, as `Mon-Fri` or `Mon, Wed-Thu`."""
    starts = [day for before, day in pairwise([-2, *days]) if day != before + 1]
    ends = [day for day, after in pairwise([*days, 99]) if after != day + 1]
    return ", ".join(
        SHORT_DAYS[start] if start == end else f"{SHORT_DAYS[start]}-{SHORT_DAYS[end]}"
        for start, end in zip(starts, ends, strict=True)
    )
