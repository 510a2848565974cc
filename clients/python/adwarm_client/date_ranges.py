"""Date ranges: the names of relative ones, and absolute days."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from adwarm_client.errors import BadRequest

ONE_DAY = timedelta(days=1)
MAX_DAYS = 1122
"""Longest window: the platform keeps data for 37 months."""


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """Absolute days, both ends included."""

    since: date
    until: date

    def __post_init__(self) -> None:
        if self.until < self.since:
            raise BadRequest(f"window ends on {self.until}, before it starts on {self.since}; swap the two days")

    def __len__(self) -> int:
        return (self.until - self.since).days + 1

    def __contains__(self, day: date) -> bool:
        return self.since <= day <= self.until

    def __str__(self) -> str:
        return f"{self.since}..{self.until}"

    def days(self) -> Iterator[date]:
        """Yield each day, oldest first."""
        for offset in range(len(self)):
            yield self.since + timedelta(days=offset)


def _month_start(day: date) -> date:
    return day.replace(day=1)


def _quarter_start(day: date) -> date:
    return date(day.year, 3 * ((day.month - 1) // 3) + 1, 1)


def _week_start(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _sunday_start(day: date) -> date:
    return day - timedelta(days=(day.weekday() + 1) % 7)


def _last_days(count: int) -> Callable[[date], Window]:
    return lambda today: Window(today - timedelta(days=count), today - ONE_DAY)


def _previous_period(start: Callable[[date], date]) -> Callable[[date], Window]:
    """Return a function that resolves to the whole period before the current one."""

    def resolve(today: date) -> Window:
        until = start(today) - ONE_DAY
        return Window(start(until), until)

    return resolve


def _maximum(today: date) -> Window:
    """Return the longest window that ends today."""
    return Window(today - timedelta(days=MAX_DAYS - 1), today)


PRESETS: dict[str, Callable[[date], Window]] = {
    "today": lambda today: Window(today, today),
    "yesterday": _last_days(1),
    "last_3d": _last_days(3),
    "last_7d": _last_days(7),
    "last_14d": _last_days(14),
    "last_28d": _last_days(28),
    "last_30d": _last_days(30),
    "last_90d": _last_days(90),
    "this_week": lambda today: Window(_week_start(today), today),
    "last_week": _previous_period(_week_start),
    "this_week_mon_today": lambda today: Window(_week_start(today), today),
    "this_week_sun_today": lambda today: Window(_sunday_start(today), today),
    "last_week_mon_sun": _previous_period(_week_start),
    "last_week_sun_sat": _previous_period(_sunday_start),
    "this_month": lambda today: Window(_month_start(today), today),
    "last_month": _previous_period(_month_start),
    "this_quarter": lambda today: Window(_quarter_start(today), today),
    "last_quarter": _previous_period(_quarter_start),
    "this_year": lambda today: Window(date(today.year, 1, 1), today),
    "last_year": _previous_period(lambda day: date(day.year, 1, 1)),
    "maximum": _maximum,
    "data_maximum": _maximum,
}
_ABSOLUTE = re.compile(r"(\d{4}-\d{2}-\d{2})\.\.(\d{4}-\d{2}-\d{2})")


def validate_date_range(date_range: str) -> str:
    """Return `date_range` unchanged when it is a preset or `YYYY-MM-DD..YYYY-MM-DD`.

    Raises:
        BadRequest: it is neither, its days are in the wrong order, or there are more than `MAX_DAYS`.
    """
    if date_range not in PRESETS and len(absolute_window(date_range)) > MAX_DAYS:
        raise BadRequest(f"date range {date_range!r} is longer than {MAX_DAYS} days; ask for a shorter one")
    return date_range


def absolute_window(date_range: str) -> Window:
    """Return the days of `YYYY-MM-DD..YYYY-MM-DD`.

    Raises:
        BadRequest: it is something else, or its days are in the wrong order.
    """
    match = _ABSOLUTE.fullmatch(date_range)
    try:
        if match:
            return Window(date.fromisoformat(match[1]), date.fromisoformat(match[2]))
    except ValueError as error:
        raise BadRequest(f"date range {date_range!r}: {error}") from None
    presets = ", ".join(PRESETS)
    raise BadRequest(f"date range {date_range[:40]!r} is neither YYYY-MM-DD..YYYY-MM-DD nor one of {presets}")
