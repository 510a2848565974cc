"""Fatigue over many accounts: what needs action, what changed, and sums by account. All is by creative.

Everything about all ads is read from the index `ix_fatigue_score_newest` alone; the wide rows are read for the listed
ads only. Sums of spend are by currency, because accounts have different ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal

from sqlalchemy import CTE, ColumnElement, Engine, Select, Subquery, and_, case, func, literal, or_, select, union_all

from adwarm.fatigue.recommendation import SOON_DAYS
from adwarm.foundation.wording import format_count
from adwarm.planning.explanations import format_percent
from adwarm.queries.fatigue_ads import AccountFilter, ListedAd, newest_days, read_listed
from adwarm.store import read_transaction
from adwarm.store.scores import STATUSES, rank_columns
from adwarm.store.scores import table as fatigue_score

DUE_ROWS: Final = 10
CHANGED_ROWS: Final = 6
"""Ads that are listed of each kind of change."""
WORST_ACCOUNTS: Final = 10
_RANKS: Final = {"healthy": 0, "warning": 1, "critical": 2}
ChangeKind = Literal["alarm", "worse", "ended", "better"]
CHANGE_KINDS: Final[tuple[ChangeKind, ...]] = ("alarm", "worse", "ended", "better")


@dataclass(frozen=True, slots=True)
class DueCounts:
    """The ads of the chosen accounts that need action: with an alarm, critical, or a warning that soon becomes so.

    Attributes:
        total: number of ads that need action.
        scored: number of ads.
        spend: spend of seven days in the ads that need action, by currency.
        last_day: the newest day of all scores; None without any.
        is_old: whether even the newest scores are too old to act on; nothing needs action then.
    """

    total: int
    scored: int
    spend: Mapping[str, float]
    last_day: date | None
    is_old: bool


@dataclass(frozen=True, slots=True)
class ChangedAd:
    """An ad whose status or alarm is another one than on the day before.

    Attributes:
        kind: a new alarm, a worse status, a better one, or the end of an alarm.
        status_before: None when it had no score.
        alarm_before: None when it had no score.
        count: ads of this kind.
    """

    kind: ChangeKind
    ad: ListedAd
    status_before: str | None
    alarm_before: str | None
    count: int


@dataclass(frozen=True, slots=True)
class AccountDay:
    """The sums of the ads of an account, or of all, on one day.

    Attributes:
        ads: ads by status.
        watches: ads with evidence that is not enough for an alarm.
        fatigued: critical ads and ads with an alarm.
        spend: of seven days; None when unknown, and for accounts of several currencies.
        score: mean score weighted by spend; without spend the plain mean; None without a score.
        fatigued_spend: the part of `spend` in fatigued ads.
        unknown_spend: ads whose spend is unknown, which no weighted figure counts.
    """

    ads: Mapping[str, int]
    alarms: int
    watches: int
    fatigued: int
    spend: float | None
    score: float | None
    fatigued_spend: float | None
    unknown_spend: int

    @property
    def fatigued_share(self) -> float | None:
        """The share of spend in fatigued ads, 0 to 1; None without spend."""
        return None if not self.spend or self.fatigued_spend is None else self.fatigued_spend / self.spend

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "creatives": sum(self.ads.values()),
            "statuses": dict(self.ads),
            "alarms": self.alarms,
            "watches": self.watches,
            "fatigued": self.fatigued,
            "score": _round(self.score, 4),
            "recent_spend": _round(self.spend, 2),
            "fatigued_spend": _round(self.fatigued_spend, 2),
            "fatigued_share": _round(self.fatigued_share, 6),
            "unknown_spend": self.unknown_spend,
        }

    def describe(self, currency: str = "") -> str:
        """Return the sums as one line."""
        statuses = ", ".join(f"{self.ads[name]:,} {name}" for name in ("critical", "warning", "healthy", "pending"))
        parts = [f"{format_count(sum(self.ads.values()), 'creative')} ({statuses})", format_count(self.alarms, "alarm")]
        if self.score is not None:
            parts.append(f"score {self.score:.0f}{' weighted by spend' if self.spend else ''}")
        if self.fatigued_share is not None:
            amount = f"{self.spend:,.0f} {currency}".strip()
            share = format_percent(self.fatigued_share)
            parts.append(f"{share} of the last seven days' spend ({amount}) is in fatigued ones")
        if self.unknown_spend:
            parts.append(f"spend of {format_count(self.unknown_spend, 'creative')} unknown")
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class AccountSums:
    """The ads of an account, or of all: as of each account's newest day, and of the scored day before it.

    Attributes:
        account_id: None for all accounts.
        name: of the account; None when the platform gave none.
        currency: of the account; None for accounts of several currencies.
        now: as of the newest day.
        before: as of the scored day before.
        accounts: accounts with scores.
        first_day: the oldest newest day of an account; None without scores.
        last_day: the newest day of all.
    """

    account_id: str | None
    name: str | None
    currency: str | None
    now: AccountDay
    before: AccountDay
    accounts: int
    first_day: date | None
    last_day: date | None


def count_due(engine: Engine, accounts: AccountFilter) -> DueCounts:
    """Return how many ads need action."""
    newest, score = newest_days(accounts), fatigue_score.alias("score")
    is_due = case((_is_due(score), 1), else_=0)
    query = (
        select(is_due, newest.c.currency, func.count(), func.sum(score.c.recent_spend), func.max(newest.c.day))
        .join(score, _is_listed_on(score, newest, score.c.as_of == newest.c.day))
        .group_by(is_due, newest.c.currency)
    )
    with read_transaction(engine) as connection:
        rows = connection.execute(query).all()
    last_day = max((row[4] for row in rows), default=None)
    is_old = last_day is not None and accounts.since is not None and last_day < accounts.since
    due = [row for row in rows if row[0] and not is_old]
    spend = {currency: amount or 0.0 for _, currency, _, amount, _ in sorted(due, key=lambda row: row[1])}
    total, scored = (sum(int(row[2]) for row in part) for part in (due, rows))
    return DueCounts(total, scored, spend, last_day, is_old)


def list_due(engine: Engine, accounts: AccountFilter) -> list[ListedAd]:
    """Return up to `DUE_ROWS` ads that need action, those first that lose most of what is spent."""
    newest, score = newest_days(accounts), fatigue_score.alias("score")
    chosen = (
        select(score.c.account_id, score.c.ad_id, score.c.as_of)
        .join(newest, _is_listed_on(score, newest, score.c.as_of == newest.c.day))
        .where(_is_due(score))
        .order_by(*rank_columns(score.c))
        .limit(DUE_ROWS)
    )
    return sorted((ad for ad, _ in read_listed(engine, chosen)), key=lambda ad: ad.stored.score.rank)


def list_changes(engine: Engine, accounts: AccountFilter) -> list[ChangedAd]:
    """Return ads that changed since the scored day before: up to `CHANGED_ROWS` of each kind.

    An ad counts in the first kind of `CHANGE_KINDS` that it is of.
    """
    pairs = _pair_days(accounts)
    rank_now, rank_before = (case(_RANKS, value=pairs.c[name]) for name in ("status", "status_before"))
    alarmed = pairs.c.alarm == "alarm"
    was_alarmed = func.coalesce(pairs.c.alarm_before, "none") == "alarm"
    kind = case(
        (and_(alarmed, ~was_alarmed), 0), (rank_now > rank_before, 1), (and_(was_alarmed, ~alarmed), 2),
        (rank_now < rank_before, 3),
    )  # fmt: skip
    changed = select(pairs, kind.label("kind")).where(kind.is_not(None)).subquery("changed")
    ranked = select(
        changed,
        func.row_number().over(partition_by=changed.c.kind, order_by=rank_columns(changed.c)).label("place"),
        func.count().over(partition_by=changed.c.kind).label("count"),
    ).subquery("ranked")
    more = ("kind", "status_before", "alarm_before", "count", "place")
    columns = ("account_id", "ad_id", "as_of", *more)
    chosen = select(*(ranked.c[name] for name in columns)).where(ranked.c.place <= CHANGED_ROWS)
    rows = sorted(read_listed(engine, chosen, *more), key=lambda row: (row[1]["kind"], row[1]["place"]))
    return [
        ChangedAd(CHANGE_KINDS[row["kind"]], ad, row["status_before"], row["alarm_before"], int(row["count"]))
        for ad, row in rows
    ]


def sum_accounts(engine: Engine, accounts: AccountFilter) -> tuple[AccountSums, list[AccountSums]]:
    """Return the sums of all chosen accounts, and of those with most alarms and critical ads, worst first."""
    newest, score = newest_days(accounts), fatigue_score.alias("score")
    columns = [
        *_sum_columns("now", score.c.as_of == newest.c.day, score),
        *_sum_columns("before", score.c.as_of < newest.c.day, score),
    ]
    days = score.c.as_of.in_([newest.c.day, newest.c.before])
    shared = (newest.c.id, newest.c.day)
    per_account = (
        select(*shared, func.min(newest.c.name).label("name"), func.min(newest.c.currency).label("currency"), *columns)
        .join(score, _is_listed_on(score, newest, days))
        .group_by(*shared)
        .cte("per_account")
    )
    own, names = per_account.c, [column.name for column in columns]
    is_one = func.min(own.currency) == func.max(own.currency)
    total = select(
        literal(None).label("id"), literal(None).label("name"),
        case((is_one, func.min(own.currency))).label("currency"),
        func.count().label("accounts"), func.min(own.day).label("first_day"), func.max(own.day).label("last_day"),
        *(func.sum(own[name]).label(name) for name in names),
    )  # fmt: skip
    worst = (
        select(
            own.id, own.name, own.currency, literal(1), own.day, own.day,
            *(own[name] for name in names),
        )
        .order_by(own.now_alarms.desc(), own.now_critical.desc(), own.now_warning.desc(), own.id)
        .limit(WORST_ACCOUNTS)
        .subquery()
    )  # fmt: skip
    with read_transaction(engine) as connection:
        rows = connection.execute(union_all(total, select(worst))).all()
    sums = [_account_sums(row) for row in rows]
    overall = next(item for item in sums if item.account_id is None)
    return overall, sorted((item for item in sums if item.account_id is not None), key=_worst_first)


def sum_account(engine: Engine, account_id: str, until: date | None = None) -> AccountDay:
    """Return the sums of the ads of one account as of its newest scored day, not later than `until`."""
    overall, listed = sum_accounts(engine, AccountFilter(account_id=account_id, until=until))
    return listed[0].now if listed else overall.now


def _is_listed_on(score: Any, newest: CTE, is_day: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return whether a score is of an account, of some of its days, and of what lists name."""
    return and_(score.c.account_id == newest.c.id, score.c.part_of == "", is_day)


def _is_due(score: Any) -> ColumnElement[bool]:
    """Return whether an ad needs action."""
    is_soon = and_(score.c.status == "warning", score.c.days_to_critical <= SOON_DAYS)
    return or_(score.c.alarm == "alarm", score.c.status == "critical", is_soon)


def _pair_days(accounts: AccountFilter) -> Subquery:
    """Return status and alarm of each ad on its newest day and on the one before, in one pass over both days."""
    newest, score = newest_days(accounts), fatigue_score.alias("score")
    is_now = score.c.as_of == newest.c.day

    def pick(column: Any, *, now: bool) -> Any:
        return func.max(case((is_now, column)) if now else case((is_now, None), else_=column))

    selected: Select[Any] = (
        select(
            score.c.account_id,
            score.c.ad_id,
            newest.c.day.label("as_of"),
            pick(score.c.status, now=True).label("status"),
            pick(score.c.status, now=False).label("status_before"),
            pick(score.c.alarm, now=True).label("alarm"),
            pick(score.c.alarm, now=False).label("alarm_before"),
            pick(score.c.recent_spend, now=True).label("recent_spend"),
            pick(score.c.loss, now=True).label("loss"),
        )
        .join(newest, _is_listed_on(score, newest, score.c.as_of.in_([newest.c.day, newest.c.before])))
        .group_by(score.c.account_id, score.c.ad_id, newest.c.day)
        .having(func.max(case((is_now, 1), else_=0)) == 1)
    )
    return selected.subquery("pairs")


def _sum_columns(when: str, is_day: ColumnElement[bool], score: Any) -> list[Any]:
    """Return the sums over the ads of a day; their names begin with `when`."""
    is_fatigued = or_(score.c.status == "critical", score.c.alarm == "alarm")
    spend, total = score.c.recent_spend, score.c.total
    counts = {status: score.c.status == status for status in STATUSES} | {
        "alarms": score.c.alarm == "alarm",
        "watches": score.c.alarm == "watch",
        "fatigued": is_fatigued,
        "unknown_spend": spend.is_(None),
    }
    sums = {
        "spend": spend,
        "weighted": total * spend,
        "weight": case((total.is_not(None), spend)),
        "fatigued_spend": case((is_fatigued, spend)),
        "totals": total,
        "with_total": case((total.is_not(None), 1)),
    }
    return [
        *(func.sum(case((and_(is_day, holds), 1), else_=0)).label(f"{when}_{name}") for name, holds in counts.items()),
        *(func.sum(case((is_day, value))).label(f"{when}_{name}") for name, value in sums.items()),
    ]


def _account_sums(row: Any) -> AccountSums:
    values = row._mapping
    now, before = (_account_day(values, when, is_money=row.currency is not None) for when in ("now", "before"))
    return AccountSums(
        account_id=row.id,
        name=row.name,
        currency=row.currency,
        now=now,
        before=before,
        accounts=int(row.accounts),
        first_day=row.first_day,
        last_day=row.last_day,
    )


def _account_day(values: Any, when: str, *, is_money: bool) -> AccountDay:
    def get(name: str) -> float | None:
        value = values[f"{when}_{name}"]
        return None if value is None else float(value)

    def count(name: str) -> int:
        return int(get(name) or 0)

    spend, with_total = get("spend") if is_money else None, get("with_total")
    mean = (get("totals") or 0.0) / with_total if with_total else None
    return AccountDay(
        ads={status: count(status) for status in STATUSES},
        alarms=count("alarms"),
        watches=count("watches"),
        fatigued=count("fatigued"),
        spend=spend,
        score=_mean_score(get("weighted"), get("weight"), mean) if is_money else mean,
        fatigued_spend=None if spend is None else get("fatigued_spend") or 0.0,
        unknown_spend=count("unknown_spend"),
    )


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _mean_score(weighted: float | None, weight: float | None, mean: float | None) -> float | None:
    return weighted / weight if weight and weighted is not None else mean


def _worst_first(item: AccountSums) -> tuple[Any, ...]:
    now = item.now
    return -now.alarms, -now.ads["critical"], -now.ads["warning"], item.account_id
