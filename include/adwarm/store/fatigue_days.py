"""What the scores of an account and as-of day were computed from: one row per account and day, also without an ad.

Equal input hashes mean equal scores, so a run knows what it need not compute again without reading any data.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Engine, and_, bindparam, select, update

from adwarm.store.database import insert_new, read_transaction, upsert, write_transaction
from adwarm.store.tables import fatigue_day as table

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
        stored_days: number of those days.
        frequency_source: start of the hash of the document with the frequencies; empty without one.
        frequency_hash: hash of the frequencies; empty without any.
        calculator_version: version of the calculation.
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
    columns = [table.c.account_id, table.c.as_of, *_value_columns()]
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
        new = asdict(ScoreInputs(_NEW, _NEW, 0))
        rows = [{"account_id": name, "as_of": day, **new, "calculated_at": at} for name in days for day in days[name]]
        insert_new(connection, table, rows)
    locked: dict[DayKey, ScoreInputs] = {}
    for account_ids, listed in group_accounts(days):
        query = (
            select(table.c.account_id, table.c.as_of, *_value_columns())
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
        {
            "account_id": account_id,
            "as_of": as_of,
            **{name: getattr(item, name) for name in ScoreInputs.__dataclass_fields__},
            "calculated_at": at,
        }
        for (account_id, as_of), item in sorted(inputs.items())
    ]
    upsert(connection, table, rows)


def save_frequency_sources(engine: Engine, sources: Mapping[DayKey, tuple[str, str]]) -> None:
    """Note that documents were read and have the frequencies that are scored already.

    Args:
        engine: the database.
        sources: by account and day, the frequency source and the input hash that the row must still have.
    """
    rows: list[dict[str, Any]] = [
        {"b_account": account_id, "b_day": as_of, "b_source": source, "b_hash": input_hash}
        for (account_id, as_of), (source, input_hash) in sorted(sources.items())
    ]
    same = and_(
        table.c.account_id == bindparam("b_account"),
        table.c.as_of == bindparam("b_day"),
        table.c.input_hash == bindparam("b_hash"),
    )
    if rows:
        with write_transaction(engine) as connection:
            connection.execute(update(table).where(same).values(frequency_source=bindparam("b_source")), rows)


def _value_columns() -> list[Any]:
    return [table.c[name] for name in ScoreInputs.__dataclass_fields__]
