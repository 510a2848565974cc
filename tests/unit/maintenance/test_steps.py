"""Samples of shared capacity scopes: one row per scope and minute, accounts left out, bounded."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, insert, select

from adwarm.backpressure import AdmissionStatus, ScopeStatus
from adwarm.foundation.clock import VirtualClock
from adwarm.maintenance import steps
from adwarm.maintenance.runner import StepBudget, StepResult
from adwarm.maintenance.steps import make_sample_capacity
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, read_transaction, write_transaction
from adwarm.store.capacity import capacity_sample
from adwarm.store.gates import table as gate
from tests.support.gate_rows import park_row

NOW = datetime(2026, 3, 4, 10, 7, 30, tzinfo=UTC)


def _scope(name: str, *, in_flight: int = 0, usage: float | None = None) -> ScopeStatus:
    return ScopeStatus(name, 12, {"low": in_flight}, None, "free", usage)


def _run(engine: Engine, tmp_path: object, *scopes: ScopeStatus) -> StepResult:
    clock = VirtualClock(NOW)
    context = Context(engine, ObjectStore(str(tmp_path)), Settings())
    step = make_sample_capacity(context, lambda: AdmissionStatus(NOW, scopes), clock)
    return step(None, StepBudget.of(clock, 60))


def test_each_shared_scope_is_sampled_once_a_minute(engine: Engine, tmp_path: object) -> None:
    """Limit, calls, usage and parking are stored; a second run in the same minute replaces them; accounts are not."""
    with write_transaction(engine) as connection:
        connection.execute(insert(gate), [park_row("app:1", (NOW + timedelta(hours=1)).timestamp())])
    _run(engine, tmp_path, _scope("fleet"), _scope("account:act_1"))
    result = _run(
        engine,
        tmp_path,
        _scope("fleet", in_flight=3),
        _scope("app:1", usage=70.5),
        _scope("account:act_1"),
    )
    with read_transaction(engine) as connection:
        rows = connection.execute(select(capacity_sample).order_by(capacity_sample.c.scope)).all()
    minute = NOW.replace(second=0)
    assert [tuple(row) for row in rows] == [
        (minute, "app:1", 12.0, 0, 70.5, True),
        (minute, "fleet", 12.0, 3, None, False),
    ]
    assert (result.counts, result.cursor) == ({"scopes": 2}, None)


def test_nothing_is_sampled_before_the_first_call(engine: Engine, tmp_path: object) -> None:
    """Without shared scopes the step says why it did nothing."""
    assert _run(engine, tmp_path).skipped == "nothing was called yet"


def test_the_number_of_scopes_is_bounded(engine: Engine, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit scopes are left out, and the step says how many."""
    monkeypatch.setattr(steps, "MAX_SCOPES", 1)
    result = _run(engine, tmp_path, _scope("app:1"), _scope("fleet"))
    assert (result.counts, result.problems) == ({"scopes": 1}, ["1 more shared scopes are not sampled"])
