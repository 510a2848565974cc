"""The queries of reports: the one that readers get, and the next one while it is prepared.

A report's query is its level, fields and attribution. Its hash is part of every stored day and entry, so readers would
miss everything at once if a change of settings took effect at once. Instead:

| the settings of a process have              | becomes                                                              |
|---------------------------------------------|----------------------------------------------------------------------|
| a report that was never seen                | its query is `active`                                                |
| another query than the active one           | the new one is `preparing`; readers go on with the active one        |
| the preparing one, and the deadline is over | it is `active`, the one before `retired`                             |

A plan that finds enough of the preparing query warmed switches before the deadline.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from sqlalchemy import JSON, Connection, Engine, Index, Row, and_, delete, select, update

from adwarm.model import QuerySpec
from adwarm.model.keys import name_next
from adwarm.store.columns import from_row, table_of, to_row
from adwarm.store.database import insert_new, read_transaction, upsert, write_transaction


class VersionState(StrEnum):
    """The state of a report's query."""

    ACTIVE = "active"
    PREPARING = "preparing"
    RETIRED = "retired"


PREPARE_FOR = timedelta(hours=24)
"""A new query is prepared for this long at most: whoever changes a report sees the change the next day."""
SEEN_EVERY = timedelta(minutes=15)
"""How often a process notes that it is configured with a preparing query."""
ABANDONED_AFTER = timedelta(hours=2)
"""A preparing query that no process is configured with for this long is dropped."""


@dataclass(frozen=True, slots=True)
class ReportVersion:
    """A query that a report has, is to have, or had."""

    report: str
    spec: Annotated[QuerySpec, JSON(), "The query: level, fields and attribution."]
    state: Annotated[VersionState, 12, "What it is used for."]
    since: Annotated[datetime, "Since when it is in this state."]
    seen_at: Annotated[datetime, "When a process was last configured with it, to `SEEN_EVERY`."]
    coverage: Annotated[float | None, "Share of the opens expected in the next 24 hours that it can answer."] = None


table = table_of(
    ReportVersion,
    "report_version",
    Index(None, "since"),
    key=("report", "spec_hash"),
    grows="changes of a report's fields, level or attribution",
    bound="retired ones are deleted after `ADWARM_RETENTION__ACTION_DAYS`",
)


def list_versions(engine: Engine) -> list[ReportVersion]:
    """Return all queries, by report and then newest first."""
    with read_transaction(engine) as connection:
        return _list(connection)


def load_specs(engine: Engine, reports: Iterable[str]) -> dict[str, QuerySpec]:
    """Return the active query of each report that has one, and under `name_next` the one that is prepared."""
    return _choose(list_versions(engine), set(reports))


def register(
    engine: Engine, configured: Mapping[str, QuerySpec], now: datetime, deadline: timedelta = PREPARE_FOR
) -> dict[str, QuerySpec]:
    """Note the queries of this process's settings, switch what is overdue, and return what `load_specs` returns.

    Args:
        deadline: how long a new query is prepared at most.
    """
    versions = list_versions(engine)
    changes = {name: spec for name, spec in configured.items() if not _is_settled(versions, name, spec, now, deadline)}
    if changes:
        with write_transaction(engine) as connection:
            for report, spec in sorted(changes.items()):
                _register(connection, report, spec, now, deadline)
            versions = _list(connection)
    return _choose(versions, set(configured))


def switch(engine: Engine, report: str, now: datetime) -> ReportVersion | None:
    """Make the query that is prepared for a report the active one, and return it; None when none is prepared."""
    with write_transaction(engine) as connection:
        return _switch(connection, report, now)


def save_coverage(engine: Engine, report: str, spec_hash: str, coverage: float) -> None:
    """Note how much of a preparing query is warmed, 0 to 1."""
    with write_transaction(engine) as connection:
        connection.execute(update(table).where(_matches(report, spec_hash)).values(coverage=coverage))


def drop_abandoned(engine: Engine, now: datetime) -> list[ReportVersion]:
    """Delete preparing queries that no process is configured with any more, and return them."""
    dropped = [
        item
        for item in list_versions(engine)
        if item.state is VersionState.PREPARING and item.seen_at < now - ABANDONED_AFTER
    ]
    if dropped:
        with write_transaction(engine) as connection:
            for item in dropped:
                same = and_(_matches(item.report, item.spec.hash), table.c.seen_at == item.seen_at)
                connection.execute(delete(table).where(same, table.c.state == VersionState.PREPARING))
    return dropped


def _is_settled(
    versions: list[ReportVersion], report: str, spec: QuerySpec, now: datetime, deadline: timedelta
) -> bool:
    """Whether nothing has to be written for a process that is configured with `spec`."""
    own = next((item for item in versions if item.report == report and item.spec.hash == spec.hash), None)
    if own is None or own.state is VersionState.RETIRED:
        return False
    if own.state is VersionState.ACTIVE:
        return True
    return now < own.since + deadline and now < own.seen_at + SEEN_EVERY


def _register(connection: Connection, report: str, spec: QuerySpec, now: datetime, deadline: timedelta) -> None:
    versions = [item for item in _list(connection) if item.report == report]
    active = next((item for item in versions if item.state is VersionState.ACTIVE), None)
    if active is None:
        insert_new(connection, table, [_row(ReportVersion(report, spec, VersionState.ACTIVE, now, now))])
        return
    own = next((item for item in versions if item.spec.hash == spec.hash), None)
    if own is not None and own.state is VersionState.ACTIVE:
        return
    if own is None or own.state is VersionState.RETIRED:
        others = and_(table.c.report == report, table.c.state == VersionState.PREPARING)
        connection.execute(delete(table).where(others))
        own = ReportVersion(report, spec, VersionState.PREPARING, now, now)
        upsert(connection, table, [_row(own)])
    else:
        connection.execute(update(table).where(_matches(report, spec.hash)).values(seen_at=now))
    if own.since + deadline <= now:
        _switch(connection, report, now)


def _switch(connection: Connection, report: str, now: datetime) -> ReportVersion | None:
    query = select(table).where(table.c.report == report, table.c.state == VersionState.PREPARING)
    row = connection.execute(query.with_for_update()).one_or_none()
    if row is None:
        return None
    version = _version(row)
    was_active = and_(table.c.report == report, table.c.state == VersionState.ACTIVE)
    connection.execute(update(table).where(was_active).values(state=VersionState.RETIRED, since=now))
    own = _matches(report, version.spec.hash)
    connection.execute(update(table).where(own).values(state=VersionState.ACTIVE, since=now))
    return replace(version, state=VersionState.ACTIVE, since=now)


def _choose(versions: Iterable[ReportVersion], reports: set[str]) -> dict[str, QuerySpec]:
    specs = {}
    for item in versions:
        if item.report in reports and item.state is not VersionState.RETIRED:
            is_active = item.state is VersionState.ACTIVE
            specs[item.report if is_active else name_next(item.report)] = item.spec
    return specs


def _list(connection: Connection) -> list[ReportVersion]:
    query = select(table).order_by(table.c.report, table.c.since.desc(), table.c.spec_hash)
    return [_version(row) for row in connection.execute(query)]


def _matches(report: str, spec_hash: str) -> Any:
    return and_(table.c.report == report, table.c.spec_hash == spec_hash)


def _row(item: ReportVersion) -> dict[str, Any]:
    return {**to_row(item), "spec_hash": item.spec.hash, "spec": asdict(item.spec)}


def _version(row: Row[Any]) -> ReportVersion:
    values = row.spec
    windows = tuple(values["attribution_windows"])
    divided = {name: tuple(values.get(name, ())) for name in ("breakdowns", "action_breakdowns")}
    spec = QuerySpec(values["level"], tuple(values["fields"]), windows, values.get("attribution", ""), **divided)
    return from_row(ReportVersion, row, spec=spec)
