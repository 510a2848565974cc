"""How many warms there are, and how many of them were used: the database counts them, and returns no row of a warm."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Row, and_, case, func, or_, select

from adwarm.model import Mode, WarmReason, WarmStatus
from adwarm.store.columns import from_row, seconds_between
from adwarm.store.database import read_transaction
from adwarm.store.warms import table

BINS: Final = 10
"""Ranges of stated chances."""
_AGES: Final = (0, 15, 30, 60, 120, 240, 480, 1_440)
"""Minutes up to which ages are counted."""
_COUNTS: Final = ("used", "wasted", "superseded", "open")


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageCounts:
    """How many fetched warms were used; each counts in one of the four.

    Attributes:
        used: opened while fresh.
        wasted: expired unopened.
        superseded: replaced by a newer warm of its key before anybody opened it.
        open: not known yet, or fetched for no reader.
    """

    used: int
    wasted: int
    superseded: int
    open: int

    @property
    def marked(self) -> int:
        """Number of warms of which it is known whether they were used."""
        return self.used + self.wasted

    @property
    def share(self) -> float | None:
        """The share that was used of those of which it is known."""
        return self.used / self.marked if self.marked else None


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUsage(UsageCounts):
    """How many warms of one mode and reason were used.

    Attributes:
        age: about the median seconds from the fetch to the first use; None when none was used.
    """

    mode: Mode
    reason: WarmReason
    age: float | None


@dataclass(frozen=True, slots=True)
class MarkCounts:
    """Marked warms with one reason, mode, status, mark and range of chances.

    Attributes:
        used: True when opened while fresh, False when not, None when a newer warm replaced it before.
        bin: 0 for chances below 10 %, 9 for those of 90 % and more.
        chance: mean of their chances, 0 to 1.
    """

    reason: WarmReason
    mode: Mode
    status: WarmStatus
    used: bool | None
    bin: int
    warms: int
    chance: float


def get_usage(engine: Engine, since: datetime | None) -> list[WarmUsage]:
    """Return how many of the warms decided since then were used, by mode and reason; with None, of all stored ones."""
    is_used, unmarked = table.c.used.is_(True), table.c.used.is_(None)
    age = seconds_between(func.coalesce(table.c.fetched_at, table.c.warm_at), table.c.first_use)
    group = (table.c.mode, table.c.reason)
    query = select(
        *group,
        _count_if(is_used).label("used"),
        _count_if(table.c.used.is_(False)).label("wasted"),
        _count_if(and_(unmarked, table.c.superseded_by.is_not(None))).label("superseded"),
        _count_if(and_(unmarked, table.c.superseded_by.is_(None))).label("open"),
        *(_count_if(and_(is_used, age < 60 * minutes)).label(f"age_{minutes}") for minutes in _AGES),
    ).where(table.c.status.in_((WarmStatus.FETCHED, WarmStatus.SHADOW)))
    query = query if since is None else query.where(table.c.decided_at >= since)
    with read_transaction(engine) as connection:
        rows = connection.execute(query.group_by(*group).order_by(*group)).all()
    return [
        from_row(WarmUsage, row, age=_find_median([row._mapping[f"age_{minutes}"] for minutes in _AGES], row.used))
        for row in rows
    ]


def add_up(usage: Sequence[WarmUsage]) -> UsageCounts:
    """Return the sums over live warms; shadow warms were not fetched."""
    live = [row for row in usage if row.mode is not Mode.SHADOW]
    return UsageCounts(**{name: sum(getattr(row, name) for row in live) for name in _COUNTS})


def count_marks(engine: Engine, since: datetime) -> list[MarkCounts]:
    """Return the counts of the warms that were decided since then and are marked.

    The condition is that of the index `ix_warm_marked`, which holds every column that is read.
    """
    chance = table.c.confidence
    in_bin = case(*((chance < (number + 1) / BINS, number) for number in range(BINS - 1)), else_=BINS - 1)
    group = (table.c.reason, table.c.mode, table.c.status, table.c.used, in_bin.label("bin"))
    query = (
        select(*group, func.count().label("warms"), func.avg(chance).label("chance"))
        .where(table.c.decided_at >= since, or_(table.c.used.is_not(None), table.c.superseded_by.is_not(None)))
        .group_by(*group)
    )
    with read_transaction(engine) as connection:
        return [MarkCounts(**row._mapping) for row in connection.execute(query)]


def count_run(engine: Engine, run_id: str) -> list[Row[Any]]:
    """Return how many `warms` a run has, by `status` and `reason`, the most first."""
    group = (table.c.status, table.c.reason)
    query = select(*group, func.count().label("warms")).where(table.c.run_id == run_id).group_by(*group)
    with read_transaction(engine) as connection:
        return list(connection.execute(query.order_by(func.count().desc(), *group)))


def count_cut(engine: Engine, reason: WarmReason) -> int:
    """Return how many warms with this reason were cut from their plans."""
    query = select(func.count()).where(table.c.reason == reason, table.c.status == WarmStatus.CUT)
    with read_transaction(engine) as connection:
        return int(connection.execute(query).scalar_one())


def count_by_status(engine: Engine) -> dict[str, int]:
    """Return the number of stored warms by status, and how many of the `fetched` ones are in each of `UsageCounts`."""
    query = select(table.c.status, func.count().label("n")).group_by(table.c.status)
    with read_transaction(engine) as connection:
        counts = {str(row.status): int(row.n) for row in connection.execute(query)}
    return {**counts, **asdict(add_up(get_usage(engine, None)))}


def _find_median(younger: Sequence[int], count: int) -> float | None:
    """Return about the median age in seconds: on a straight line between the two limits around half of the warms."""
    if not count:
        return None
    for place in range(1, len(_AGES)):
        if younger[place] * 2 >= count:
            share = (count / 2 - younger[place - 1]) / (younger[place] - younger[place - 1])
            return 60.0 * (_AGES[place - 1] + (_AGES[place] - _AGES[place - 1]) * share)
    return 60.0 * _AGES[-1]


def _count_if(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)
