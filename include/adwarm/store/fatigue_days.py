"""What fatigue scores were computed from: inputs by account and as-of day, also without an ad, and priors by month.

Equal input hashes mean equal scores, so a run knows what it need not compute again without reading any data. Priors are
snapshots with a version that counts up with every restatement.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Final

from sqlalchemy import Column, Connection, Date, Engine, Index, select

from adwarm.store.columns import UtcDateTime, columns_of, from_row, table_of, to_row, value_column
from adwarm.store.database import insert_new, read_transaction, upsert, write_transaction

DayKey = tuple[str, date]
"""Account id and as-of day."""
_NEW = "-"
"""Input hash of a row that is locked and not stored yet."""
MonthKey = tuple[str, date]
"""Account id and the first day of the month."""


@dataclass(frozen=True, slots=True)
class ScoreInputs:
    """What the scores of an account and as-of day are computed from."""

    input_hash: Annotated[str, 16, "Hash of all of it, 16 hexadecimal digits; empty when it is not known."]
    data_hash: Annotated[str, 16, "Hash of the data alone, without settings and version of the formula."]
    data_version: Annotated[int, "Sum of the versions of the stored days."] = 1
    stored_days: Annotated[int, "Number of those days."] = 0
    frequency_source: Annotated[
        str, 16, "Start of the hash of the weekly report that the frequencies come from; empty without one."
    ] = ""
    frequency_hash: Annotated[str, 16, "Hash of the frequencies; empty without any."] = ""
    calculator_version: Annotated[str, 24, "Version of the formula."] = ""
    settled: Annotated[bool, "Whether none of those days can change any more."] = False


table = table_of(
    ScoreInputs,
    "fatigue_day",
    Column("as_of", Date, doc="Last day the scores look at."),
    value_column("calculated_at", UtcDateTime(), doc="When they were computed."),
    Index(None, "as_of"),
    key=("account_id", "as_of"),
    grows="accounts times days",
    bound="deleted after `ADWARM_RETENTION__SCORE_DAYS`",
)


IS_SCORED: Final = table.c.input_hash != _NEW


def list_inputs(engine: Engine, account_ids: Iterable[str]) -> dict[str, dict[date, ScoreInputs]]:
    """Return what all scores of up to some hundreds of accounts were computed from, by account and as-of day."""
    columns = [table.c.account_id, table.c.as_of, *columns_of(ScoreInputs, table)]
    query = select(*columns).where(table.c.account_id.in_(sorted(account_ids)), IS_SCORED)
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


@dataclass(frozen=True, slots=True)
class StoredPrior:
    """What is usual in an account, measured on settled days before a month; its scores are shrunk towards it."""

    figures: Annotated[Mapping[str, Any], "The measured figures; values of JSON."]
    input_hash: Annotated[str, 16, "Hash of what it was computed from."]
    data_version: Annotated[int, "Sum of the versions of the days behind it."]
    stored_days: Annotated[int, "Number of those days."]
    calculator_version: Annotated[str, 24, "Version of the formula."]
    version: Annotated[int, "Counts up with each restatement of the days behind it."] = 0


fatigue_prior = table_of(
    StoredPrior,
    "fatigue_prior",
    Column("month", Date, doc="First day of the month it is for."),
    value_column("calculated_at", UtcDateTime(), doc="When it was computed."),
    Index(None, "month"),
    key=("account_id", "month", "version"),
    grows="accounts times months, and restatements",
    bound="deleted after `ADWARM_RETENTION__SCORE_DAYS`",
)


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
