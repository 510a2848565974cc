"""The absolute days that a date range means in an account's time zone, and those that the platform serves."""

from datetime import date, datetime, timedelta

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import local_day
from adwarm_client.date_ranges import MAX_DAYS, PRESETS, Window, absolute_window


def check_served(date_range: str, today: date) -> str:
    """Return a valid `date_range` unchanged when the platform has data for its days; presets always pass.

    Args:
        date_range: what `validate_date_range` accepts.
        today: the current day in the account's zone.

    Raises:
        BadRequest: a day of it is in the future, or older than the `MAX_DAYS` that the platform keeps.
    """
    if date_range in PRESETS:
        return date_range
    window, oldest = absolute_window(date_range), today - timedelta(days=MAX_DAYS - 1)
    if window.until > today:
        raise BadRequest(f"date range {date_range!r} ends in the future; today is {today} for this account")
    if window.since < oldest:
        raise BadRequest(f"date range {date_range!r} starts before {oldest}, the oldest day that the platform keeps")
    return date_range


def resolve_window(date_range: str, zone_name: str, at: datetime) -> Window:
    """Return the absolute days that `date_range` means at `at` in the zone `zone_name`.

    `last_Nd` is N full days and ends yesterday. Weeks start on Monday unless the name says otherwise. `maximum` is
    `MAX_DAYS` long and ends today.

    Raises:
        BadRequest: the range or the zone is unknown.
    """
    preset = PRESETS.get(date_range)
    return preset(local_day(at, zone_name)) if preset else absolute_window(date_range)
