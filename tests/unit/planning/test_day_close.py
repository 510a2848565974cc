"""When an account's day is closed."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import example, given
from hypothesis import strategies as st

from adwarm.model import Account
from adwarm.planning.day_close import CLOSE_AFTER_MINUTES, SPREAD_MINUTES, find_closing_accounts, get_close_time

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland", "Africa/Cairo"]


@given(st.sampled_from(ZONES), st.dates(date(2024, 1, 1), date(2027, 12, 31)), st.integers(1, 10**15))
def test_days_close_soon_after_their_own_midnight(zone: str, day: date, number: int) -> None:
    """Every day closes 30 to 180 minutes after the account's midnight, clock changes included."""
    moment = get_close_time(Account(f"act_{number}", zone), day)
    wait = timedelta(minutes=CLOSE_AFTER_MINUTES)
    assert (moment - wait - timedelta(minutes=SPREAD_MINUTES)).astimezone(ZoneInfo(zone)).date() <= day
    assert (moment - wait).astimezone(ZoneInfo(zone)).date() == day + timedelta(days=1)


@given(
    st.sampled_from(ZONES),
    st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),
    st.integers(5, 240),
)
@example("Europe/Berlin", datetime(2026, 3, 27, tzinfo=UTC), 15)
@example("America/New_York", datetime(2026, 10, 30, tzinfo=UTC), 15)
@example("Pacific/Auckland", datetime(2026, 4, 3, tzinfo=UTC), 15)
@example("Africa/Cairo", datetime(2026, 4, 22, tzinfo=UTC), 15)  # its clocks change at midnight
def test_each_day_closes_exactly_once(zone: str, start: datetime, minutes: int) -> None:
    """Runs of any length over five days, clock changes included, close each of the account's days once, in order."""
    account, step = Account("act_7", zone), timedelta(minutes=minutes)
    runs = (start + run * step for run in range(timedelta(days=5) // step))
    days = [day for run in runs for _, day in find_closing_accounts([account], run, run + step)]
    assert days == [days[0] + timedelta(days=n) for n in range(len(days))]
    assert 4 <= len(days) <= 6


def test_accounts_are_spread() -> None:
    """Accounts of one zone close at many different times, each at the same one every day."""
    accounts = [Account(f"act_{n}") for n in range(200)]
    moments = {get_close_time(account, date(2026, 3, 1)) for account in accounts}
    assert len(moments) > 150
    shifts = {
        get_close_time(account, date(2026, 3, 2)) - get_close_time(account, date(2026, 3, 1)) for account in accounts
    }
    assert shifts == {timedelta(days=1)}


def test_only_active_accounts_are_closed() -> None:
    """Denied and closed accounts cost no call; the others are ordered by closing time."""
    accounts = [Account(f"act_{n}", status=status) for n, status in enumerate(("active", "denied", "closed", "active"))]
    since = datetime(2026, 3, 2, tzinfo=UTC)
    result = find_closing_accounts(accounts, since, since + timedelta(days=1))
    assert {account.id for account, _ in result} == {"act_0", "act_3"}
    moments = [get_close_time(account, day) for account, day in result]
    assert moments == sorted(moments)
