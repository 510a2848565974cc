"""Time zones, account-local days and date presets, by the platform's documented rules.

adwarm has its own implementation of the same rules. The two share no code, so that a mistake in one of them shows as a
disagreement; `tests/unit/graph_simulator/test_windows_agree.py` compares them.

The rules, from the Marketing API reference for `date_preset` and `time_range`:

- A range includes both of its days. Days are counted in the ad account's time zone.
- `last_Nd` is the N full days before today. Today is not part of it.
- `this_*` runs from the first day of the current period to today; `last_*` is the whole previous period.
- The name of a week preset says on which weekday the week starts.
- `maximum` and `data_maximum` reach back 37 months, which is how long the platform keeps data.
"""

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from graph_simulator.error_responses import InvalidValue

RETENTION_MONTHS = 37
_FULL_DAYS = {
    "yesterday": 1,
    "last_3d": 3,
    "last_7d": 7,
    "last_14d": 14,
    "last_28d": 28,
    "last_30d": 30,
    "last_90d": 90,
}
_MONTHS_IN_PERIOD = {"month": 1, "quarter": 3, "year": 12}
PRESETS = (
    "today",
    *_FULL_DAYS,
    "this_week_mon_today",
    "this_week_sun_today",
    "last_week_mon_sun",
    "last_week_sun_sat",
    "this_month",
    "last_month",
    "this_quarter",
    "last_quarter",
    "this_year",
    "last_year",
    "maximum",
    "data_maximum",
)


@dataclass(frozen=True, slots=True, order=True)
class DateRange:
    """Calendar days from `since` to `until`, both included.

    Raises:
        InvalidValue: `until` is before `since`.
    """

    since: date
    until: date

    def __post_init__(self) -> None:
        if self.since > self.until:
            raise InvalidValue(f"the range {self.since} to {self.until} ends before it starts")

    def __str__(self) -> str:
        return f"{self.since}..{self.until}"

    def days(self) -> list[date]:
        """Return each day of the range, oldest first."""
        return [date.fromordinal(day) for day in range(self.since.toordinal(), self.until.toordinal() + 1)]


@lru_cache(maxsize=1024)
def time_zone(name: str) -> ZoneInfo:
    """Return the IANA time zone `name`.

    Raises:
        InvalidValue: there is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InvalidValue(f"time zone {name!r} does not exist; use an IANA name such as Europe/Berlin") from None


def as_utc(moment: datetime) -> datetime:
    """Return `moment` in UTC; a moment without a time zone is taken as UTC."""
    return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def local_time(moment: datetime, zone_name: str) -> datetime:
    """Return `moment` on the wall clock of a time zone."""
    return as_utc(moment).astimezone(time_zone(zone_name))


def months_before(day: date, count: int) -> date:
    """Return the same day of the month `count` months earlier, or that month's last day when it is shorter."""
    year, month = divmod(_month_number(day) - count, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def preset_range(preset: str, today: date) -> DateRange:
    """Return the days that a date preset means when the account's day is `today`.

    Raises:
        InvalidValue: there is no such preset.
    """
    if preset not in PRESETS:
        raise InvalidValue(f"date_preset must be one of the following values: {', '.join(sorted(PRESETS))}")
    if preset == "today":
        return DateRange(today, today)
    if preset in _FULL_DAYS:
        return _days_before(today, _FULL_DAYS[preset])
    if preset in {"maximum", "data_maximum"}:
        return DateRange(months_before(today, RETENTION_MONTHS), today)
    which, period, *weekdays = preset.split("_")
    if period == "week":
        # Ordinal 1 is a Monday, so ordinal % 7 counts the days since the last Sunday.
        since_start = today.toordinal() % 7 if weekdays[0] == "sun" else (today.toordinal() - 1) % 7
        start = date.fromordinal(today.toordinal() - since_start)
        return DateRange(start, today) if which == "this" else _days_before(start, 7)
    months = _MONTHS_IN_PERIOD[period]
    first_month = _month_number(today) // months * months
    if which == "this":
        return DateRange(_first_day(first_month), today)
    return DateRange(_first_day(first_month - months), date.fromordinal(_first_day(first_month).toordinal() - 1))


def _days_before(day: date, count: int) -> DateRange:
    return DateRange(date.fromordinal(day.toordinal() - count), date.fromordinal(day.toordinal() - 1))


def _month_number(day: date) -> int:
    """Return the months from year 0 to a day; multiples of 3 and 12 start a quarter and a year."""
    return day.year * 12 + day.month - 1


def _first_day(month_number: int) -> date:
    return date(month_number // 12, month_number % 12 + 1, 1)
