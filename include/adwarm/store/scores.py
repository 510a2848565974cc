"""Fatigue scores by account, ad and day.

The scores of an account and day are published together. They replace all earlier ones, and never newer ones.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Final, get_args

from sqlalchemy import Connection, Engine, and_, delete, func, insert, select

from adwarm.model import FatigueScore, FatigueStatus
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.tables import fatigue_score as table

STATUSES: Final = get_args(FatigueStatus)
_MAX_NAME = 400
_STAMP = ("data_version", "settled", "calculated_at", "input_hash")


@dataclass(frozen=True, slots=True)
class StoredScore:
    """A score with the data it was calculated from.

    Attributes:
        data_version: sum of the versions of the days behind the score; grows with every restatement.
        settled: whether none of those days can change any more.
    """

    score: FatigueScore
    data_version: int
    settled: bool
    calculated_at: datetime
    input_hash: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the columns of the table, in its order."""
        stamp = {name: getattr(self, name) for name in _STAMP}
        return {**asdict(self.score), **stamp}


def publish(engine: Engine, scores: Sequence[FatigueScore], data_version: int, settled: bool, at: datetime) -> int:
    """Store the scores of each account and day in `scores`, and return how many were stored.

    An account and day with scores of a newer data version does not change.
    """
    groups: dict[tuple[str, date], list[FatigueScore]] = defaultdict(list)
    for score in scores:
        groups[score.account_id, score.as_of].append(score)
    stored = 0
    with write_transaction(engine) as connection:
        for (account_id, as_of), group in sorted(groups.items()):
            newest = _version(connection, account_id, as_of)
            if newest is not None and newest > data_version:
                continue
            connection.execute(delete(table).where(_matches(account_id, as_of)))
            connection.execute(insert(table), [_row(StoredScore(score, data_version, settled, at)) for score in group])
            stored += len(group)
    return stored


def find_data_version(
    engine: Engine, account_id: str, as_of: date, calculator_version: str | None = None
) -> int | None:
    """Return the data version behind the account's scores of a day, or None when there are none.

    Args:
        calculator_version: only scores of this calculator count; all by default.
    """
    with read_transaction(engine) as connection:
        return _version(connection, account_id, as_of, calculator_version)


def list_scored_accounts(engine: Engine, account_ids: Sequence[str], as_of: date) -> set[str]:
    """Return those of up to some hundreds of accounts that have scores as of a day."""
    query = select(table.c.account_id).where(table.c.account_id.in_(account_ids), table.c.as_of == as_of).distinct()
    with read_transaction(engine) as connection:
        return set(connection.execute(query).scalars())


def list_outdated(engine: Engine, calculator_version: str, limit: int) -> list[tuple[str, date]]:
    """Return up to `limit` accounts whose newest scores are of another calculator, each with the day of those."""
    newest = select(table.c.account_id, func.max(table.c.as_of).label("as_of")).group_by(table.c.account_id).subquery()
    same = and_(table.c.account_id == newest.c.account_id, table.c.as_of == newest.c.as_of)
    query = (
        select(table.c.account_id, table.c.as_of)
        .join(newest, same)
        .where(table.c.calculator_version != calculator_version)
        .distinct()
        .order_by(table.c.account_id)
        .limit(limit)
    )
    with read_transaction(engine) as connection:
        return [(row.account_id, row.as_of) for row in connection.execute(query)]


def list_latest(engine: Engine, account_id: str, as_of: date | None = None) -> list[StoredScore]:
    """Return the account's newest scores, not later than `as_of`: the most fatigued ad first, pending ones last."""
    days = select(func.max(table.c.as_of)).where(table.c.account_id == account_id)
    if as_of is not None:
        days = days.where(table.c.as_of <= as_of)
    query = select(table).where(table.c.account_id == account_id, table.c.as_of == days.scalar_subquery())
    query = query.order_by(table.c.total.is_(None), table.c.total.desc(), table.c.ad_id)
    with read_transaction(engine) as connection:
        return [read_score(row) for row in connection.execute(query).mappings()]


def count_by_status(engine: Engine, as_of: date) -> dict[str, int]:
    """Return the number of ads of all accounts by status on a day."""
    query = select(table.c.status, func.count()).where(table.c.as_of == as_of).group_by(table.c.status)
    with read_transaction(engine) as connection:
        counts = {row[0]: int(row[1]) for row in connection.execute(query)}
    return {status: counts.get(status, 0) for status in STATUSES}


def count_all_by_status(engine: Engine) -> dict[str, int]:
    """Return the number of scores of all days by status."""
    with read_transaction(engine) as connection:
        query = select(table.c.status, func.count()).group_by(table.c.status)
        counts = {row[0]: int(row[1]) for row in connection.execute(query)}
    return {status: counts.get(status, 0) for status in STATUSES}


def _matches(account_id: str, as_of: date) -> Any:
    return and_(table.c.account_id == account_id, table.c.as_of == as_of)


def _version(connection: Connection, account_id: str, as_of: date, calculator_version: str | None = None) -> int | None:
    query = select(func.max(table.c.data_version)).where(_matches(account_id, as_of))
    if calculator_version is not None:
        query = query.where(table.c.calculator_version == calculator_version)
    newest = connection.execute(query).scalar_one()
    return None if newest is None else int(newest)


def _row(item: StoredScore) -> dict[str, Any]:
    values = item.to_dict()
    return {**values, "ad_name": values["ad_name"][:_MAX_NAME]}


def read_score(columns: Mapping[Any, Any]) -> StoredScore:
    """Return the score in the columns of the table."""
    values: dict[str, Any] = dict(columns)
    stamp = {name: values.pop(name) for name in _STAMP}
    return StoredScore(FatigueScore(**values), **stamp)
