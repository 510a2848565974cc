"""Data that has arrived at the source: checks notices of it, and plans the warms of reports that contain it.

A notice marks its days as restated, so that readers and warms fetch them again. The next plan then warms, once, the
reports of the account that contain the days and are likely to be opened before they would expire again.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd

from adwarm.backpressure.token_limits import TokenLimits
from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest, NotFound
from adwarm.foundation.local_time import local_day
from adwarm.foundation.wording import format_count, format_some
from adwarm.model import Priority, ReportKey, WarmReason, Window, resolve_window
from adwarm.planning.plan import PlanningView, find_expected_keys, select_expected_keys
from adwarm.planning.price import CallQuota
from adwarm.planning.recommendation import Recommendation
from adwarm.store import Context, accounts, data_arrivals
from adwarm.store.data_arrivals import ArrivalResult, DataArrival
from adwarm.store.database import database_time, write_transaction

MAX_DAYS = 90
KEEP_TRYING = timedelta(hours=24)
"""How long an arrival whose warms the budget cuts is planned again; readers fetch what is left."""


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


@dataclass(frozen=True, slots=True)
class ArrivalPlan:
    """The warms of arrived data.

    Attributes:
        done: the arrivals that need no further plan.
    """

    planned: tuple[Recommendation, ...] = ()
    cut: tuple[Recommendation, ...] = ()
    done: tuple[DataArrival, ...] = ()


@dataclass
class ArrivalPlanner:
    """Plans the warms of arrived data.

    Attributes:
        taken: keys that the plan warms for another reason.
    """

    arrivals: Sequence[DataArrival]
    at: datetime
    view: PlanningView
    get_zone: Callable[[str], str]
    taken: frozenset[ReportKey] = frozenset()
    _by_account: dict[str, list[DataArrival]] = field(init=False)

    def __post_init__(self) -> None:
        """Group the arrivals by account."""
        self._by_account = defaultdict(list)
        for item in self.arrivals:
            self._by_account[item.account_id].append(item)

    def plan(self, probabilities: pd.DataFrame, quota: CallQuota, min_confidence: float) -> ArrivalPlan:
        """Return the warms that are worth their price; what the budget cuts stays pending for `KEEP_TRYING`."""
        some = probabilities[probabilities["account_id"].isin(list(self._by_account))].reset_index(drop=True)
        expected = find_expected_keys(some, self.at, self.view, self._accept)
        likely = expected.take((expected.chance >= min_confidence).nonzero()[0])
        stored = self.view.get_fresh_until(likely.keys, likely.warm_at)
        stale = [index for index, end in enumerate(stored) if not self._is_fresh(likely.keys[index], end)]
        chosen, rejected = select_expected_keys(likely.take(np.array(stale, np.int64)), self.view, quota)
        cut = {item.key.account_id for item in rejected}
        done = [item for item in self.arrivals if item.account_id not in cut]
        return ArrivalPlan(tuple(map(self._explain, chosen)), tuple(map(self._explain, rejected)), tuple(done))

    def _accept(self, key: ReportKey) -> ReportKey | None:
        arrivals = self._by_account.get(key.account_id)
        if not arrivals or key in self.taken:
            return None
        return key if self._find_days(key) else None

    def _find_days(self, key: ReportKey) -> list[date]:
        window = resolve_window(key.date_range, self.get_zone(key.account_id), self.at)
        return [item.day for item in self._by_account[key.account_id] if item.day in window]

    def _is_fresh(self, key: ReportKey, end: datetime | None) -> bool:
        arrived_at = max(item.arrived_at for item in self._by_account[key.account_id])
        return end is not None and end > max(self.at, arrived_at)

    def _explain(self, item: Recommendation) -> Recommendation:
        days = format_some([str(day) for day in self._find_days(item.key)], 3)
        why = f"data of {days} has arrived; {item.explanation['why']}"
        return replace(
            item,
            reason=WarmReason.DATA_ARRIVAL,
            priority=Priority.NORMAL,
            explanation={**item.explanation, "why": why},
        )
