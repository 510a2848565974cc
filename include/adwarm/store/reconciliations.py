"""Figures of sampled accounts that were read from the platform in two ways, and whether they agree."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Engine, Row, insert, select

from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.tables import reconciliation as table


@dataclass(frozen=True, slots=True)
class ComparedFigure:
    """One metric of one account and window, read in two ways.

    Attributes:
        comparison: `levels`, `async` or `stored`.
        expected: what the reference says: the account's own total, the plain request, or the fresh request.
        actual: the other figure: the sum of the ads, the async report, or the sum of the stored days.
        differs: whether they differ by more than rounding.
    """

    at: datetime
    account_id: str
    comparison: str
    since: date
    until: date
    metric: str
    expected: float
    actual: float
    differs: bool


def insert_figures(engine: Engine, figures: Sequence[ComparedFigure]) -> None:
    """Store figures in one transaction."""
    if figures:
        with write_transaction(engine) as connection:
            connection.execute(insert(table), [asdict(figure) for figure in figures])


def list_figures(
    engine: Engine, since: datetime, *, only_differing: bool = False, limit: int = 100
) -> list[ComparedFigure]:
    """Return figures compared since then, the newest first; with `only_differing` those that do not agree."""
    query = select(table).where(table.c.at >= since).order_by(table.c.at.desc(), table.c.id.desc()).limit(limit)
    if only_differing:
        query = query.where(table.c.differs)
    with read_transaction(engine) as connection:
        return [_figure(row) for row in connection.execute(query)]


def _figure(row: Row[Any]) -> ComparedFigure:
    values = dict(row._mapping)
    del values["id"]
    return ComparedFigure(**values)
