"""What fatigue scores were computed from: inputs by account and as-of day, also without an ad, and priors by month.

Equal input hashes mean equal scores, so a run knows what it need not compute again without reading any data. Priors are
snapshots with a version that counts up with every restatement.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, Connection, Date, Engine, Index, Integer, String, Table, select

from adwarm.store.columns import UtcDateTime, columns_of, from_row, key_column, metadata, to_row, value_column
from adwarm.store.database import insert_new, read_transaction, upsert, write_transaction

# Grows with accounts times days. Maintenance deletes old rows.
table = Table(
    "fatigue_day",
    metadata,
    key_column("account_id", String(24)),
    key_column("as_of", Date),
    value_column("input_hash", String(16)),
    value_column("data_hash", String(16)),
    value_column("data_version", Integer, 1),
    value_column("stored_days", Integer, 0),
    value_column("frequency_source", String(16), ""),
    value_column("frequency_hash", String(16), ""),
    value_column("calculator_version", String(24), ""),
    value_column("calculated_at", UtcDateTime()),
    Index(None, "as_of"),
)


DayKey = tuple[str, date]
"""Account id and as-of day."""
_NEW = "-"
"""Input hash of a row that is locked and not stored yet."""


@dataclass(frozen=True, slots=True)
class ScoreInputs:
    """What the scores of an account and as-of day are computed from.

    Attributes:
        input_hash: hash of all of it, 16 hexadecimal digits; empty when it is not known.
        data_hash: hash of the data alone, without settings and version of the calculation.
        data_version: sum of the versions of the stored days.
        frequency_source: start of the hash of the document with the frequencies; empty without one.
        frequency_hash: hash of the frequencies; empty without any.
    """

    input_hash: str
    data_hash: str
    data_version: int
    stored_days: int = 0
    frequency_source: str = ""
    frequency_hash: str = ""
    calculator_version: str = ""


def list_inputs(engine: Engine, account_ids: Iterable[str]) -> dict[str, dict[date, ScoreInputs]]:
    """Return what all scores of up to some hundreds of accounts were computed from, by account and as-of day."""
    columns = [table.c.account_id, table.c.as_of, *columns_of(ScoreInputs, table)]
    query = select(*columns).where(table.c.account_id.in_(sorted(account_ids)), table.c.input_hash != _NEW)
    inputs: dict[str, dict[date, ScoreInputs]] = {}
    with read_transaction(engine) as connection:
        for account_id, as_of, *values in connection.execute(query):
            inputs.setdefault(account_id, {})[as_of] = ScoreInputs(*values)
    return inputs


def lock(connection: Connection, keys: Iterable[DayKey], at: datetime) -> dict[DayKey, ScoreInputs]:
    """Lock the rows of keys until the transaction ends, create those that are missing, and return the others.

    Rows are locked in the order of their keys, so two publishers cannot wait for each other.
    """
    days: dict[str, list[date]] = {}
    for account_id, as_of in sorted(set(keys)):
        days.setdefault(account_id, []).append(as_of)
    if connection.dialect.name != "sqlite":  # whose write transactions exclude each other
        new = to_row(ScoreInputs(_NEW, _NEW, 0))
        rows = [{"account_id": name, "as_of": day, **new, "calculated_at": at} for name in days for day in days[name]]
        insert_new(connection, table, rows)
    locked: dict[DayKey, ScoreInputs] = {}
    for account_ids, listed in group_accounts(days):
        query = (
            select(table.c.account_id, table.c.as_of, *columns_of(ScoreInputs, table))
            .where(table.c.account_id.in_(account_ids), table.c.as_of.in_(listed))
            .order_by(table.c.account_id, table.c.as_of)
            .with_for_update()
        )
        for account_id, as_of, *values in connection.execute(query):
            locked[account_id, as_of] = ScoreInputs(*values)
    return {key: inputs for key, inputs in locked.items() if inputs.input_hash != _NEW}


def group_accounts(days: Mapping[str, Sequence[date]]) -> list[tuple[list[str], Sequence[date]]]:
    """Return accounts that follow one another and have the same days as one group, which one statement can name."""
    groups: list[tuple[list[str], Sequence[date]]] = []
    for account_id, listed in days.items():
        if groups and groups[-1][1] == listed:
            groups[-1][0].append(account_id)
        else:
            groups.append(([account_id], listed))
    return groups


def save(connection: Connection, inputs: Mapping[DayKey, ScoreInputs], at: datetime) -> None:
    """Store what scores were computed from, within the transaction that stores the scores."""
    rows = [
        {"account_id": account_id, "as_of": as_of, **to_row(item), "calculated_at": at}
        for (account_id, as_of), item in sorted(inputs.items())
    ]
    upsert(connection, table, rows)


# Grows with accounts times months, and with restatements. Maintenance deletes old rows.
fatigue_prior = Table(
    "fatigue_prior",
    metadata,
    key_column("account_id", String(24)),
    key_column("month", Date),
    key_column("version", Integer),
    value_column("figures", JSON, dict),
    value_column("input_hash", String(16)),
    value_column("data_version", Integer, 1),
    value_column("stored_days", Integer, 0),
    value_column("calculator_version", String(24)),
    value_column("calculated_at", UtcDateTime()),
    Index(None, "month"),
)


MonthKey = tuple[str, date]
"""Account id and the first day of the month."""


@dataclass(frozen=True, slots=True)
class StoredPrior:
    """The prior of an account and month.

    Attributes:
        figures: JSON values.
        input_hash: hash of the days that it was measured on.
        data_version: sum of the versions of those days.
        version: number of the snapshot, counted from 1 for the account and month; 0 before it is stored.
    """

    figures: Mapping[str, Any]
    input_hash: str
    data_version: int
    stored_days: int
    calculator_version: str
    version: int = 0


def list_priors(engine: Engine, account_ids: Iterable[str], months: Sequence[date]) -> dict[MonthKey, StoredPrior]:
    """Return the newest snapshot of each of up to some hundreds of accounts and each month that has one."""
    if not months:
        return {}
    prior = fatigue_prior.c
    query = (
        select(fatigue_prior)
        .where(prior.account_id.in_(sorted(account_ids)), prior.month.between(min(months), max(months)))
        .order_by(prior.account_id, prior.month, prior.version)
    )
    with read_transaction(engine) as connection:
        return {(row.account_id, row.month): from_row(StoredPrior, row) for row in connection.execute(query)}


def save_priors(engine: Engine, priors: Mapping[MonthKey, StoredPrior], at: datetime) -> int:
    """Store new snapshots, each with the next version of its account and month, and return how many were stored.

    A snapshot that equals the newest one is left out. When two runs store one at the same time, that of the first
    stays, and the next run stores another one where that does not fit the data.
    """
    if not priors:
        return 0
    accounts, months = ({key[place] for key in priors} for place in (0, 1))
    prior = fatigue_prior.c
    # A key's newest version is the last of its rows.
    query = select(prior.account_id, prior.month, prior.version, prior.input_hash, prior.calculator_version)
    query = query.where(prior.account_id.in_(sorted(accounts)), prior.month.in_(sorted(months)))
    query = query.order_by(prior.account_id, prior.month, prior.version)
    with write_transaction(engine) as connection:
        newest = {(account_id, month): values for account_id, month, *values in connection.execute(query)}
        rows = []
        for key, item in sorted(priors.items()):
            version, *made_from = newest.get(key, (0, "", ""))
            if made_from != [item.input_hash, item.calculator_version]:
                number = {"account_id": key[0], "month": key[1], "version": version + 1, "calculated_at": at}
                rows.append({**to_row(item), **number})
        insert_new(connection, fatigue_prior, rows)
    return len(rows)
