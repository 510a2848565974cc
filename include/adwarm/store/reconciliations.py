"""Figures of accounts that were read from the platform in two ways, and whether they agree.

Each is described by one sentence with both values, and what may explain the difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Final

from sqlalchemy import Engine, Index, func, insert, select

from adwarm.store.columns import from_row, table_of, to_row
from adwarm.store.database import read_transaction, write_transaction

DAYS: Final = "days"
"""The comparison of stored days with breakdowns with the same days without, for which nothing is read."""
_WORDS: Final = {
    "levels": ("the account reports {}", "its ads sum to {}"),
    "async": ("a plain request says {}", "the async report says {}"),
    "stored": ("the platform says {}", "the stored days sum to {}"),
    "groups": ("the account reports {}", "its groups sum to {}"),
    DAYS: ("the rows without breakdowns sum to {}", "the groups to {}"),
}
_LOST_GROUPS: Final = (
    "the platform leaves groups out, or answers this breakdown only once somebody enables it for the account in Ads "
    "Manager; the report without breakdowns is whole"
)
_WHY: Final = {
    "levels": "ads that were deleted count for the account and are not listed as ads; if none was deleted, ask the "
    "platform's support with both figures",
    "async": "the platform answers the same question in two ways; a later run shows whether it lasts",
    "stored": "the platform has restated days that were final",
    "groups": _LOST_GROUPS,
    DAYS: _LOST_GROUPS,
}


@dataclass(frozen=True, slots=True)
class ComparedFigure:
    """One metric of one account and window, read in two ways."""

    at: Annotated[datetime, "When they were compared."]
    account_id: str
    comparison: Annotated[
        str,
        24,
        "`levels`: ads summed against the account; `groups`: groups of a breakdown against the account; `async`: an "
        "async report against a plain request; `stored`: stored days against a fresh range; `days`: groups of stored "
        "days against the same days without breakdowns.",
    ]
    since: date
    until: date
    metric: Annotated[
        str,
        100,
        "Figure that was compared; of a list its name and the kind of item, such as `actions:purchase`; the name of a "
        "report with breakdowns stands after it, such as `spend (placements)`.",
    ]
    expected: Annotated[float, "What the second of the two says."]
    actual: Annotated[float, "What the first of the two says."]
    differs: Annotated[bool, "Whether they differ by more than rounding."]


table = table_of(
    ComparedFigure,
    "reconciliation",
    Index(None, "at"),
    Index(None, "account_id", "at"),
    key=("id",),
    grows="reconciled accounts a day, and accounts whose groups do not add up",
    bound="deleted after `ADWARM_RETENTION__HISTORY_DAYS`",
)


def describe(figure: ComparedFigure) -> str:
    """Return one figure in words, with both values."""
    expected, actual = (
        text.format(format_figure(figure.metric, value))
        for text, value in zip(_WORDS[figure.comparison], (figure.expected, figure.actual), strict=True)
    )
    share = abs(figure.actual - figure.expected) / max(abs(figure.expected), abs(figure.actual), 1e-9)
    window = f"{figure.since}..{figure.until}"
    metric = figure.metric.replace(":", " of ", 1)
    return f"{figure.account_id} {window}, {metric}: {expected}, {actual} ({share:.1%} apart)"


def describe_all(figures: Sequence[ComparedFigure]) -> str:
    """Return figures in words, with what may explain each kind of difference."""
    reasons = dict.fromkeys(_WHY[name] for name in _WHY if any(figure.comparison == name for figure in figures))
    return "; ".join([*(describe(figure) for figure in figures), *reasons])


def format_figure(metric: str, value: float) -> str:
    """Return the value of a figure, money with cents."""
    return f"{value:,.2f}" if metric.startswith("spend") else f"{value:,.0f}"


def insert_figures(engine: Engine, figures: Sequence[ComparedFigure]) -> None:
    """Store figures in one transaction."""
    if figures:
        with write_transaction(engine) as connection:
            connection.execute(insert(table), [to_row(figure) for figure in figures])


def find_newest(engine: Engine, account_id: str, comparison: str, report: str) -> ComparedFigure | None:
    """Return the newest figure of an account and a report with breakdowns."""
    query = (
        select(table)
        .where(table.c.account_id == account_id, table.c.comparison == comparison)
        .where(table.c.metric.endswith(f" ({report})", autoescape=True))
        .order_by(table.c.at.desc(), table.c.id.desc())
    )
    with read_transaction(engine) as connection:
        row = connection.execute(query.limit(1)).first()
    return None if row is None else from_row(ComparedFigure, row)


def list_newest(engine: Engine, comparison: str, since: datetime) -> list[ComparedFigure]:
    """Return the newest figure since then of each account and report with breakdowns, by account and report."""
    newest = select(func.max(table.c.id)).where(table.c.at >= since, table.c.comparison == comparison)
    query = select(table).where(table.c.id.in_(newest.group_by(table.c.account_id, table.c.metric)))
    with read_transaction(engine) as connection:
        figures = [from_row(ComparedFigure, row) for row in connection.execute(query.order_by(table.c.id))]
    by_report = {(item.account_id, item.metric.partition(" (")[2]): item for item in figures}
    return [by_report[name] for name in sorted(by_report)]


def list_figures(
    engine: Engine, since: datetime, *, only_differing: bool = False, limit: int = 100
) -> list[ComparedFigure]:
    """Return figures compared since then, the newest first; with `only_differing` those that do not agree."""
    query = select(table).where(table.c.at >= since).order_by(table.c.at.desc(), table.c.id.desc()).limit(limit)
    if only_differing:
        query = query.where(table.c.differs)
    with read_transaction(engine) as connection:
        return [from_row(ComparedFigure, row) for row in connection.execute(query)]
