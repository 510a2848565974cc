"""Fatigue scores by account, ad and day, and of all ads together that share a creative.

The scores of an account and day are published together. They replace all earlier ones, and never newer ones. Lists have
one order, `rank_columns`: those first that lose most of what is spent.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime, timedelta
from hashlib import sha256
from itertools import chain
from typing import Any, Final, get_args

from sqlalchemy import Engine, Select, and_, delete, func, or_, select, tuple_
from sqlalchemy.schema import Column, Index
from sqlalchemy.types import String

from adwarm.model import AlarmLevel, FatigueScore, FatigueStatus
from adwarm.model.fatigue_score import LAST_RANK
from adwarm.store import fatigue_days
from adwarm.store.bulk_insert import insert_columns
from adwarm.store.columns import table_of
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.fatigue_days import IS_SCORED, DayKey, ScoreInputs
from adwarm.store.fatigue_days import table as fatigue_day

STATUSES: Final = get_args(FatigueStatus)
_AFTER: Final = timedelta(days=14)
_STILL_LOWER: Final = 0.95
_FOLLOWED_ALARMS: Final = 1_000
_MAX_NAME = 400
_KEYS_PER_QUERY = 500
STAMP_FIELDS: Final = ("calculator_version", "data_version", "settled", "calculated_at", "input_hash")
"""Columns of `fatigue_day` that a stored score has."""
SCORE_FIELDS: Final = tuple(field.name for field in fields(FatigueScore))


@dataclass(frozen=True, slots=True)
class StoredScore:
    """The score of an ad and day, with what `fatigue_day` has of all scores of the account and day."""

    score: FatigueScore
    calculator_version: str
    data_version: int
    settled: bool
    calculated_at: datetime
    input_hash: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Account id and `ad_id`."""
        return self.score.account_id, self.score.ad_id

    def to_dict(self) -> dict[str, Any]:
        """Return the columns of both tables."""
        stamp = {name: getattr(self, name) for name in STAMP_FIELDS}
        return {**asdict(self.score), **stamp}


table = table_of(
    FatigueScore,
    "fatigue_score",
    Index(None, "as_of", "status"),
    # Sums and lists over the newest scores of all accounts are read from this index alone. Its own name is short,
    # because PostgreSQL cuts names at 63 characters.
    Index(
        "ix_fatigue_score_newest",
        "account_id",
        "as_of",
        "part_of",
        "ad_id",
        "status",
        "total",
        "loss",
        "alarm",
        "recent_spend",
        "days_to_critical",
    ),
    Column("ad_name", String(400)),
    Column("alarm", String(8), nullable=False, default="none", server_default="none"),
    Column("part_of", String(80), nullable=False, default="", server_default=""),
    key=("account_id", "ad_id", "as_of"),
    grows="ads times days",
    bound="deleted after `ADWARM_RETENTION__SCORE_DAYS`",
)


ScoreSpan = tuple[Mapping[str, Sequence[Any]], int, int]
"""Columns with scores, the index of the first one, and that after the last one."""


@dataclass(frozen=True, slots=True)
class DayScores:
    """The scores of an account as of a day.

    Attributes:
        columns: the values of each field of `FatigueScore`, `baseline` as JSON text; of this day and others.
        first: index of the first value of this day.
        last: index after its last value; equal to `first` when no ad is scored.
        replaces: the input hash that was stored when the inputs were read; None when nothing was.
        parts: columns and indices of the ads beneath creatives.
    """

    account_id: str
    as_of: date
    columns: Mapping[str, Sequence[Any]]
    first: int
    last: int
    inputs: ScoreInputs
    replaces: str | None = None
    parts: ScoreSpan | None = None

    @property
    def ads(self) -> int:
        """Number of scores of creatives, and of ads that are no part of one."""
        return self.last - self.first

    @property
    def spans(self) -> list[ScoreSpan]:
        """Columns and indices of all scores."""
        return [(self.columns, self.first, self.last), *([] if self.parts is None else [self.parts])]

    def values(self, name: str) -> Sequence[Any]:
        """Return the values of a field, one per ad."""
        return self.columns[name][self.first : self.last] if self.ads else ()


IS_LISTED: Final = table.c.part_of == ""
"""Whether lists and sums name a score, which is that of a creative, or of an ad that is no part of one."""
IS_SAME_DAY: Final = and_(table.c.account_id == fatigue_day.c.account_id, table.c.as_of == fatigue_day.c.as_of)
STAMPS: Final = [fatigue_day.c[name] for name in STAMP_FIELDS]


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
        insert_columns(connection, table, _columns([fresh[key] for key in sorted(fresh)]))
        fatigue_days.save(connection, {key: day.inputs for key, day in fresh.items()}, at)
    return set(fresh)


def _replaces(day: DayScores, stored: ScoreInputs | None) -> bool:
    if stored is None or stored.input_hash == day.replaces:
        return True
    return stored.data_version <= day.inputs.data_version


def _columns(days: Sequence[DayScores]) -> dict[str, Sequence[Any]]:
    """Return the rows of the table by column."""
    listed = [day for day in days if day.ads]
    if not listed:
        return {}
    spans: list[ScoreSpan] = []  # of values that follow one another
    for of_day, start, last in chain.from_iterable(day.spans for day in listed):
        first = spans.pop()[1] if spans and spans[-1][0] is of_day and spans[-1][2] == start else start
        spans.append((of_day, first, last))
    columns: dict[str, Sequence[Any]] = {
        name: list(chain.from_iterable(values[name][first:last] for values, first, last in spans))
        for name in SCORE_FIELDS
    }
    names = {name: name.replace("\0", "")[:_MAX_NAME] for name in set(columns["ad_name"])}
    columns["ad_name"] = [names[name] for name in columns["ad_name"]]
    return columns


def list_scored_accounts(engine: Engine, account_ids: Sequence[str], as_of: date) -> set[str]:
    """Return those of up to some hundreds of accounts that were scored as of a day, also when none of their ads was."""
    query = select(fatigue_day.c.account_id).where(fatigue_day.c.account_id.in_(account_ids), IS_SCORED)
    with read_transaction(engine) as connection:
        return set(connection.execute(query.where(fatigue_day.c.as_of == as_of)).scalars())


def list_frequencies(engine: Engine, account_id: str, days: Collection[date]) -> dict[date, dict[str, float]]:
    """Return the frequency by ad id that the scores of some days were computed with; ads without one are left out."""
    frequencies: dict[date, dict[str, float]] = {}
    if not days:
        return frequencies
    query = select(table.c.as_of, table.c.ad_id, table.c.baseline)
    query = query.where(table.c.account_id == account_id, table.c.as_of.in_(sorted(days)))
    with read_transaction(engine) as connection:
        for as_of, ad_id, baseline in connection.execute(query):
            if baseline.get("frequency") is not None:
                frequencies.setdefault(as_of, {})[ad_id] = float(baseline["frequency"])
    return frequencies


def list_outdated(engine: Engine, calculator_version: str, limit: int, turn: str = "") -> list[tuple[str, date]]:
    """Return accounts whose newest scores are of another calculator, each with the day of those.

    Args:
        turn: decides which of more than `limit` accounts are returned; with another text at each call, accounts that
            cannot be scored again keep no other ones waiting.
    """
    day = fatigue_day.c
    newest = select(day.account_id, func.max(day.as_of).label("as_of")).group_by(day.account_id).subquery()
    same = and_(day.account_id == newest.c.account_id, day.as_of == newest.c.as_of)
    query = select(day.account_id, day.as_of).join(newest, same).where(day.calculator_version != calculator_version)
    with read_transaction(engine) as connection:
        outdated = [(row.account_id, row.as_of) for row in connection.execute(query)]
    return sorted(sorted(outdated, key=lambda item: sha256(f"{turn} {item[0]}".encode()).digest())[:limit])


def count_by_status(engine: Engine) -> dict[str, int]:
    """Return the number of listed scores of all accounts and days by status."""
    with read_transaction(engine) as connection:
        query = select(table.c.status, func.count()).where(IS_LISTED).group_by(table.c.status)
        counts = {row[0]: int(row[1]) for row in connection.execute(query)}
    return {status: counts.get(status, 0) for status in STATUSES}


def select_scores() -> Select[Any]:
    """Return a query for scores with their stamps, see `read_score`."""
    return select(table, *STAMPS).join(fatigue_day, IS_SAME_DAY)


def read_score(columns: Mapping[Any, Any]) -> StoredScore:
    """Return the score in the columns of `fatigue_score` and `STAMPS`."""
    values: dict[str, Any] = dict(columns)
    stamp = {name: values.pop(name) for name in STAMP_FIELDS}
    return StoredScore(FatigueScore(**values), **stamp)


def rank_columns(score: Any = table.c) -> list[Any]:
    """Return what lists of ads are ordered by, `FatigueScore.rank` in SQL.

    Args:
        score: the columns of the table or of an alias of it.
    """
    lost = -func.coalesce(score.recent_spend, 0.0) * score.loss
    return [func.coalesce(value, LAST_RANK) for value in (lost, -score.loss)] + [score.account_id, score.ad_id]


@dataclass(frozen=True, slots=True)
class ScoreQuery:
    """Which of an account's scores to list: those of its newest day up to `as_of`; None leaves a field free."""

    account_id: str
    as_of: date | None = None
    ad_id: str | None = None
    status: FatigueStatus | None = None
    alarm: AlarmLevel | None = None


@dataclass(frozen=True, slots=True)
class ScorePosition:
    """The last score of a page, after which the next one begins."""

    as_of: date
    rank: tuple[float, float, str, str]


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
        newest: date | None = connection.execute(query).scalar_one()
    return newest


def is_settled(engine: Engine, account_id: str, day: date) -> bool:
    """Return whether no data behind the account's scores of a day can change any more."""
    query = select(fatigue_day.c.settled).where(fatigue_day.c.account_id == account_id, fatigue_day.c.as_of == day)
    with read_transaction(engine) as connection:
        return bool(connection.execute(query).scalar())


def find_newest_days(engine: Engine, account_ids: Collection[str]) -> dict[str, date]:
    """Return the newest day with scores of each of up to some hundreds of accounts."""
    query = select(table.c.account_id, func.max(table.c.as_of)).where(table.c.account_id.in_(sorted(account_ids)))
    with read_transaction(engine) as connection:
        return {row[0]: row[1] for row in connection.execute(query.group_by(table.c.account_id))}


def list_day(engine: Engine, account_id: str, day: date) -> list[StoredScore]:
    """Return the account's scores of a day, those of creatives and of other ads, in their order."""
    query = select_scores().where(table.c.account_id == account_id, table.c.as_of == day, IS_LISTED)
    with read_transaction(engine) as connection:
        return [read_score(row) for row in connection.execute(query.order_by(*rank_columns())).mappings()]


def list_worst(engine: Engine, account_id: str, day: date, statuses: Collection[FatigueStatus]) -> list[FatigueScore]:
    """Return the account's scores of a day that have an alarm or one of some statuses."""
    is_bad = or_(table.c.alarm == "alarm", table.c.status.in_(sorted(statuses)))
    query = select_scores().where(table.c.account_id == account_id, table.c.as_of == day, IS_LISTED, is_bad)
    with read_transaction(engine) as connection:
        return [read_score(row).score for row in connection.execute(query.order_by(*rank_columns())).mappings()]


def list_page(engine: Engine, query: ScoreQuery, limit: int, after: ScorePosition | None = None) -> list[StoredScore]:
    """Return up to `limit` scores of one day, those after `after`: of creatives and other ads, or of the chosen ad.

    Pages that follow a position stay on its day, also when newer scores are published meanwhile.
    """
    day: Any = _newest_day(query.account_id, query.as_of).scalar_subquery() if after is None else after.as_of
    selected = select_scores().where(table.c.account_id == query.account_id, table.c.as_of == day)
    selected = selected if query.ad_id is not None else selected.where(IS_LISTED)
    for name in ("ad_id", "status", "alarm"):
        value = getattr(query, name)
        selected = selected if value is None else selected.where(table.c[name] == value)
    if after is not None:
        selected = selected.where(tuple_(*rank_columns()) > tuple_(*after.rank))
    with read_transaction(engine) as connection:
        rows = connection.execute(selected.order_by(*rank_columns()).limit(limit)).mappings()
        return [read_score(row) for row in rows]


def list_parts(engine: Engine, scores: Iterable[FatigueScore]) -> dict[tuple[str, str], list[StoredScore]]:
    """Return the scores of the ads of creatives, by their account and `ad_id`, in the order of all lists."""
    keys = [(score.account_id, score.as_of, score.ad_id) for score in scores if score.is_creative]
    parts: dict[tuple[str, str], list[StoredScore]] = {(account_id, key): [] for account_id, _, key in keys}
    with read_transaction(engine) as connection:
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            chosen = keys[start : start + _KEYS_PER_QUERY]
            query = select_scores().where(tuple_(table.c.account_id, table.c.as_of, table.c.part_of).in_(chosen))
            for row in connection.execute(query.order_by(*rank_columns())).mappings():
                parts[row["account_id"], row["part_of"]].append(read_score(row))
    return parts


def list_ad_history(
    engine: Engine, account_id: str, ad_id: str, limit: int, until: date | None = None
) -> list[StoredScore]:
    """Return up to `limit` scores of one ad or creative, the newest ones up to `until`, oldest first."""
    query = select_scores().where(table.c.account_id == account_id, table.c.ad_id == ad_id)
    query = query if until is None else query.where(table.c.as_of <= until)
    with read_transaction(engine) as connection:
        rows = connection.execute(query.order_by(table.c.as_of.desc()).limit(limit)).mappings()
        return [read_score(row) for row in rows][::-1]


def count_followed_alarms(engine: Engine, until: date) -> tuple[int, int]:
    """Return how many of the newest alarms are known to the end of two weeks, and how many of them were followed.

    Followed: the click-through rate of the two weeks after the alarm was at least 5 % below that of the month before
    its last week. Both are in the baselines of the scores of the alarm's first day and of one and two weeks later.

    Args:
        until: last day whose scores may be looked at.
    """
    first = select(table.c.account_id, table.c.ad_id, table.c.as_of, table.c.baseline)
    first = first.where(table.c.alarm == "alarm", table.c.alarm_since == table.c.as_of, table.c.as_of <= until - _AFTER)
    first = first.where(IS_LISTED)
    first = first.order_by(table.c.as_of.desc()).limit(_FOLLOWED_ALARMS)
    alarms = followed = 0
    with read_transaction(engine) as connection:
        for account_id, ad_id, since, before in connection.execute(first).all():
            days = [since + _AFTER / 2, since + _AFTER]
            later = select(table.c.baseline).where(
                table.c.account_id == account_id, table.c.ad_id == ad_id, table.c.as_of.in_(days)
            )
            weeks = list(connection.execute(later).scalars())
            figures = [(week.get("recent_ctr"), week.get("recent_impressions") or 0.0) for week in weeks]
            shown = sum(count for rate, count in figures if rate is not None)
            month = before.get("month_ctr")
            if len(weeks) < len(days) or not month or not shown:
                continue
            alarms += 1
            followed += sum(rate * count for rate, count in figures if rate is not None) <= _STILL_LOWER * month * shown
    return alarms, followed


def find_earlier(
    engine: Engine, ads: Mapping[str, Sequence[str]], since: date, before: date
) -> dict[tuple[str, str], EarlierScore]:
    """Return the newest status and alarm of each ad in a span of days; `before` is not part of it.

    Args:
        ads: ids of ads by account, of up to some hundreds of accounts.
    """
    earlier: dict[tuple[str, str], EarlierScore] = {}
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
                earlier[row.account_id, row.ad_id] = EarlierScore(row.as_of, row.status, row.alarm)
    return earlier


def _newest_day(account_id: str, until: date | None) -> Any:
    query = select(func.max(table.c.as_of)).where(table.c.account_id == account_id)
    return query if until is None else query.where(table.c.as_of <= until)
