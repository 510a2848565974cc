"""The SQL of the tab *Fatigue*.

Accounts are scored at different times, so each has its own newest day: one probe of an index per account. Everything
about many ads is read from that index alone; the wide rows are read for the ads of one page only.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, Literal

from sqlalchemy import CTE, Engine, Select, and_, case, func, literal, or_, select, tuple_, union_all

from adwarm.model import FatigueStatus
from adwarm.store import read_transaction
from adwarm.store.columns import day_before
from adwarm.store.scores import STATUSES, StoredScore, read_score
from adwarm.store.tables import account, fatigue_score

PAGE_SIZE: Final = 25
MOST_PAGES: Final = 200
"""Later pages are not offered: a filter is faster than so many of them."""
WORST_ACCOUNTS: Final = 10
SPARK_DAYS: Final = 14
HISTORY_DAYS: Final = 90
AdKey = tuple[str, str]
"""Account id and ad id."""


@dataclass(frozen=True, slots=True)
class StatusCounts:
    """The ads of an account, or of all, by status: as of each account's newest day, and of the day before it.

    Attributes:
        account_id: None for all accounts.
        name: of the account; None when the platform gave none.
        now: ads by status.
        before: ads by status on the day before.
        accounts: accounts with scores.
        first_day: the oldest newest day of an account; None without scores.
        last_day: the newest day of all.
    """

    account_id: str | None
    name: str | None
    now: dict[str, int]
    before: dict[str, int]
    accounts: int
    first_day: date | None
    last_day: date | None


@dataclass(frozen=True, slots=True)
class AdQuery:
    """Which ads to list, and from which page.

    Attributes:
        text: part of the id or name of an account; empty for all.
        status: only ads of this status.
        sort: by total, or by the change since the day before; the highest first.
        page: 1 is the first one.
    """

    text: str = ""
    status: FatigueStatus | None = None
    sort: Literal["total", "change"] = "total"
    page: int = 1


@dataclass(frozen=True, slots=True)
class ListedAd:
    """An ad of the list.

    Attributes:
        stored: its newest score.
        account_name: None when the platform gave none.
        zone: data zone of the account, in which the day of the score is one.
        before: its total on the day before; None when it had none.
    """

    stored: StoredScore
    account_name: str | None
    zone: str
    before: float | None

    @property
    def change(self) -> float | None:
        """Points since the day before; None when either day has no total."""
        total = self.stored.score.total
        return None if total is None or self.before is None else total - self.before


def count_statuses(engine: Engine) -> tuple[StatusCounts, list[StatusCounts]]:
    """Return the ads of all accounts by status, and the accounts with the most critical ads, worst first."""
    newest = _newest_days("")
    score = fatigue_score.alias("score")
    days = score.c.as_of.in_([newest.c.day, day_before(newest.c.day)])
    columns = [
        func.sum(case((and_(is_day, score.c.status == status), 1), else_=0)).label(f"{when}_{status}")
        for when, is_day in (("now", score.c.as_of == newest.c.day), ("before", score.c.as_of < newest.c.day))
        for status in STATUSES
    ]
    per_account = (
        select(newest.c.id, func.min(newest.c.name).label("name"), newest.c.day, *columns)
        .join(score, and_(score.c.account_id == newest.c.id, days))
        .group_by(newest.c.id, newest.c.day)
        .cte("per_account")
    )
    names = [column.name for column in columns]
    sums = [func.coalesce(func.sum(per_account.c[name]), 0).label(name) for name in names]
    total = select(
        literal(0).label("place"), literal(None).label("id"), literal(None).label("name"),
        func.count().label("accounts"), func.min(per_account.c.day).label("first_day"),
        func.max(per_account.c.day).label("last_day"), *sums,
    )  # fmt: skip
    worst = (
        select(
            literal(1), per_account.c.id, per_account.c.name, literal(1), per_account.c.day, per_account.c.day,
            *(per_account.c[name] for name in names),
        )
        .where(per_account.c.now_critical + per_account.c.now_warning > 0)
        .order_by(per_account.c.now_critical.desc(), per_account.c.now_warning.desc(), per_account.c.id)
        .limit(WORST_ACCOUNTS)
        .subquery()
    )  # fmt: skip
    with read_transaction(engine) as connection:
        rows = connection.execute(union_all(total, select(worst))).all()
    counts = [_status_counts(row) for row in rows]
    overall = next(item for item in counts if item.account_id is None)
    ranked = [item for item in counts if item.account_id is not None]
    return overall, sorted(
        ranked, key=lambda item: (-item.now["critical"], -item.now["warning"], item.account_id or "")
    )


def list_ads(engine: Engine, query: AdQuery) -> tuple[list[ListedAd], bool]:
    """Return a page of ads by their newest score, and whether another page follows."""
    chosen = _choose_ads(query).subquery("chosen")
    previous = fatigue_score.alias("previous")
    same_day = (fatigue_score.c.account_id == chosen.c.account_id, fatigue_score.c.ad_id == chosen.c.ad_id)
    day_earlier = (previous.c.account_id == chosen.c.account_id, previous.c.ad_id == chosen.c.ad_id)
    selected = (
        select(fatigue_score, account.c.name, account.c.data_zone, previous.c.total.label("before"))
        .select_from(chosen)
        .join(fatigue_score, and_(*same_day, fatigue_score.c.as_of == chosen.c.as_of))
        .join(account, account.c.id == chosen.c.account_id)
        .outerjoin(previous, and_(*day_earlier, previous.c.as_of == day_before(chosen.c.as_of)))
    )
    with read_transaction(engine) as connection:
        rows = connection.execute(selected).all()
    ads = sorted((_listed_ad(row) for row in rows), key=lambda ad: _sort_key(ad, query.sort))
    return ads[:PAGE_SIZE], len(ads) > PAGE_SIZE


def list_totals(engine: Engine, ads: Sequence[ListedAd], days: int = SPARK_DAYS) -> dict[AdKey, list[float | None]]:
    """Return the totals of each ad on the `days` days up to its newest score, oldest first."""
    if not ads:
        return {}
    ends = {(ad.stored.score.account_id, ad.stored.score.ad_id): ad.stored.score.as_of for ad in ads}
    table = fatigue_score.c
    query = select(table.account_id, table.ad_id, table.as_of, table.total).where(
        tuple_(table.account_id, table.ad_id).in_(list(ends)), table.as_of > min(ends.values()) - timedelta(days=days)
    )
    totals: dict[AdKey, dict[date, float | None]] = defaultdict(dict)
    with read_transaction(engine) as connection:
        for row in connection.execute(query):
            totals[row.account_id, row.ad_id][row.as_of] = row.total
    return {
        key: [totals[key].get(end - timedelta(days=back)) for back in range(days - 1, -1, -1)]
        for key, end in ends.items()
    }


def list_history(engine: Engine, account_id: str, ad_id: str) -> list[StoredScore]:
    """Return the newest scores of one ad, at most one for each of `HISTORY_DAYS` days, oldest first."""
    query = (
        select(fatigue_score)
        .where(fatigue_score.c.account_id == account_id, fatigue_score.c.ad_id == ad_id)
        .order_by(fatigue_score.c.as_of.desc())
        .limit(HISTORY_DAYS)
    )
    with read_transaction(engine) as connection:
        return [read_score(row) for row in connection.execute(query).mappings()][::-1]


def _newest_days(text: str) -> CTE:
    """Return the id, name and newest day of each account that has scores and whose id or name contains `text`."""
    probe = select(func.max(fatigue_score.c.as_of)).where(fatigue_score.c.account_id == account.c.id)
    selected = select(account.c.id, account.c.name, probe.correlate(account).scalar_subquery().label("day"))
    if text:
        matches = (column.icontains(text, autoescape=True) for column in (account.c.id, account.c.name))
        selected = selected.where(or_(*matches))
    # Without MATERIALIZED, PostgreSQL would probe the index again for every ad.
    return selected.cte("newest").prefix_with("MATERIALIZED")


def _choose_ads(query: AdQuery) -> Select[Any]:
    """Return the keys of the ads of a page and one more, read from the index alone."""
    newest = _newest_days(query.text)
    score = fatigue_score.alias("score")
    keys = (score.c.account_id, score.c.ad_id)
    if query.sort == "change":
        # Both days in one pass: a join of the two would look each ad up on every day that it was ever scored.
        is_now = score.c.as_of == newest.c.day
        days = score.c.as_of.in_([newest.c.day, day_before(newest.c.day)])
        rank: Any = func.max(case((is_now, score.c.total))) - func.max(case((is_now, None), else_=score.c.total))
        selected = select(*keys, newest.c.day.label("as_of"))
        selected = selected.join(newest, and_(score.c.account_id == newest.c.id, days)).group_by(*keys, newest.c.day)
        has_status = is_now if query.status is None else and_(is_now, score.c.status == query.status)
        selected = selected.having(func.max(case((has_status, 1), else_=0)) == 1)
    else:
        rank = score.c.total
        is_newest = and_(score.c.account_id == newest.c.id, score.c.as_of == newest.c.day)
        selected = select(*keys, score.c.as_of).join(newest, is_newest)
        selected = selected if query.status is None else selected.where(score.c.status == query.status)
    selected = selected.order_by(rank.is_(None), rank.desc(), *keys)
    return selected.offset((query.page - 1) * PAGE_SIZE).limit(PAGE_SIZE + 1)


def _sort_key(ad: ListedAd, sort: str) -> tuple[bool, float, str, str]:
    score = ad.stored.score
    rank = score.total if sort == "total" else ad.change
    return rank is None, -(rank or 0.0), score.account_id, score.ad_id


def _listed_ad(row: Any) -> ListedAd:
    values = dict(row._mapping)
    name, zone, before = (values.pop(column) for column in ("name", "data_zone", "before"))
    return ListedAd(read_score(values), name, zone, before)


def _status_counts(row: Any) -> StatusCounts:
    values = row._mapping
    now, before = ({status: int(values[f"{when}_{status}"]) for status in STATUSES} for when in ("now", "before"))
    return StatusCounts(row.id, row.name, now, before, int(row.accounts), row.first_day, row.last_day)
