"""When each account's day is over and worth fetching whole: after its own midnight, spread over accounts."""

import hashlib
from collections.abc import Iterable
from datetime import date, datetime, timedelta

from adwarm.foundation.clock import utc
from adwarm.foundation.local_time import local_day, local_midnight
from adwarm.model import Account
from adwarm.settings import PlanningSettings

_DAY = timedelta(days=1)


def get_close_time(account: Account, day: date, planning: PlanningSettings) -> datetime:
    """Return the moment (UTC) at which `day` of the account is closed.

    That is the account's midnight after `day`, plus `day_close_after_minutes`, plus a share of
    `day_close_spread_minutes` that depends on the account's id alone.
    """
    midnight = local_midnight(day + _DAY, account.data_zone)
    digest = hashlib.sha256(account.id.encode()).digest()
    spread = int.from_bytes(digest[:8], "big") % (planning.day_close_spread_minutes * 60)
    return midnight + timedelta(minutes=planning.day_close_after_minutes, seconds=spread)


def find_closing_accounts(
    accounts: Iterable[Account], since: datetime, until: datetime, planning: PlanningSettings
) -> list[tuple[Account, date]]:
    """Return the active accounts and the days of theirs that close in `[since, until)`, in order of closing.

    Adjoining spans give each account and day exactly once.
    """
    since, until = utc(since), utc(until)
    latest = timedelta(minutes=planning.day_close_after_minutes + planning.day_close_spread_minutes)
    found = []
    for account in accounts:
        if account.status != "active":
            continue
        day = local_day(since - latest, account.data_zone) - _DAY
        last = local_day(until, account.data_zone)
        while day < last:
            moment = get_close_time(account, day, planning)
            if since <= moment < until:
                found.append((moment, account.id, account, day))
            day += _DAY
    return [(account, day) for _, _, account, day in sorted(found, key=lambda item: item[:2])]
