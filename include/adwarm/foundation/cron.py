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
from zoneinfo import ZoneInfo

from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import zone

_ALIASES = frozenset({"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"})
_RANDOM = re.compile(r"\b[hr]\b", re.IGNORECASE)
"""croniter's letters for a random or hashed value, which would give another schedule to each process."""
_MARGIN = timedelta(hours=3)
"""More than any zone moves its clock at once, apart from changes of the date line."""
_ANY_DAY = datetime(2024, 1, 1, tzinfo=UTC)


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
        expression: a cron expression.
        zone_name: the IANA zone in which it is read.
        at: UTC.

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
