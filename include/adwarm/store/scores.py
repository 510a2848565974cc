"""Fatigue scores by account, ad and day.

The scores of an account and day are published together: they replace the earlier ones whole, and never newer ones.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, Protocol

from sqlalchemy import Connection, Engine, and_, delete, func, insert, select

from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.tables import fatigue_score as table

STATUSES: Final = ("healthy", "warning", "critical", "pending")
_MAX_NAME = 400


class ScoreRecord(Protocol):
    """What is stored of a score."""

    @property
    def account_id(self) -> str: ...  # noqa: D102
    @property
    def ad_id(self) -> str: ...  # noqa: D102
    @property
    def as_of(self) -> date: ...  # noqa: D102
    @property
    def ad_name(self) -> str: ...  # noqa: D102
    @property
    def status(self) -> str: ...  # noqa: D102
    @property
    def total(self) -> float | None: ...  # noqa: D102
    @property
    def creative(self) -> float | None: ...  # noqa: D102
    @property
    def audience(self) -> float | None: ...  # noqa: D102
    @property
    def algorithm(self) -> float | None: ...  # noqa: D102
    @property
    def data_quality(self) -> float: ...  # noqa: D102
    @property
    def trend_per_day(self) -> float | None: ...  # noqa: D102
    @property
    def days_to_critical(self) -> float | None: ...  # noqa: D102
    @property
    def baseline(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def calculator_version(self) -> str: ...  # noqa: D102


def publish(engine: Engine, scores: Sequence[ScoreRecord], data_version: int, settled: bool, at: datetime) -> int:
    """Store the scores of each account and day in `scores`, and return how many were stored.

    An account and day that already holds scores of a newer data version is left as it is.
    """
    groups: dict[tuple[str, date], list[ScoreRecord]] = defaultdict(list)
    for score in scores:
        groups[score.account_id, score.as_of].append(score)
    stored = 0
    with write_transaction(engine) as connection:
        for (account_id, as_of), group in sorted(groups.items()):
            newest = _version(connection, account_id, as_of)
            if newest is not None and newest > data_version:
                continue
            connection.execute(delete(table).where(_matches(account_id, as_of)))
            connection.execute(insert(table), [_row(score, data_version, settled, at) for score in group])
            stored += len(group)
    return stored


def find_data_version(
    engine: Engine, account_id: str, as_of: date, calculator_version: str | None = None
) -> int | None:
    """Return the data version the account's scores of a day were made from, None when there are none.

    With a calculator version, scores made by another one do not count.
    """
    with read_transaction(engine) as connection:
        return _version(connection, account_id, as_of, calculator_version)


def list_latest(engine: Engine, account_id: str, as_of: date | None = None) -> list[dict[str, Any]]:
    """Return the account's newest scores, not later than `as_of`: the most worn ad first, pending ones last."""
    days = select(func.max(table.c.as_of)).where(table.c.account_id == account_id)
    if as_of is not None:
        days = days.where(table.c.as_of <= as_of)
    query = select(table).where(table.c.account_id == account_id, table.c.as_of == days.scalar_subquery())
    query = query.order_by(table.c.total.is_(None), table.c.total.desc(), table.c.ad_id)
    with read_transaction(engine) as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def count_by_status(engine: Engine, as_of: date) -> dict[str, int]:
    """Return how many ads of all accounts are in each band on a day."""
    query = select(table.c.status, func.count()).where(table.c.as_of == as_of).group_by(table.c.status)
    with read_transaction(engine) as connection:
        found = {row[0]: int(row[1]) for row in connection.execute(query)}
    return {status: found.get(status, 0) for status in STATUSES}


def count_all_by_status(engine: Engine) -> dict[str, int]:
    """Return how many scores of any day are in each band."""
    with read_transaction(engine) as connection:
        query = select(table.c.status, func.count()).group_by(table.c.status)
        found = {row[0]: int(row[1]) for row in connection.execute(query)}
    return {status: found.get(status, 0) for status in STATUSES}


def _matches(account_id: str, as_of: date) -> Any:
    return and_(table.c.account_id == account_id, table.c.as_of == as_of)


def _version(connection: Connection, account_id: str, as_of: date, calculator_version: str | None = None) -> int | None:
    query = select(func.max(table.c.data_version)).where(_matches(account_id, as_of))
    if calculator_version is not None:
        query = query.where(table.c.calculator_version == calculator_version)
    found = connection.execute(query).scalar_one()
    return None if found is None else int(found)


def _row(score: ScoreRecord, data_version: int, settled: bool, at: datetime) -> dict[str, Any]:
    return {
        "account_id": score.account_id,
        "ad_id": score.ad_id,
        "as_of": score.as_of,
        "ad_name": score.ad_name[:_MAX_NAME],
        "status": score.status,
        "total": score.total,
        "creative": score.creative,
        "audience": score.audience,
        "algorithm": score.algorithm,
        "data_quality": score.data_quality,
        "trend_per_day": score.trend_per_day,
        "baseline": {**score.baseline, "days_to_critical": score.days_to_critical},
        "calculator_version": score.calculator_version,
        "data_version": data_version,
        "settled": settled,
        "calculated_at": at,
    }
