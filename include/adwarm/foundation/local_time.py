"""Time zones, local days and hours of the local week, without numpy or pandas; see `local_hours` for arrays."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest

WEEK_HOURS = 168
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class LocalSlot:
    """A part of one local hour.

    Attributes:
        end: UTC, exclusive.
        hour_of_week: 0 is Monday 00:00 to 01:00 in the zone.
        begins_at: the fraction of the hour, 0 to 1, that has passed at `start`.
    """

    start: datetime
    end: datetime
    hour_of_week: int
    begins_at: float

    @property
    def share(self) -> float:
        """The fraction of a whole hour that the slot covers."""
        return min(1.0, (self.end - self.start) / _HOUR)


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """Return the IANA zone `name`.

    Raises:
        BadRequest: there is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadRequest(f"time zone {name!r} is unknown; use an IANA name such as Europe/Berlin") from None


def zone_or_default(name: object, default: str) -> str:
    """Return `name` when it is an IANA zone, else `default`."""
    try:
        return name if isinstance(name, str) and name and zone(name) else default
    except BadRequest:
        return default


@lru_cache(maxsize=4096)
def local_day(moment: datetime, zone_name: str) -> date:
    """Return the calendar day of `moment` in `zone_name`."""
    return utc(moment).astimezone(zone(zone_name)).date()


@lru_cache(maxsize=4096)
def local_midnight(day: date, zone_name: str) -> datetime:
    """Return the moment (UTC) at which `day` begins in `zone_name`."""
    return datetime.combine(day, time.min, zone(zone_name)).astimezone(UTC)


def hour_of_week(local: datetime) -> int:
    """Return the hour of the week, 0 to 167 from Monday 00:00, that a local clock shows."""
    return local.weekday() * 24 + local.hour


def hours_into_week(zone_name: str, moment: datetime) -> float:
    """Return how many hours of the local week have passed at `moment`, with fractions."""
    local = utc(moment).astimezone(zone(zone_name))
    return hour_of_week(local) + local.minute / 60 + local.second / 3600


def local_slots(zone_name: str, start: datetime, end: datetime) -> list[LocalSlot]:
    """Return the local hours of the zone that lie in `[start, end)`, the first and last clipped to it."""
    here = zone(zone_name)
    moment, end = utc(start), utc(end)
    slots = []
    while moment < end:
        local = moment.astimezone(here)
        passed = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        until = min(end, moment + _HOUR - passed)
        slots.append(LocalSlot(moment, until, hour_of_week(local), passed / _HOUR))
        moment = until
    return slots
