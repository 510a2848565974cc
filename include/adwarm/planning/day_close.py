"""When each account's day has ended and is fetched for its score: after its own midnight, spread over accounts."""

import hashlib
from collections.abc import Iterable
from datetime import date, datetime, timedelta

from adwarm.foundation.clock import utc
from adwarm.foundation.local_time import local_day, local_midnight
from adwarm.model import Account, Priority, ReportKey, WarmReason
from adwarm.planning.recommendation import Recommendation

CLOSE_AFTER_MINUTES = 30
"""Minutes from an account's midnight to closing its day: the platform is still counting the last ones before."""
SPREAD_MINUTES = 150
"""Minutes over which a zone's accounts are spread, so that the closing of days leaves the quota to readers."""
_DAY = timedelta(days=1)


def get_close_time(account: Account, day: date) -> datetime:
    """Return the moment (UTC) at which `day` of the account is closed.

    That is the account's midnight after `day`, plus `CLOSE_AFTER_MINUTES`, plus an offset below
    `SPREAD_MINUTES` that depends only on the account's id.
    """
    digest = hashlib.sha256(account.id.encode()).digest()
    spread = int.from_bytes(digest[:8], "big") % (SPREAD_MINUTES * 60)
    delay = timedelta(minutes=CLOSE_AFTER_MINUTES, seconds=spread)
    return local_midnight(day + _DAY, account.data_zone) + delay


def find_closing_accounts(accounts: Iterable[Account], since: datetime, until: datetime) -> list[tuple[Account, date]]:
    """Return the active accounts and their days that close in `[since, until)`, ordered by closing time.

    Adjacent intervals return each account and day exactly once.
    """
    since, until = utc(since), utc(until)
    latest = timedelta(minutes=CLOSE_AFTER_MINUTES + SPREAD_MINUTES)
    closing = []
    for account in accounts:
        if account.status != "active":
            continue
        day = local_day(since - latest, account.data_zone) - _DAY
        last = local_day(until, account.data_zone)
        while day < last:
            close_time = get_close_time(account, day)
            if since <= close_time < until:
                closing.append((close_time, account.id, account, day))
            day += _DAY
    return [(account, day) for _, _, account, day in sorted(closing, key=lambda item: item[:2])]


def recommend_day_close(
    account: Account, day: date, decided_at: datetime, *, with_week_summary: bool = True
) -> Recommendation:
    """Return the warm that completes an account's closed day: the summary of its week and the score's history.

    Without the week no summary is fetched, so the score has no audience component, and stored days of the block cost
    nothing.
    """
    since = day - timedelta(days=6) if with_week_summary else day
    return Recommendation(
        ReportKey(account.id, f"{since}..{day}"),
        predicted_open=decided_at,
        confidence=1.0,
        warm_at=decided_at,
        reason=WarmReason.DAY_CLOSED,
        benefit=1.0,
        price=2.0,
        explanation={"why": f"{day} has ended in {account.data_zone}: complete and score it"},
        priority=Priority.LOW,
        calls=2.0,
    )
