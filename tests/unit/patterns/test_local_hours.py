"""Tables of quarters of an hour agree with the clock on the wall."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from adwarm.patterns.local_hours import HourOfWeekLookup

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "zone", ["UTC", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Chatham", "Asia/Kathmandu", "Africa/Casablanca"]
)
def test_every_quarter_of_two_years(zone: str) -> None:
    """Every quarter of 2025 and 2026 has the hour of the week that zoneinfo says."""
    first, days, local_hours = (datetime(2025, 1, 1, tzinfo=UTC) - EPOCH).days, 730, HourOfWeekLookup()
    table = local_hours.table([zone], first, first + days - 1)
    start = EPOCH + timedelta(days=first)
    local = [(start + n * timedelta(minutes=15)).astimezone(ZoneInfo(zone)) for n in range(days * 96)]
    assert table.tolist() == [[moment.weekday() * 24 + moment.hour for moment in local]]
