"""Creatives of many accounts by their newest score; an ad whose creative is not known stands for itself.

Accounts are scored at different times, so each has its own newest day: one probe of an index per account. Everything
about many ads is read from that index alone; the wide rows are read for the ads of one page only.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import CTE, Engine, Select, and_, func, or_, select, tuple_

from adwarm.model import AlarmLevel, FatigueStatus
from adwarm.store import creatives, read_transaction
from adwarm.store.accounts import table as account
from adwarm.store.columns import day_before
from adwarm.store.creatives import AdCreative
from adwarm.store.fatigue_days import table as fatigue_day
from adwarm.store.scores import IS_SAME_DAY, STAMPS, StoredScore, rank_columns, read_score
from adwarm.store.scores import table as fatigue_score

PAGE_SIZE: Final = 25
MOST_PAGES: Final = 200
"""Later pages are not offered: a filter is faster than so many of them."""
SPARK_DAYS: Final = 14
_FRESH_DAYS: Final = 4
"""An account whose newest scores are older needs no action today: it has ended, or its data has not come."""
AdKey = tuple[str, str]
"""Account id and ad id."""


@dataclass(frozen=True, slots=True)
class AccountFilter:
    """Which accounts to read.

    Attributes:
        text: part of the id or name of an account; empty for all.
        account_id: only this account; None for all.
        since: leave out accounts whose newest scores are older; when those of all chosen ones are, none is left out.
        until: the latest day whose scores count; None for all days.
    """

    text: str = ""
    account_id: str | None = None
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True)
class AdQuery:
    """Which ads to list, and from which page.

    Attributes:
        page: 1 is the first one.
    """

    accounts: AccountFilter = field(default_factory=AccountFilter)
    status: FatigueStatus | None = None
    alarm: AlarmLevel | None = None
    page: int = 1


@dataclass(frozen=True, slots=True)
class ListedAd:
    """An ad of the list.

    Attributes:
        stored: its newest score.
        account_name: None when the platform gave none.
        zone: data zone of the account, in which the day of the score is one.
        before: its total on the day before; None when it had none.
        creative: what it shows; None when that was not read.
    """

    stored: StoredScore
    account_name: str | None
    zone: str
    currency: str
    before: float | None
    creative: AdCreative | None

    @property
    def change(self) -> float | None:
        """Points since the day before; None when either day has no total."""
        total = self.stored.score.total
        return None if total is None or self.before is None else total - self.before

    @property
    def key(self) -> AdKey:
        """Account id and ad id."""
        return self.stored.key


def get_first_fresh_day(now: datetime) -> date:
    """Return the first day whose scores still count today; see `AccountFilter.since`."""
    return now.date() - timedelta(days=_FRESH_DAYS)


def list_ads(engine: Engine, query: AdQuery, limit: int = PAGE_SIZE) -> tuple[list[ListedAd], bool]:
    """Return a page of up to `limit` ads by their newest score, and whether another page follows."""
    chosen = _choose_ads(query).offset((query.page - 1) * limit).limit(limit + 1)
    ads = sorted((ad for ad, _ in read_listed(engine, chosen)), key=lambda ad: ad.stored.score.rank)
    return ads[:limit], len(ads) > limit


def read_listed(engine: Engine, chosen: Select[Any], *more: str) -> list[tuple[ListedAd, dict[str, Any]]]:
    """Return ads, each with other columns of `chosen`, in no order.

    Args:
        chosen: selects `account_id`, `ad_id` and `as_of` of the ads.
        more: the other columns.
    """
    keys = chosen.subquery("chosen")
    previous = fatigue_score.alias("previous")
    same_ad = (fatigue_score.c.account_id == keys.c.account_id, fatigue_score.c.ad_id == keys.c.ad_id)
    earlier = (previous.c.account_id == keys.c.account_id, previous.c.ad_id == keys.c.ad_id)
    own = (account.c.name, account.c.data_zone, account.c.currency, previous.c.total.label("earlier"))
    query = (
        select(fatigue_score, *STAMPS, *own, *(keys.c[name] for name in more))
        .select_from(keys)
        .join(fatigue_score, and_(*same_ad, fatigue_score.c.as_of == keys.c.as_of))
        .join(fatigue_day, IS_SAME_DAY)
        .join(account, account.c.id == keys.c.account_id)
        .outerjoin(previous, and_(*earlier, previous.c.as_of == day_before(keys.c.as_of)))
    )
    with read_transaction(engine) as connection:
        rows = [dict(row._mapping) for row in connection.execute(query)]
    shown = creatives.get_many(engine, [(row["account_id"], row["ad_id"]) for row in rows])
    listed = []
    for row in rows:
        values = {name: row.pop(name) for name in more}
        name, zone, currency, before = (row.pop(column) for column in ("name", "data_zone", "currency", "earlier"))
        creative = shown.get((row["account_id"], row["ad_id"]))
        listed.append((ListedAd(read_score(row), name, zone, currency, before=before, creative=creative), values))
    return listed


def list_losses(engine: Engine, ads: Sequence[ListedAd]) -> dict[AdKey, list[float | None]]:
    """Return what each ad lost on the `SPARK_DAYS` days up to its newest score, as shares, oldest first."""
    if not ads:
        return {}
    ends = {ad.key: ad.stored.score.as_of for ad in ads}
    table = fatigue_score.c
    query = select(table.account_id, table.ad_id, table.as_of, table.loss).where(
        tuple_(table.account_id, table.ad_id).in_(list(ends)),
        table.as_of > min(ends.values()) - timedelta(days=SPARK_DAYS),
    )
    losses: dict[AdKey, dict[date, float | None]] = defaultdict(dict)
    with read_transaction(engine) as connection:
        for row in connection.execute(query):
            losses[row.account_id, row.ad_id][row.as_of] = row.loss
    return {
        key: [losses[key].get(end - timedelta(days=back)) for back in range(SPARK_DAYS - 1, -1, -1)]
        for key, end in ends.items()
    }


def newest_days(accounts: AccountFilter) -> CTE:
    """Return id, name, currency, newest day and the scored day before it of each chosen account with scores.

    A day before is NULL for an account with one scored day. Every figure about many ads starts from these accounts.
    """
    probe = select(func.max(fatigue_score.c.as_of)).where(fatigue_score.c.account_id == account.c.id)
    probe = probe if accounts.until is None else probe.where(fatigue_score.c.as_of <= accounts.until)
    day = probe.correlate(account).scalar_subquery().label("day")
    selected = select(account.c.id, account.c.name, account.c.currency, day)
    if accounts.text:
        matches = (column.icontains(accounts.text, autoescape=True) for column in (account.c.id, account.c.name))
        selected = selected.where(or_(*matches))
    if accounts.account_id is not None:
        selected = selected.where(account.c.id == accounts.account_id)
    # Without MATERIALIZED, PostgreSQL would probe the index again for every ad.
    scored = selected.cte("scored").prefix_with("MATERIALIZED")
    older = select(func.max(fatigue_score.c.as_of)).where(
        fatigue_score.c.account_id == scored.c.id, fatigue_score.c.as_of < scored.c.day
    )
    rows = select(scored, older.correlate(scored).scalar_subquery().label("before"))
    if accounts.since is None:
        rows = rows.where(scored.c.day.is_not(None))
    else:
        last = select(func.max(scored.c.day)).scalar_subquery()
        rows = rows.where(or_(scored.c.day >= accounts.since, last < accounts.since))
    return rows.cte("newest").prefix_with("MATERIALIZED")


def _choose_ads(query: AdQuery) -> Select[Any]:
    """Return the keys of the ads of a filter in order, read from the index alone."""
    newest, score = newest_days(query.accounts), fatigue_score.alias("score").c
    conditions = [] if query.status is None else [score.status == query.status]
    conditions += [] if query.alarm is None else [score.alarm == query.alarm]
    is_newest = and_(score.account_id == newest.c.id, score.as_of == newest.c.day, score.part_of == "")
    selected = select(score.account_id, score.ad_id, score.as_of).join(newest, is_newest).where(*conditions)
    return selected.order_by(*rank_columns(score))
