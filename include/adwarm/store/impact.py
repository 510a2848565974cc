"""Live impact: designs, each with its newest estimate, measured units, and the warms that they are measured from."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, func, or_, select, update
from sqlalchemy.schema import Column, Index, Table
from sqlalchemy.types import JSON, Boolean, Date, Float, Integer, String

from adwarm.model import ImpactDesign, ImpactUnit, Mode, OpenSource, ReportKey, WarmReason, WarmStatus
from adwarm.store.columns import ROW_ID, EnumText, UtcDateTime, from_row, key_column, metadata, to_row, value_column
from adwarm.store.database import read_transaction, upsert, write_transaction
from adwarm.store.warms import table as warm

# One row each time that the measurement begins or its share changes. Maintenance deletes old rows.
impact_design = Table(
    "impact_design",
    metadata,
    key_column("id", ROW_ID),
    value_column("since", UtcDateTime()),
    value_column("share", Float),
    value_column("salt", String(200)),
    Column("ended_at", UtcDateTime()),
    Column("week", Date),
    Column("at", UtcDateTime()),
    Column("figures", JSON),
    Index(None, "since"),
)

# One row per account and week while impact is measured. Maintenance deletes old rows.
impact_unit = Table(
    "impact_unit",
    metadata,
    key_column("design_id", ROW_ID),
    key_column("week", Date),
    key_column("account_id", String(24)),
    value_column("is_held_out", Boolean),
    value_column("first_opens", Integer),
    value_column("first_hits", Integer),
    value_column("calls", Integer),
    value_column("withheld", Integer, 0),
    value_column("source", EnumText(OpenSource)),
    Index(None, "week"),
)


_ROWS = 1_000
_LONGEST_WITHHELD = timedelta(days=8)
"""A withheld warm counts as stored for at most this long; one of final data would never expire."""


@dataclass(frozen=True, slots=True)
class PredictedWarm:
    """A warm of a predicted open, as far as the measurement reads it."""

    account_id: str
    predicted_open: datetime
    is_withheld: bool
    calls: int


@dataclass(frozen=True, slots=True)
class StoredEstimate:
    """An estimate as stored.

    Attributes:
        week: the newest week in it, as its Monday.
        figures: JSON values.
        designs: how many measurements were begun, this one included.
    """

    design: ImpactDesign
    week: date
    at: datetime
    figures: dict[str, Any]
    designs: int


def find_design(engine: Engine) -> ImpactDesign | None:
    """Return the running design, or None while nothing is measured."""
    with read_transaction(engine) as connection:
        return _find_running(connection)


def find_newest_design(engine: Engine) -> ImpactDesign | None:
    """Return the newest design, running or ended; None before the first."""
    query = select(impact_design).order_by(impact_design.c.id.desc()).limit(1)
    with read_transaction(engine) as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else from_row(ImpactDesign, row)


def start_design(engine: Engine, at: datetime, share: float) -> ImpactDesign:
    """Return the running design of this share; any other one ends, and this one begins at `at`.

    The salt of its draw is that moment, which nobody picks by its result.

    Args:
        share: share of the units that is held out.
    """
    with write_transaction(engine) as connection:
        running = _find_running(connection)
        if running and running.share == share:
            return running
        _end_running(connection, at)
        salt = at.isoformat()
        query = impact_design.insert().values(since=at, share=share, salt=salt).returning(impact_design.c.id)
        return ImpactDesign(int(connection.execute(query).scalar_one()), at, share, salt)


def end_design(engine: Engine, at: datetime) -> None:
    """End the running design at `at`; a later one begins anew."""
    with write_transaction(engine) as connection:
        _end_running(connection, at)


def save_units(engine: Engine, design_id: int, units: Iterable[ImpactUnit]) -> None:
    """Store measured units; those stored before are replaced."""
    rows = [{"design_id": design_id, **to_row(unit)} for unit in units]
    for start in range(0, len(rows), _ROWS):
        with write_transaction(engine) as connection:
            upsert(connection, impact_unit, rows[start : start + _ROWS])


def list_units(engine: Engine, design_id: int) -> list[ImpactUnit]:
    """Return the measured units of a design by week and account."""
    query = (
        select(impact_unit)
        .where(impact_unit.c.design_id == design_id)
        .order_by(impact_unit.c.week, impact_unit.c.account_id)
    )
    with read_transaction(engine) as connection:
        return [from_row(ImpactUnit, row) for row in connection.execute(query)]


def save_estimate(engine: Engine, design_id: int, week: date, at: datetime, figures: dict[str, Any]) -> None:
    """Store the estimate of a design after a week, in place of one of that week or of an earlier week."""
    is_newer = impact_design.c.week.is_(None) | (impact_design.c.week <= week)
    change = update(impact_design).where(impact_design.c.id == design_id, is_newer)
    with write_transaction(engine) as connection:
        connection.execute(change.values(week=week, at=at, figures=figures))


def find_newest_week(engine: Engine, design_id: int) -> date | None:
    """Return the Monday of the newest week that a design has an estimate of; None before the first."""
    query = select(impact_design.c.week).where(impact_design.c.id == design_id)
    with read_transaction(engine) as connection:
        week: date | None = connection.execute(query).scalar_one_or_none()
    return week


def find_newest_estimate(engine: Engine) -> StoredEstimate | None:
    """Return the newest estimate of the newest design that has one; one statement."""
    designs = select(func.count()).select_from(impact_design).scalar_subquery()
    query = (
        select(impact_design, designs.label("designs"))
        .where(impact_design.c.week.is_not(None))
        .order_by(impact_design.c.id.desc())
        .limit(1)
    )
    with read_transaction(engine) as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return from_row(StoredEstimate, row, design=from_row(ImpactDesign, row))


def get_withheld_until(engine: Engine, before: datetime) -> dict[ReportKey, datetime]:
    """Return by key when the entry of its latest warm withheld before `before` would expire; expired ones are left out.

    Warms of final data count for `_LONGEST_WITHHELD`.
    """
    key = (warm.c.account_id, warm.c.date_range, warm.c.report)
    query = (
        select(*key, warm.c.warm_at, warm.c.expires_at)
        .where(warm.c.status == WarmStatus.HELD_OUT)
        .where(warm.c.decided_at >= before - _LONGEST_WITHHELD, warm.c.decided_at < before)
        .where(or_(warm.c.expires_at > before, warm.c.expires_at.is_(None)))
    )
    ends: dict[ReportKey, datetime] = {}
    with read_transaction(engine) as connection:
        for row in connection.execute(query):
            report_key = ReportKey(*row[:3])
            end = row.expires_at or row.warm_at + _LONGEST_WITHHELD
            ends[report_key] = max(end, ends.get(report_key, end))
    return ends


def iter_predicted(engine: Engine, since: datetime, until: datetime) -> Iterator[PredictedWarm]:
    """Yield the live warms of predicted opens that were decided in the half-open window and not cut."""
    columns = (warm.c.account_id, warm.c.predicted_open, warm.c.status, warm.c.requests)
    query = select(*columns).where(
        warm.c.decided_at >= since,
        warm.c.decided_at < until,
        warm.c.reason == WarmReason.PREDICTED_OPEN,
        warm.c.mode == Mode.LIVE,
        warm.c.status != WarmStatus.CUT,
        warm.c.predicted_open.is_not(None),
    )
    with read_transaction(engine) as connection:
        for row in connection.execute(query):
            is_withheld = row.status is WarmStatus.HELD_OUT
            yield PredictedWarm(row.account_id, row.predicted_open, is_withheld, int(row.requests))


def list_fetched_spans(
    engine: Engine, since: datetime, until: datetime
) -> list[tuple[ReportKey, datetime, datetime | None]]:
    """Return key, fetch and expiry of every warm decided in the half-open window that was fetched, oldest first."""
    key = (warm.c.account_id, warm.c.date_range, warm.c.report)
    query = (
        select(*key, warm.c.fetched_at, warm.c.expires_at)
        .where(warm.c.decided_at >= since, warm.c.decided_at < until, warm.c.status == WarmStatus.FETCHED)
        .order_by(warm.c.fetched_at, warm.c.id)
    )
    with read_transaction(engine) as connection:
        return [(ReportKey(*row[:3]), row.fetched_at, row.expires_at) for row in connection.execute(query)]


def count_exempt(engine: Engine, since: datetime, until: datetime) -> dict[str, dict[str, int]]:
    """Return, by reason, the fetched warms decided in the half-open window that are never withheld, and their calls."""
    query = (
        select(warm.c.reason, func.count().label("warms"), func.sum(warm.c.requests).label("calls"))
        .where(warm.c.decided_at >= since, warm.c.decided_at < until, warm.c.status == WarmStatus.FETCHED)
        .where(warm.c.reason != WarmReason.PREDICTED_OPEN)
        .group_by(warm.c.reason)
        .order_by(warm.c.reason)
    )
    with read_transaction(engine) as connection:
        rows = connection.execute(query).all()
    return {str(row.reason): {"warms": int(row.warms), "calls": int(row.calls)} for row in rows}


def _find_running(connection: Connection) -> ImpactDesign | None:
    query = select(impact_design).where(impact_design.c.ended_at.is_(None)).order_by(impact_design.c.id.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else from_row(ImpactDesign, row)


def _end_running(connection: Connection, at: datetime) -> None:
    connection.execute(update(impact_design).where(impact_design.c.ended_at.is_(None)).values(ended_at=at))
