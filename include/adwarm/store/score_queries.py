"""Reads stored fatigue scores: a day of an account in pages, and one ad over time.

Every list has the same order: `action` is what needs an action first (alarms, then ads that are watched, then the
highest total), `total` is the highest total first. Ads without a total come last.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Engine, and_, case, func, or_, select

from adwarm.model import AlarmLevel, FatigueScore, FatigueStatus
from adwarm.store.database import read_transaction
from adwarm.store.scores import StoredScore, read_score
from adwarm.store.tables import fatigue_score as table

ScoreOrder = Literal["action", "total"]
_ALARM_RANKS: Final[Mapping[str, int]] = {"alarm": 0, "watch": 1, "none": 2}
_RANK: Final[Any] = case(_ALARM_RANKS, value=table.c.alarm, else_=2)


@dataclass(frozen=True, slots=True)
class ScoreQuery:
    """Which of an account's scores to list: those of its newest day up to `as_of`; None leaves a field free."""

    account_id: str
    as_of: date | None = None
    ad_id: str | None = None
    status: FatigueStatus | None = None
    alarm: AlarmLevel | None = None
    order: ScoreOrder = "total"


@dataclass(frozen=True, slots=True)
class ScorePosition:
    """The last score of a page, after which the next one begins."""

    as_of: date
    total: float | None
    ad_id: str
    alarm: AlarmLevel = "none"


@dataclass(frozen=True, slots=True)
class EarlierScore:
    """Status and alarm of an ad on an earlier day."""

    as_of: date
    status: FatigueStatus
    alarm: AlarmLevel


def find_newest_day(engine: Engine, account_id: str, until: date | None = None) -> date | None:
    """Return the newest day with scores of the account, not later than `until`; None when there is none."""
    query = _newest_day(account_id, until)
    with read_transaction(engine) as connection:
        found: date | None = connection.execute(query).scalar_one()
    return found


def find_newest_days(engine: Engine, account_ids: Collection[str]) -> dict[str, date]:
    """Return the newest day with scores of each of up to some hundreds of accounts."""
    query = select(table.c.account_id, func.max(table.c.as_of)).where(table.c.account_id.in_(sorted(account_ids)))
    with read_transaction(engine) as connection:
        return {row[0]: row[1] for row in connection.execute(query.group_by(table.c.account_id))}


def list_day(engine: Engine, account_id: str, day: date) -> list[StoredScore]:
    """Return the account's scores of a day in the order `action`."""
    query = select(table).where(table.c.account_id == account_id, table.c.as_of == day)
    with read_transaction(engine) as connection:
        return [read_score(row) for row in connection.execute(query.order_by(*_order("action"))).mappings()]


def list_worst(engine: Engine, account_id: str, day: date, statuses: Collection[FatigueStatus]) -> list[FatigueScore]:
    """Return the account's scores of a day that have an alarm or one of some statuses, in the order `action`."""
    is_bad = or_(table.c.alarm == "alarm", table.c.status.in_(sorted(statuses)))
    query = select(table).where(table.c.account_id == account_id, table.c.as_of == day, is_bad)
    with read_transaction(engine) as connection:
        return [read_score(row).score for row in connection.execute(query.order_by(*_order("action"))).mappings()]


def list_page(engine: Engine, query: ScoreQuery, limit: int, after: ScorePosition | None = None) -> list[StoredScore]:
    """Return up to `limit` scores of one day, those after `after`.

    Pages that follow a position stay on its day, also when newer scores are published meanwhile.
    """
    day: Any = _newest_day(query.account_id, query.as_of).scalar_subquery() if after is None else after.as_of
    selected = select(table).where(table.c.account_id == query.account_id, table.c.as_of == day)
    for name in ("ad_id", "status", "alarm"):
        value = getattr(query, name)
        selected = selected if value is None else selected.where(table.c[name] == value)
    if after is not None:
        selected = selected.where(_is_after(after, query.order))
    with read_transaction(engine) as connection:
        rows = connection.execute(selected.order_by(*_order(query.order)).limit(limit)).mappings()
        return [read_score(row) for row in rows]


def list_ad_history(engine: Engine, account_id: str, ad_id: str, since: date, until: date) -> list[StoredScore]:
    """Return the scores of one ad in a span of days, both ends included, oldest first."""
    query = select(table).where(
        table.c.account_id == account_id, table.c.ad_id == ad_id, table.c.as_of.between(since, until)
    )
    with read_transaction(engine) as connection:
        return [read_score(row) for row in connection.execute(query.order_by(table.c.as_of)).mappings()]


def find_earlier(
    engine: Engine, ads: Mapping[str, Sequence[str]], since: date, before: date
) -> dict[tuple[str, str], EarlierScore]:
    """Return the newest status and alarm of each ad in a span of days; `before` is not part of it.

    Args:
        engine: the database.
        ads: ids of ads by account, of up to some hundreds of accounts.
        since: first day of the span.
        before: the day after its last one.
    """
    found: dict[tuple[str, str], EarlierScore] = {}
    columns = (table.c.account_id, table.c.ad_id, table.c.as_of, table.c.status, table.c.alarm)
    with read_transaction(engine) as connection:
        for account_id, ad_ids in sorted(ads.items()):
            query = select(*columns).where(
                table.c.account_id == account_id,
                table.c.ad_id.in_(sorted(ad_ids)),
                table.c.as_of >= since,
                table.c.as_of < before,
            )
            for row in connection.execute(query.order_by(table.c.as_of)):
                found[row.account_id, row.ad_id] = EarlierScore(row.as_of, row.status, row.alarm)
    return found


def _newest_day(account_id: str, until: date | None) -> Any:
    query = select(func.max(table.c.as_of)).where(table.c.account_id == account_id)
    return query if until is None else query.where(table.c.as_of <= until)


def _order(order: ScoreOrder) -> list[Any]:
    columns: list[Any] = [table.c.total.is_(None), table.c.total.desc(), table.c.ad_id]
    return [_RANK, *columns] if order == "action" else columns


def _is_after(position: ScorePosition, order: ScoreOrder) -> ColumnElement[bool]:
    later_ad = table.c.ad_id > position.ad_id
    if position.total is None:
        later = and_(table.c.total.is_(None), later_ad)
    else:
        same_total = and_(table.c.total == position.total, later_ad)
        later = or_(table.c.total < position.total, same_total, table.c.total.is_(None))
    if order == "total":
        return later
    rank = _ALARM_RANKS[position.alarm]
    return or_(rank < _RANK, and_(rank == _RANK, later))
