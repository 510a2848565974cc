"""Counts of marked warms for the tab *Evidence*: one statement, aggregated by the database.

The condition is that of the index `ix_warm_marked`, which holds every column that is read, so the table itself is not.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Engine, case, func, or_, select

from adwarm.store.database import read_transaction
from adwarm.store.tables import warm

BINS: Final = 10


@dataclass(frozen=True, slots=True)
class MarkCounts:
    """Marked warms with one reason, mode, status, mark and range of chances.

    Attributes:
        used: True when opened while fresh, False when not, None when a newer warm replaced it before.
        bin: 0 for chances below 10 %, 9 for those of 90 % and more.
        warms: how many.
        chance: mean of their chances, 0 to 1.
    """

    reason: str
    mode: str
    status: str
    used: bool | None
    bin: int
    warms: int
    chance: float


def count_marks(engine: Engine, since: datetime) -> list[MarkCounts]:
    """Return the counts of the warms that were decided since then and are marked."""
    chance = warm.c.confidence
    in_bin = case(*((chance < (number + 1) / BINS, number) for number in range(BINS - 1)), else_=BINS - 1)
    group = (warm.c.reason, warm.c.mode, warm.c.status, warm.c.used, in_bin.label("bin"))
    query = (
        select(*group, func.count().label("warms"), func.avg(chance).label("chance"))
        .where(warm.c.decided_at >= since, or_(warm.c.used.is_not(None), warm.c.superseded_by.is_not(None)))
        .group_by(*group)
    )
    with read_transaction(engine) as connection:
        return [MarkCounts(**row._mapping) for row in connection.execute(query)]
