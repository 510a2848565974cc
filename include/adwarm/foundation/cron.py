"""Cron expressions in a time zone, with the daylight saving rules of the usual cron daemons.

| local time                    | runs                                                                       |
|-------------------------------|----------------------------------------------------------------------------|
| skipped by a clock change     | once, as much later as the clock was moved                                 |
| repeated by a clock change    | once, the first time; both times when the hour field is an asterisk        |

Local times are computed without a zone and mapped to UTC here, because croniter's own handling of zones loses an
occurrence when a change is not a whole hour.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import zone

_ALIASES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * sun",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_RANDOM = re.compile(r"\b[hr]\b", re.IGNORECASE)
"""croniter's letters for a random or hashed value, which would give another schedule to each process."""
_MARGIN = timedelta(hours=3)
"""More than any zone moves its clock at once, apart from changes of the date line."""
_ANY_DAY = datetime(2024, 1, 1, tzinfo=UTC)
_DAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_SHORT: Final = {name[:3].lower(): place for place, name in enumerate(_DAYS)}
_NUMBER: Final = re.compile(r"\d{1,2}")
_STEP: Final = re.compile(r"\*/(\d{1,2})")


@lru_cache(maxsize=1024)
def check_cron(expression: str) -> None:
    """Check that `expression` has five fields, or is an alias such as `@daily`, and matches some day.

    Raises:
        BadRequest: it is not; the message says what to write.
    """
    from croniter import croniter

    fields = expression.split()
    hint = "write five fields, minute hour day month weekday, such as 0 7 * * mon-fri"
    if expression not in _ALIASES and (len(fields) != 5 or _RANDOM.search(expression)):
        raise BadRequest(f"cron {expression[:60]!r} is not valid; {hint}")
    try:
        croniter(expression, _ANY_DAY).get_next(datetime)
    except ValueError as error:
        raise BadRequest(f"cron {expression[:60]!r} is not valid ({error}); {hint}") from None


def find_latest(expression: str, zone_name: str, at: datetime) -> datetime:
    """Return the latest occurrence (UTC) that is not after `at`.

    Args:
        zone_name: the IANA zone in which it is read.

    Raises:
        BadRequest: expression or zone is not valid.
    """
    at, tz = utc(at), zone(zone_name)
    local = at.astimezone(tz).replace(tzinfo=None)
    latest: datetime | None = None
    for naive in _iterate(expression, local + _MARGIN, forward=False):
        moments = [moment for moment in _to_utc(expression, naive, tz) if moment <= at]
        latest = max([*moments, latest] if latest else moments, default=None)
        if latest is not None and naive < local - _MARGIN:
            return latest
    raise BadRequest(f"cron {expression[:60]!r} has no occurrence before {at}")


def list_next(expression: str, zone_name: str, after: datetime, count: int = 1) -> list[datetime]:
    """Return the next `count` occurrences (UTC) after `after`, in order.

    Raises:
        BadRequest: expression or zone is not valid.
    """
    after, tz = utc(after), zone(zone_name)
    moments: set[datetime] = set()
    enough: datetime | None = None
    for naive in _iterate(expression, after.astimezone(tz).replace(tzinfo=None) - _MARGIN, forward=True):
        if enough is not None and naive > enough:
            break
        moments.update(moment for moment in _to_utc(expression, naive, tz) if moment > after)
        if enough is None and len(moments) >= count:
            # Around a clock change a later local time may be an earlier moment.
            enough = naive + _MARGIN
    return sorted(moments)[:count]


def _iterate(expression: str, start: datetime, *, forward: bool) -> Iterator[datetime]:
    """Yield the local times of the expression after, or before, the local time `start`."""
    from croniter import croniter

    check_cron(expression)
    # UTC stands for the local clock here: it has no changes.
    times = croniter(expression, start.replace(tzinfo=UTC))
    while True:
        moment: datetime = times.get_next(datetime) if forward else times.get_prev(datetime)
        yield moment.replace(tzinfo=None)


def _to_utc(expression: str, naive: datetime, tz: ZoneInfo) -> list[datetime]:
    """Return the moments at which the local time `naive` is an occurrence."""
    first, second = (naive.replace(tzinfo=tz, fold=fold).astimezone(UTC) for fold in (0, 1))
    is_repeated = second > first
    is_every_hour = expression == "@hourly" or expression.split()[1:2] in (["*"], ["*/1"])
    return [first, second] if is_repeated and is_every_hour else [first]


def describe_cron(expression: str) -> str:
    """Return a cron expression in words, such as `Monday to Friday at 07:00`.

    Args:
        expression: a valid expression; the words name no time zone.

    Returns:
        Words, or ``the cron times `...` `` for an expression that has no short ones.
    """
    fields = _ALIASES.get(expression, expression).lower().split()
    if len(fields) == 5 and fields[3] == "*":
        days, times = _describe_days(fields[2], fields[4]), _describe_times(fields[0], fields[1])
        if days is not None and times is not None:
            return f"{days} {times}" if times.startswith("at ") or days != "every day" else times
    return f"the cron times `{expression}`"


def _describe_days(day: str, weekday: str) -> str | None:
    if day == "*" and weekday == "*":
        return "every day"
    if day == "*":
        return _describe_weekdays(weekday)
    if weekday == "*" and _NUMBER.fullmatch(day):
        return f"on day {int(day)} of each month"
    return None


def _describe_weekdays(text: str) -> str | None:
    names = []
    for part in text.split(","):
        ends = [_find_weekday(end) for end in part.split("-")]
        if len(ends) > 2 or None in ends:
            return None
        names.append(" to ".join(_DAYS[end] for end in ends if end is not None))
    return ", ".join(names)


def _find_weekday(text: str) -> int | None:
    if _NUMBER.fullmatch(text):
        return int(text) % 7 if int(text) <= 7 else None
    return _SHORT.get(text)


def _describe_times(minute: str, hour: str) -> str | None:
    if step := _STEP.fullmatch(minute):
        every = f"every {int(step[1])} minutes"
        return every if hour == "*" and 60 % max(1, int(step[1])) == 0 else None
    if not _NUMBER.fullmatch(minute):
        return None
    past = "" if int(minute) == 0 else f", {int(minute)} minutes past the hour"
    if hour == "*":
        return f"every hour{past}"
    if step := _STEP.fullmatch(hour):
        return f"every {int(step[1])} hours from midnight{past}" if 24 % max(1, int(step[1])) == 0 else None
    hours = hour.split(",")
    if not all(_NUMBER.fullmatch(text) for text in hours):
        return None
    return "at " + ", ".join(f"{int(text):02}:{int(minute):02}" for text in hours)
