"""Whether readers are few right now, by the stored access patterns."""

from datetime import datetime

from sqlalchemy import Engine

from adwarm.foundation.local_time import zone
from adwarm.model import ALL_ACCOUNTS
from adwarm.store import access_patterns


def is_off_peak(engine: Engine, now: datetime) -> bool | None:
    """Return whether `now` is one of the quiet hours of all accounts together; None when none are stored.

    The hours are those of the readers' own zones. With readers in several zones it is off-peak when it is a quiet hour
    for at least half of the opens.
    """
    quiet = {(hour.weekday, hour.hour) for hour in access_patterns.list_hours(engine, ALL_ACCOUNTS) if hour.is_quiet}
    zones = {
        name: opens
        for item in access_patterns.list_summaries(engine, ALL_ACCOUNTS)
        for name, opens in item.time_zones.items()
    }
    if not quiet or not sum(zones.values()):
        return None
    in_quiet = sum(opens for name, opens in zones.items() if _hour_of_week(now, name) in quiet)
    return 2 * in_quiet >= sum(zones.values())


def _hour_of_week(now: datetime, zone_name: str) -> tuple[int, int]:
    local = now.astimezone(zone(zone_name))
    return local.isoweekday(), local.hour
