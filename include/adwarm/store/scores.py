"""Fatigue scores by account, ad and day.

The scores of an account and day are published together. They replace all earlier ones, and never newer ones.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime
from hashlib import sha256
from itertools import chain, repeat
from typing import Any, Final, get_args

from sqlalchemy import Engine, and_, delete, func, select, union

from adwarm.model import FatigueScore, FatigueStatus
from adwarm.store import fatigue_days
from adwarm.store.bulk_insert import insert_columns
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.fatigue_days import DayKey, ScoreInputs
from adwarm.store.tables import fatigue_day
from adwarm.store.tables import fatigue_score as table

STATUSES: Final = get_args(FatigueStatus)
_MAX_NAME = 400
_STAMP = ("data_version", "settled", "calculated_at", "input_hash")
_FIELDS: Final = tuple(field.name for field in fields(FatigueScore))


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


@dataclass(frozen=True, slots=True)
class DayScores:
    """The scores of an account as of a day.

    Attributes:
        account_id: the account of all of them.
        as_of: their day.
        columns: the values of each field of `FatigueScore`, `baseline` as JSON text; of this day and others.
        first: index of the first value of this day.
        last: index after its last value; equal to `first` when no ad is scored.
        inputs: what they were computed from.
        settled: whether none of that can change any more.
        replaces: the input hash that was stored when the inputs were read; None when nothing was.
    """

    account_id: str
    as_of: date
    columns: Mapping[str, Sequence[Any]]
    first: int
    last: int
    inputs: ScoreInputs
    settled: bool
    replaces: str | None = None

    @property
    def ads(self) -> int:
        """Number of scores."""
        return self.last - self.first

    def values(self, name: str) -> Sequence[Any]:
        """Return the values of a field, one per ad."""
        return self.columns[name][self.first : self.last] if self.ads else ()


def publish_days(engine: Engine, days: Sequence[DayScores], at: datetime) -> set[DayKey]:
    """Store scores in one transaction, and return the accounts and days that were stored.

    The scores of an account and day replace all earlier ones. A day does not change when another run has published it
    since the inputs were read, from data of a newer version.
    """
    by_key = {(day.account_id, day.as_of): day for day in days}
    with write_transaction(engine) as connection:
        before = fatigue_days.lock(connection, by_key, at)
        fresh = {key: day for key, day in by_key.items() if _replaces(day, before.get(key))}
        replaced: dict[str, list[date]] = defaultdict(list)
        for account_id, as_of in sorted(fresh):
            replaced[account_id].append(as_of)
        for account_ids, listed in fatigue_days.group_accounts(replaced):
            connection.execute(delete(table).where(table.c.account_id.in_(account_ids), table.c.as_of.in_(listed)))
        insert_columns(connection, table, _columns([fresh[key] for key in sorted(fresh)], at))
        fatigue_days.save(connection, {key: day.inputs for key, day in fresh.items()}, at)
    return set(fresh)


def _replaces(day: DayScores, stored: ScoreInputs | None) -> bool:
    if stored is None or stored.input_hash == day.replaces:
        return True
    return stored.data_version <= day.inputs.data_version


def _columns(days: Sequence[DayScores], at: datetime) -> dict[str, Sequence[Any]]:
    """Return the rows of the table by column."""
    listed = [day for day in days if day.ads]
    columns: dict[str, Sequence[Any]] = {
        name: list(chain.from_iterable(day.values(name) for day in listed)) for name in (_FIELDS if listed else ())
    }
    if not listed:
        return columns
    columns["ad_name"] = [name.replace("\0", "")[:_MAX_NAME] for name in columns["ad_name"]]
    counts = [day.ads for day in listed]
    stamps: dict[str, list[Any]] = {
        "data_version": [day.inputs.data_version for day in listed],
        "settled": [day.settled for day in listed],
        "input_hash": [day.inputs.input_hash for day in listed],
        "calculated_at": [at] * len(listed),
    }
    for name, values in stamps.items():
        columns[name] = list(chain.from_iterable(map(repeat, values, counts)))
    return columns


def list_scored_accounts(engine: Engine, account_ids: Sequence[str], as_of: date) -> set[str]:
    """Return those of up to some hundreds of accounts that were scored as of a day, also when none of their ads was."""
    chosen = [
        select(item.c.account_id).where(item.c.account_id.in_(account_ids), item.c.as_of == as_of)
        for item in (table, fatigue_day)
    ]
    with read_transaction(engine) as connection:
        return set(connection.execute(union(*chosen)).scalars())


def list_frequencies(engine: Engine, account_id: str, days: Collection[date]) -> dict[date, dict[str, float]]:
    """Return the frequency by ad id that the scores of some days were computed with; ads without one are left out."""
    query = select(table.c.as_of, table.c.ad_id, table.c.baseline)
    query = query.where(table.c.account_id == account_id, table.c.as_of.in_(sorted(days)))
    frequencies: dict[date, dict[str, float]] = {}
    with read_transaction(engine) as connection:
        for as_of, ad_id, baseline in connection.execute(query) if days else ():
            if baseline.get("frequency") is not None:
                frequencies.setdefault(as_of, {})[ad_id] = float(baseline["frequency"])
    return frequencies


def list_outdated(engine: Engine, calculator_version: str, limit: int, turn: str = "") -> list[tuple[str, date]]:
    """Return accounts whose newest scores are of another calculator, each with the day of those.

    Args:
        engine: the database.
        calculator_version: that of today.
        limit: the most accounts to return.
        turn: decides which of more than `limit` accounts are returned; with another text at each call, accounts that
            cannot be scored again keep no other ones waiting.
    """
    newest = select(table.c.account_id, func.max(table.c.as_of).label("as_of")).group_by(table.c.account_id).subquery()
    same = and_(table.c.account_id == newest.c.account_id, table.c.as_of == newest.c.as_of)
    query = (
        select(table.c.account_id, table.c.as_of)
        .join(newest, same)
        .where(table.c.calculator_version != calculator_version)
        .distinct()
    )
    with read_transaction(engine) as connection:
        found = [(row.account_id, row.as_of) for row in connection.execute(query)]
    return sorted(sorted(found, key=lambda item: sha256(f"{turn} {item[0]}".encode()).digest())[:limit])


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


def read_score(columns: Mapping[Any, Any]) -> StoredScore:
    """Return the score in the columns of the table."""
    values: dict[str, Any] = dict(columns)
    stamp = {name: values.pop(name) for name in _STAMP}
    return StoredScore(FatigueScore(**values), **stamp)
