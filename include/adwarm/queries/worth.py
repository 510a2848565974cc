"""What a week of warming was worth: opens that did not wait, the waiting that was saved, and the calls it took."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import sqrt
from typing import Any, Final

from sqlalchemy import Engine, func, select

from adwarm.foundation.wording import format_count, format_duration, format_utc
from adwarm.model import Mode, WarmStatus
from adwarm.store import read_traffic, read_transaction
from adwarm.store.warms import table as warm

_QUANTILE: Final = 1.645
"""Standard deviations around the mean of a normal distribution that hold 90 % of it."""


@dataclass(frozen=True, slots=True)
class Worth:
    """The last 7 days, as `read_traffic.get_week_start` counts them.

    Attributes:
        opens: first opens by people; those of the same report within 30 minutes are one.
        hits: those of them that found a fresh report.
        saved: seconds that the fetches took whose reports were warmed and then opened; each counts once.
        spread: half the width of the 90 % range of `saved`, in seconds.
        calls: calls to the platform beyond those that these readers would have made.
    """

    until: datetime
    opens: int
    hits: int
    saved: float
    spread: float
    calls: int

    def __str__(self) -> str:
        low, high = (format_duration(max(0.0, self.saved + sign * self.spread)) for sign in (-1, 1))
        saved = f"about {format_duration(self.saved)} of waiting saved (90% range: {low} to {high})"
        if not self.saved:
            saved = "the waiting saved is not known yet"
        more = format_count(self.calls, "more call")
        return (
            f"Last 7 days, until {format_utc(self.until)}: {format_count(self.opens, 'first open')}, {self.hits:,} did "
            f"not wait; {saved}, for {more} to the platform."
        )


def get_worth(engine: Engine, week: Mapping[str, Any], now: datetime) -> Worth | None:
    """Return what the last 7 days were worth; None when nobody opened a report through adwarm.

    Warms of an account in one run are one fetch. If one of them was opened while fresh, a reader was saved a fetch like
    it; it counts once, although each of several readers would have waited, so that the sum is rather too low. What the
    fetches of readers would have taken is another draw from the same distribution, so that the difference of the two
    sums has twice the variance of one: `2 n s^2`.

    Args:
        week: as `read_traffic.get_week_totals` returns it.
    """
    since = read_traffic.get_week_start(now)
    if not week["first_opens"]:
        return None
    used = (
        select(func.max(warm.c.seconds).label("seconds"), func.sum(warm.c.requests).label("requests"))
        .where(
            warm.c.mode == Mode.LIVE,
            warm.c.status == WarmStatus.FETCHED,
            warm.c.used.is_(True),
            warm.c.decided_at >= since,
            warm.c.decided_at <= now,
        )
        .group_by(warm.c.run_id, warm.c.account_id)
        .subquery()
    )
    seconds = used.c.seconds
    query = select(
        func.count(seconds), func.sum(seconds), func.sum(seconds * seconds), func.coalesce(func.sum(used.c.requests), 0)
    )
    with read_transaction(engine) as connection:
        count, total, squares, own = connection.execute(query).one()
    saved, variance = float(total or 0), 0.0
    if count > 1:
        variance = max(0.0, (float(squares) - saved * saved / count) / (count - 1))
    causes = read_traffic.get_week_calls(engine, now).causes
    planned = sum(item.calls for item in causes if item.cause.kind.is_planned)
    return Worth(
        until=now,
        opens=int(week["first_opens"]),
        hits=int(week["first_hits"]),
        saved=saved,
        spread=_QUANTILE * sqrt(2 * count * variance),
        calls=max(0, planned - int(own)),
    )
