"""Queries of reports: a changed one is prepared while readers keep the active one, and switched in one step."""

import hashlib
import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from adwarm.model import QuerySpec
from adwarm.store import report_versions
from adwarm.store.database import write_transaction
from adwarm.store.report_versions import ABANDONED_AFTER, VersionState

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DEADLINE = timedelta(hours=24)
OLD, NEW, OTHER = QuerySpec(), QuerySpec(level="campaign"), QuerySpec(level="account")


def _register(
    engine: Engine, spec: QuerySpec, hours: float = 0, deadline: timedelta = DEADLINE
) -> dict[str, QuerySpec]:
    return report_versions.register(engine, {"default": spec}, NOW + timedelta(hours=hours), deadline)


def _states(engine: Engine) -> dict[str, str]:
    return {item.spec.level: str(item.state) for item in report_versions.list_versions(engine)}


def test_the_first_query_is_active(engine: Engine) -> None:
    """Without an earlier query there is nothing to prepare."""
    assert _register(engine, OLD) == {"default": OLD}
    assert _register(engine, OLD, 1) == {"default": OLD}
    assert _states(engine) == {"ad": "active"}


def test_a_changed_query_is_prepared_beside_the_active_one(engine: Engine) -> None:
    """Readers keep the active query, also in processes that have the new settings, until it is switched."""
    _register(engine, OLD)
    assert _register(engine, NEW, 1) == {"default": OLD, "default@next": NEW}
    assert report_versions.load_specs(engine, ["default"])["default"] == OLD

    switched = report_versions.switch(engine, "default", NOW + timedelta(hours=2))

    assert switched is not None
    assert (switched.spec, switched.state) == (NEW, VersionState.ACTIVE)
    assert report_versions.load_specs(engine, ["default"]) == {"default": NEW}
    assert _states(engine) == {"ad": "retired", "campaign": "active"}
    assert report_versions.switch(engine, "default", NOW) is None


def test_a_query_stored_without_attribution_goes_on_until_the_switch(engine: Engine) -> None:
    """A query of an earlier version keeps its hash, so that its entries are served while the new one is warmed."""
    old = replace(OLD, attribution="")
    _register(engine, old)
    with write_transaction(engine) as connection:
        spec = asdict(old)
        del spec["attribution"]
        connection.execute(report_versions.table.update().values(spec=spec))
    assert _register(engine, OLD, 1) == {"default": old, "default@next": OLD}
    earlier = json.dumps(["ad", sorted(old.fields), []])
    assert old.hash == hashlib.sha256(earlier.encode()).hexdigest()[:12]
    report_versions.switch(engine, "default", NOW)
    assert report_versions.load_specs(engine, ["default"]) == {"default": OLD}


def test_breakdowns_are_stored_with_the_query(engine: Engine) -> None:
    """A report that gets breakdowns is another query, and is read back whole."""
    divided = replace(OLD, breakdowns=("age", "gender"), action_breakdowns=("action_type",))
    _register(engine, OLD)
    assert _register(engine, divided, 1) == {"default": OLD, "default@next": divided}


def test_the_deadline_switches_without_a_plan(engine: Engine) -> None:
    """The first process after the deadline that has the new settings switches; with no time to prepare, at once."""
    _register(engine, OLD)
    _register(engine, NEW)
    assert _register(engine, NEW, 23)["default"] == OLD
    assert _register(engine, OLD, 25)["default"] == OLD
    assert _register(engine, NEW, 25) == {"default": NEW}
    assert _register(engine, OTHER, 26, timedelta(0)) == {"default": OTHER}


def test_only_the_newest_change_is_prepared(engine: Engine) -> None:
    """Another change replaces the query that was prepared; a query that comes back is prepared again."""
    _register(engine, OLD)
    _register(engine, NEW)
    assert _register(engine, OTHER, 1) == {"default": OLD, "default@next": OTHER}
    report_versions.switch(engine, "default", NOW + timedelta(hours=2))
    assert _register(engine, OLD, 3) == {"default": OTHER, "default@next": OLD}


def test_a_change_that_was_taken_back_is_dropped(engine: Engine) -> None:
    """A query that no process is configured with for hours is not switched to any more."""
    _register(engine, OLD)
    _register(engine, NEW)
    assert report_versions.drop_abandoned(engine, NOW + ABANDONED_AFTER) == []
    dropped = report_versions.drop_abandoned(engine, NOW + ABANDONED_AFTER + timedelta(minutes=1))
    assert [item.spec for item in dropped] == [NEW]
    assert _states(engine) == {"ad": "active"}


def test_the_coverage_is_kept(engine: Engine) -> None:
    """What a plan has measured is shown with the query."""
    _register(engine, OLD)
    _register(engine, NEW)
    report_versions.save_coverage(engine, "default", NEW.hash, 0.4)
    [item] = [item for item in report_versions.list_versions(engine) if item.spec == NEW]
    assert item.coverage == 0.4
