"""Notices that data has arrived at the source: checks one, and marks its days as restated.

Readers and warms fetch the marked days again, and the next plan warms the reports that contain them: `data_arrival`.
"""

from dataclasses import dataclass
from datetime import date, datetime

from adwarm.backpressure.token_limits import TokenLimits
from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest, NotFound
from adwarm.foundation.local_time import local_day
from adwarm.foundation.wording import format_count
from adwarm.model import Window
from adwarm.store import Context, accounts, data_arrivals
from adwarm.store.data_arrivals import ArrivalResult
from adwarm.store.database import database_time, write_transaction

MAX_DAYS = 90


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who says that data has arrived.

    Attributes:
        origin: stored with the days, such as `cli`.
        limits: of the token of the read API that says it; None when no token does.
    """

    origin: str
    limits: TokenLimits | None = None


@dataclass(frozen=True, slots=True)
class ArrivalNotice:
    """What a report of arrived data came to.

    Attributes:
        window: the reported days.
        arrived_at: when their data was there, UTC.
        result: what was marked, known and skipped.
    """

    account_id: str
    window: Window
    arrived_at: datetime
    result: ArrivalResult

    def to_dict(self) -> dict[str, object]:
        """Return JSON values."""
        counts = {name: len(getattr(self.result, name)) for name in ("marked", "repeated", "skipped")}
        return {
            "account": self.account_id,
            "days": str(self.window),
            "arrived_at": self.arrived_at.isoformat(),
            **counts,
            "entries": self.result.entries,
        }

    def __str__(self) -> str:
        result = self.result
        days, entries = format_count(len(result.marked), "day"), format_count(result.entries, "stored report")
        parts = [f"{days} marked to be fetched again, in {entries}"]
        parts += [f"{len(result.repeated):,} reported before and not fetched yet"] if result.repeated else []
        parts += [f"{len(result.skipped):,} fetched since the data arrived"] if result.skipped else []
        return f"{self.account_id} {self.window}: {'; '.join(parts)}"


def parse_days(text: str) -> Window:
    """Return the days of `2026-11-24` or `2026-11-01..2026-11-24`.

    Raises:
        BadRequest: the text is neither.
    """
    first, _, last = text.strip().partition("..")
    try:
        return Window(date.fromisoformat(first), date.fromisoformat(last or first))
    except ValueError:
        raise BadRequest(
            f"days {text[:40]!r} are not valid; write one day such as 2026-11-24, or two as 2026-11-01..2026-11-24"
        ) from None


def notify_data(
    context: Context, account: str, days: str, now: datetime, by: Reporter, arrived_at: datetime | None = None
) -> ArrivalNotice:
    """Record that data of an account has arrived or was restated, and mark the days and the entries that contain them.

    Args:
        days: a day or two, see `parse_days`; at most `MAX_DAYS`, none after the account's today.
        by: who reports it. Of a token, each report that is no longer fresh counts as a fetch that it causes, and a
            notice that makes none old as one.
        arrived_at: when the data was there, UTC; now by default. Days that were fetched since are recorded and left.

    Raises:
        BadRequest: the id, the days or the time is not valid.
        NotFound: the account is not stored.
        Refused: the token may not cause so many fetches today; nothing is recorded.
    """
    account_id, window = accounts.find_id(context, account), parse_days(days)
    at = utc(arrived_at or now)
    stored = accounts.get(context.engine, account_id)
    if stored is None:
        raise NotFound(
            f"account {account_id} is not stored; `adwarm accounts list` shows those that are, and `adwarm accounts "
            "discover` looks for new ones"
        )
    if len(window) > MAX_DAYS:
        raise BadRequest(f"{window} are {len(window)} days; report at most {MAX_DAYS} at a time")
    today = local_day(now, stored.data_zone)
    if window.until > today:
        raise BadRequest(f"{window.until} is in the future; today is {today} in {stored.data_zone}")
    if at > now:
        raise BadRequest(f"{at:%Y-%m-%d %H:%M:%S} UTC, when the data arrived, is in the future")
    hashes = [context.settings.spec(report).hash for report in context.settings.reports]
    with write_transaction(context.engine) as connection:
        result = data_arrivals.save(
            connection, account_id, list(window.days()), arrived_at=at, origin=by.origin, spec_hashes=hashes
        )
        if by.limits is not None and result.has_changed:
            by.limits.take_refetches(connection, max(1, result.entries), database_time(connection))
    return ArrivalNotice(account_id, window, at, result)
