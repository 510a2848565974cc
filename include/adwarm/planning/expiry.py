"""Until when a fetched entry answers its report key: until it is stale, or until the key covers other days."""

from datetime import UTC, datetime, timedelta

from adwarm.foundation.local_time import local_day, local_midnight
from adwarm.model import Account, FreshnessRules, ReportKey, expires_at, resolve_window

NEVER = datetime.max.replace(tzinfo=UTC)
_MAX_DAYS_AHEAD = 8


def useful_until(
    key: ReportKey, account: Account, fetched_at: datetime, rules: FreshnessRules | None = None
) -> datetime:
    """Return when an entry of `key` fetched at `fetched_at` stops answering it; `NEVER` if it never does.

    A relative range changes at the account's midnight: `yesterday` fetched at 23:50 is useful for ten minutes. The
    search ends after a week; no plan reaches further.
    """
    window = resolve_window(key.date_range, account.data_zone, fetched_at)
    stale = expires_at(window, account.data_zone, fetched_at, rules) or NEVER
    return find_range_change(key, account, fetched_at, stale) or stale


def find_range_change(key: ReportKey, account: Account, at: datetime, before: datetime) -> datetime | None:
    """Return the first midnight of the account, after `at` and before `before`, from which `key` covers other days.

    None when there is none within a week.
    """
    window = resolve_window(key.date_range, account.data_zone, at)
    today = local_day(at, account.data_zone)
    for days in range(1, _MAX_DAYS_AHEAD):
        midnight = local_midnight(today + timedelta(days=days), account.data_zone)
        if midnight >= before:
            break
        if resolve_window(key.date_range, account.data_zone, midnight) != window:
            return midnight
    return None
