"""When an account's day is closed."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.model import Account
from adwarm.planning.day_close import find_closing_accounts, get_close_time
from adwarm.settings import PlanningSettings

PLANNING = PlanningSettings()
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland", "Africa/Cairo"]


@given(st.sampled_from(ZONES), st.dates(date(2024, 1, 1), date(2027, 12, 31)), st.integers(1, 10**15))
def test_days_close_soon_after_their_own_midnight(zone: str, day: date, number: int) -> None:
    """Every day closes 30 to 180 minutes after the account's midnight, clock changes included."""
    moment = get_close_time(Account(f"act_{number}", zone), day, PLANNING)
    wait = timedelta(minutes=PLANNING.day_close_after_minutes)
    assert (moment - wait - timedelta(minutes=PLANNING.day_close_spread_minutes)).astimezone(
        ZoneInfo(zone)
    ).date() <= day
    assert (moment - wait).astimezone(ZoneInfo(zone)).date() == day + timedelta(days=1)


@pytest.mark.parametrize("zone", ZONES)
def test_each_day_closes_exactly_once(zone: str) -> None:
    """Runs of 15 minutes over a year, clock changes included, close each account's days once, in order."""
    account = Account("act_7", zone)
    start, step = datetime(2026, 1, 1, tzinfo=UTC), timedelta(minutes=15)
    runs = (start + run * step for run in range(366 * 96))
    days = [day for run in runs for _, day in find_closing_accounts([account], run, run + step, PLANNING)]
    assert days == [days[0] + timedelta(days=n) for n in range(len(days))]
    assert 365 <= len(days) <= 367


def test_accounts_are_spread() -> None:
    """Accounts of one zone close at many different times, each at the same one every day."""
    accounts = [Account(f"act_{n}") for n in range(200)]
    moments = {get_close_time(account, date(2026, 3, 1), PLANNING) for account in accounts}
    assert len(moments) > 150
    shifts = {
        get_close_time(account, date(2026, 3, 2), PLANNING) - get_close_time(account, date(2026, 3, 1), PLANNING)
        for account in accounts
    }
    assert shifts == {timedelta(days=1)}


def test_only_active_accounts_are_closed() -> None:
    """Denied and closed accounts cost no call; the others are ordered by closing time."""
    accounts = [Account(f"act_{n}", status=status) for n, status in enumerate(("active", "denied", "closed", "active"))]
    since = datetime(2026, 3, 2, tzinfo=UTC)
    result = find_closing_accounts(accounts, since, since + timedelta(days=1), PLANNING)
    assert {account.id for account, _ in result} == {"act_0", "act_3"}
    moments = [get_close_time(account, day, PLANNING) for account, day in result]
    assert moments == sorted(moments)
