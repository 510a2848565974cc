"""Time zones and local time."""

from datetime import date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest


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


def local_day(moment: datetime, zone_name: str) -> date:
    """Return the calendar day of `moment` in `zone_name`."""
    return utc(moment).astimezone(zone(zone_name)).date()
