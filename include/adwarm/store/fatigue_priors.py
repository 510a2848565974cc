"""Priors of fatigue scores by account and month: snapshots with a version that counts up with every restatement."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Engine, select

from adwarm.store.database import insert_new, read_transaction, write_transaction
from adwarm.store.tables import fatigue_prior as table

MonthKey = tuple[str, date]
"""Account id and the first day of the month."""


@dataclass(frozen=True, slots=True)
class StoredPrior:
    """The prior of an account and month.

    Attributes:
        figures: JSON values.
        input_hash: hash of the days that it was measured on.
        data_version: sum of the versions of those days.
        stored_days: number of those days.
        calculator_version: version of the calculation.
        version: number of the snapshot, counted from 1 for the account and month; 0 before it is stored.
    """

    figures: Mapping[str, Any]
    input_hash: str
    data_version: int
    stored_days: int
    calculator_version: str
    version: int = 0


def list_newest(engine: Engine, account_ids: Iterable[str], months: Sequence[date]) -> dict[MonthKey, StoredPrior]:
    """Return the newest snapshot of each of up to some hundreds of accounts and each month that has one."""
    if not months:
        return {}
    query = (
        select(table)
        .where(table.c.account_id.in_(sorted(account_ids)), table.c.month.between(min(months), max(months)))
        .order_by(table.c.account_id, table.c.month, table.c.version)
    )
    with read_transaction(engine) as connection:
        return {
            (row.account_id, row.month): StoredPrior(
                row.figures, row.input_hash, row.data_version, row.stored_days, row.calculator_version, row.version
            )
            for row in connection.execute(query)
        }


def save(engine: Engine, priors: Mapping[MonthKey, StoredPrior], at: datetime) -> int:
    """Store new snapshots, each with the next version of its account and month, and return how many were stored.

    A snapshot that equals the newest one is left out. When two runs store one at the same time, that of the first
    stays, and the next run stores another one where that does not fit the data.
    """
    if not priors:
        return 0
    accounts, months = ({key[place] for key in priors} for place in (0, 1))
    same = table.c.account_id.in_(sorted(accounts)), table.c.month.in_(sorted(months))
    # A key's newest version is the last of its rows.
    query = select(table.c.account_id, table.c.month, table.c.version, table.c.input_hash, table.c.calculator_version)
    query = query.where(*same).order_by(table.c.account_id, table.c.month, table.c.version)
    with write_transaction(engine) as connection:
        newest = {(account_id, month): values for account_id, month, *values in connection.execute(query)}
        rows = []
        for key, item in sorted(priors.items()):
            version, *made_from = newest.get(key, (0, "", ""))
            if made_from != [item.input_hash, item.calculator_version]:
                rows.append(_row(*key, item, version + 1, at))
        insert_new(connection, table, rows)
    return len(rows)


def _row(account_id: str, month: date, item: StoredPrior, version: int, at: datetime) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "month": month,
        "version": version,
        "figures": dict(item.figures),
        "input_hash": item.input_hash,
        "data_version": item.data_version,
        "stored_days": item.stored_days,
        "calculator_version": item.calculator_version,
        "calculated_at": at,
    }
