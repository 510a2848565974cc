"""How long a fetched entry answers its report key: until it is stale, or until the key means other days."""

from datetime import UTC, datetime, timedelta

from adwarm.foundation.local_time import local_day, local_midnight
from adwarm.model import Account, FreshnessRules, ReportKey, expires_at, resolve_window

NEVER = datetime.max.replace(tzinfo=UTC)
_FORESIGHT_DAYS = 8


def useful_until(
    key: ReportKey, account: Account, fetched_at: datetime, rules: FreshnessRules | None = None
) -> datetime:
    """Return when an entry of `key` fetched at `fetched_at` stops answering it; `NEVER` if it never does.

    A relative range moves on at the account's midnight: `yesterday` fetched at 23:50 is useful for ten minutes. Looks
    a week ahead; a window that moves later than that is beyond any plan.
    """
    window = resolve_window(key.date_range, account.data_zone, fetched_at)
    stale = expires_at(window, account.data_zone, fetched_at, rules) or NEVER
    today = local_day(fetched_at, account.data_zone)
    for ahead in range(1, _FORESIGHT_DAYS):
        midnight = local_midnight(today + timedelta(days=ahead), account.data_zone)
        if midnight >= stale:
            break
        if resolve_window(key.date_range, account.data_zone, midnight) != window:
            return midnight
    return stale
