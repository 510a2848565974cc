"""Figures of sampled accounts that were read from the platform in two ways, and whether they agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Boolean, Date, Engine, Float, Index, String, Table, insert, select

from adwarm.store.columns import ROW_ID, UtcDateTime, from_row, key_column, metadata, to_row, value_column
from adwarm.store.database import read_transaction, write_transaction

# Grows with reconciled accounts a day. Maintenance deletes old rows.
table = Table(
    "reconciliation",
    metadata,
    key_column("id", ROW_ID),
    value_column("at", UtcDateTime()),
    value_column("account_id", String(24)),
    value_column("comparison", String(24)),
    value_column("since", Date),
    value_column("until", Date),
    value_column("metric", String(100)),
    value_column("expected", Float),
    value_column("actual", Float),
    value_column("differs", Boolean),
    Index(None, "at"),
    Index(None, "account_id", "at"),
)


@dataclass(frozen=True, slots=True)
class ComparedFigure:
    """One metric of one account and window, read in two ways.

    Attributes:
        comparison: `levels`, `groups`, `async` or `stored`.
        metric: the figure; for a list its name and, after a colon, the kind of item, such as `actions:purchase`; the
            name of a report with breakdowns stands after it, such as `spend (placements)`.
        expected: what the reference says: the account's own total, the plain request, or the fresh request.
        actual: the other figure: the sum of the ads or groups, the async report, or the sum of the stored days.
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
            connection.execute(insert(table), [to_row(figure) for figure in figures])


def list_figures(
    engine: Engine, since: datetime, *, only_differing: bool = False, limit: int = 100
) -> list[ComparedFigure]:
    """Return figures compared since then, the newest first; with `only_differing` those that do not agree."""
    query = select(table).where(table.c.at >= since).order_by(table.c.at.desc(), table.c.id.desc()).limit(limit)
    if only_differing:
        query = query.where(table.c.differs)
    with read_transaction(engine) as connection:
        return [from_row(ComparedFigure, row) for row in connection.execute(query)]
