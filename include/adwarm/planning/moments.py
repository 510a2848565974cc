"""A moment as people write it: `9:00`, `yesterday 9:00`, `2026-03-04 09:00`, or ISO 8601 with an offset."""

import re
from datetime import UTC, datetime, time, timedelta
from typing import Final

from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import zone

_CLOCK: Final = re.compile(
    r"(?:(?P<day>today|yesterday|tomorrow) +)?(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2}) ?(?P<half>am|pm)?",
    re.IGNORECASE,
)
_DAYS: Final = {"yesterday": -1, "today": 0, "tomorrow": 1}


def read_moment(text: str, zone_name: str, now: datetime) -> datetime:
    """Return a moment in UTC. A time alone is the newest one that has passed; without an offset it is local.

    Args:
        zone_name: the IANA zone of a text that names no offset.

    Raises:
        BadRequest: it is not a moment.
    """
    here, text = zone(zone_name), text.strip()
    try:
        if (match := _CLOCK.fullmatch(text)) is None:
            moment = datetime.fromisoformat(text)
            return utc(moment if moment.tzinfo else moment.replace(tzinfo=here))
        hour = int(match["hour"])
        if match["half"]:
            if not 1 <= hour <= 12:
                raise ValueError(hour)
            hour = hour % 12 + 12 * (match["half"].lower() == "pm")
        clock = time(hour, int(match["minute"]))
    except ValueError:
        example = f"9:00, yesterday 9:00 or 2026-03-04 09:00 in {zone_name}, or with an offset 2026-03-04T09:00+00:00"
        raise BadRequest(f"{text[:40]!r} is not a time; write one such as {example}") from None
    day = now.astimezone(here).date() + timedelta(days=_DAYS[(match["day"] or "today").lower()])
    moment = datetime.combine(day, clock, here).astimezone(UTC)
    if match["day"] is None and moment > now:
        moment = datetime.combine(day - timedelta(days=1), clock, here).astimezone(UTC)
    return moment
