"""A run's decision: a function of log and store, stored once, within its budget."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine, delete

from adwarm.forecast.snapshot import promote_snapshot, save_snapshot
from adwarm.forecast.training.train import train_seasonal
from adwarm.foundation.errors import NotFound
from adwarm.model import Account, Mode, ReportKey, WarmResult, WarmStatus
from adwarm.patterns.opens import opens_from_frame
from adwarm.planning.decide import build_forecast_plan, decide, get_calls_left_this_hour, get_open_chances
from adwarm.planning.further_warms import get_close_time
from adwarm.settings import Settings
from adwarm.store import (
    Context,
    ObjectStore,
    accounts,
    denials,
    warm_usage,
    warms,
    write_transaction,
)
from tests.unit.conftest import finish_warms

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
NINE = MONDAY + timedelta(hours=9)
RUN = "adwarm_intelligent_warming/r1"

CLOSED = [Account(f"act_{n}", status="closed") for n in (2, 3)]


def _settings(**planning: Any) -> Settings:
    return Settings(planning={"step_minutes": 60, **planning})


def _context(engine: Engine, objects: ObjectStore, **planning: Any) -> Context:
    return Context(engine, objects, _settings(**planning))


@pytest.fixture
def learned(engine: Engine, objects: ObjectStore) -> Engine:
    """Three accounts opened every day shortly after nine for eight weeks."""
    rows = [
        {
            "account_id": f"act_{n}",
            "date_range": "today",
            "report": "default",
            "time_zone": "UTC",
            "ts": NINE - timedelta(days=day) + timedelta(minutes=10 + n),
        }
        for day in range(1, 57)
        for n in (1, 2, 3)
    ]
    opens = pd.DataFrame(rows)
    opens["ts"] = pd.to_datetime(opens["ts"], utc=True)
    snapshot = save_snapshot(
        Context(engine, objects, _settings()),
        train_seasonal(opens_from_frame(opens), _settings(), MONDAY),
        metrics={},
        at=MONDAY,
    )
    promote_snapshot(engine, snapshot.id, MONDAY)
    with write_transaction(engine) as connection:
        accounts.add_logged(connection, dict.fromkeys(opens["account_id"], "UTC"), "UTC", MONDAY)
    return engine


def _stored(engine: Engine, run: str = RUN) -> list[tuple[Any, ...]]:
    return [(row.key.account_id, row.key.date_range, row.reason, row.status) for row in warms.list_by_run(engine, run)]


def test_without_a_forecast_only_days_are_closed(engine: Engine, objects: ObjectStore) -> None:
    """A preview says what trains one; a run completes the days that have ended, and says why it predicts nothing."""
    context = _context(engine, objects)
    with pytest.raises(NotFound, match="adwarm_access_patterns"):
        build_forecast_plan(context, NINE)
    accounts.save(engine, [Account("act_1", "UTC", "UTC", "EUR"), Account("act_2", status="closed")], NINE)
    closes_at = get_close_time(Account("act_1"), MONDAY.date())
    summary = decide(context, closes_at, RUN, Mode.LIVE)
    assert (summary.planned, summary.closing, summary.batches) == (0, 1, 1)
    assert "adwarm_access_patterns" in summary.without_forecast
    assert [row[0] for row in _stored(engine)] == ["act_1"]


def test_accounts_that_do_not_exist_are_not_warmed(learned: Engine, objects: ObjectStore) -> None:
    """A forecast that has learned an account from reads alone plans nothing for it, until the account exists."""
    with write_transaction(learned) as connection:
        connection.execute(delete(accounts.table).where(accounts.table.c.id == "act_2"))
    decide(_context(learned, objects), NINE, RUN, Mode.LIVE)
    assert [row[0] for row in _stored(learned)] == ["act_1", "act_3"]
    accounts.add_named(_context(learned, objects), ["act_2"], NINE)
    decide(_context(learned, objects), NINE, f"{RUN}2", Mode.LIVE)
    assert [row[0] for row in _stored(learned, f"{RUN}2")] == ["act_1", "act_2", "act_3"]


def test_closed_accounts_are_not_warmed(learned: Engine, objects: ObjectStore) -> None:
    """Neither those that the platform has closed nor those that the user has; a user may open one again."""
    accounts.save(learned, [Account("act_1", status="closed"), Account("act_2")], NINE)
    accounts.set_by_user(learned, "act_2", {"user_status": "closed"})
    decide(_context(learned, objects), NINE, RUN, Mode.LIVE)
    assert [row[0] for row in _stored(learned)] == ["act_3"]
    accounts.set_by_user(learned, "act_1", {"user_status": "active"})
    decide(_context(learned, objects), NINE, RUN, Mode.LIVE)
    assert [row[0] for row in _stored(learned)] == ["act_1", "act_3"]


def test_open_chances_are_those_of_the_next_day(learned: Engine, objects: ObjectStore) -> None:
    """A report opened every day has a high chance within a day, and one that was never opened is left out."""
    chances = get_open_chances(_context(learned, objects), MONDAY)
    assert set(chances) == {ReportKey(f"act_{n}", "today") for n in (1, 2, 3)}
    assert all(0.8 < chance < 1 for chance in chances.values())


def test_a_plan_is_stored_once_per_run(learned: Engine, objects: ObjectStore) -> None:
    """Deciding again replaces what was not fetched: the same rows, once."""
    first = decide(_context(learned, objects), NINE, RUN, Mode.LIVE)
    rows = _stored(learned)
    second = decide(_context(learned, objects), NINE, RUN, Mode.LIVE)
    assert (first.planned, first.batches, second) == (3, 1, first)
    assert rows == _stored(learned) == [(f"act_{n}", "today", "predicted_open", "planned") for n in (1, 2, 3)]
    row = warms.list_by_run(learned, RUN)[0]
    assert NINE <= row.warm_at <= row.predicted_open
    assert "opened in" in row.explanation["why"]
    assert first.to_dict()["decided_at"] == NINE.isoformat()


def test_a_preview_stores_nothing(learned: Engine, objects: ObjectStore) -> None:
    """The forecast's plan can be built without storing it."""
    assert len(build_forecast_plan(_context(learned, objects), NINE).recommendations) == 3
    assert warm_usage.count_by_status(learned) == {"used": 0, "wasted": 0, "superseded": 0, "open": 0}


def test_shadow_plans_are_stored_and_not_carried_out(learned: Engine, objects: ObjectStore) -> None:
    """In shadow mode the same keys are stored, in no batch and with no call."""
    summary = decide(_context(learned, objects), NINE, RUN, Mode.SHADOW)
    assert (summary.planned, summary.batches) == (3, 0)
    assert {row[3] for row in _stored(learned)} == {"shadow"}
    assert all(row.expires_at == row.warm_at + timedelta(hours=3) for row in warms.list_by_run(learned, RUN))
    assert warms.list_planned(learned, RUN, 0) == []


def test_warms_over_budget_are_stored_with_a_reason(learned: Engine, objects: ObjectStore) -> None:
    """Two calls an hour keep two; the third is stored as cut with its reason. Calls spent this hour count."""
    summary = decide(_context(learned, objects, max_calls_per_hour=2), NINE, RUN, Mode.LIVE)
    rows = warms.list_by_run(learned, RUN)
    assert (summary.planned, summary.cut) == (2, 1)
    (cut,) = [row for row in rows if row.status == "cut"]
    assert "2 of the 2 calls of all accounts in this hour" in cut.explanation["cut"]
    fetched = WarmResult(warm_id=rows[0].id, status=WarmStatus.FETCHED, fetched_at=NINE, requests=2)
    finish_warms(learned, RUN, [fetched], 2, [])
    assert get_calls_left_this_hour(_context(learned, objects, max_calls_per_hour=2), NINE, RUN) == 0
    assert get_calls_left_this_hour(_context(learned, objects, max_calls_per_hour=2), NINE, "another_dag/r1") == 2
    assert get_calls_left_this_hour(_context(learned, objects), NINE + timedelta(hours=1), RUN) == 600


def test_closed_days_are_planned_once_after_the_likely_opens(learned: Engine, objects: ObjectStore) -> None:
    """The run in whose step an account's day closes plans its week; a denied account is left out."""
    accounts.save(learned, [Account("act_1"), Account("act_2")], MONDAY)
    closes = get_close_time(Account("act_1"), (MONDAY - timedelta(days=1)).date())
    hour = closes.replace(minute=0, second=0, microsecond=0)
    denials.close_account(learned, "act_2", "no", hour)
    summary = decide(_context(learned, objects), hour, RUN, Mode.LIVE)
    assert summary.closing == 1
    assert ("act_1", "2026-02-23..2026-03-01", "day_closed", "planned") in _stored(learned)
    later = decide(_context(learned, objects), hour + timedelta(hours=1), "adwarm_intelligent_warming/r2", Mode.LIVE)
    assert later.closing == 0


def test_closings_over_budget_are_cut(learned: Engine, objects: ObjectStore) -> None:
    """A closing without calls left is stored as cut."""
    accounts.save(learned, [Account("act_1"), *CLOSED], MONDAY)
    closes = get_close_time(Account("act_1"), (MONDAY - timedelta(days=1)).date())
    hour = closes.replace(minute=0, second=0, microsecond=0)
    summary = decide(_context(learned, objects, max_calls_per_hour=1), hour, RUN, Mode.LIVE)
    assert (summary.closing, summary.cut) == (0, 1)
    assert ("act_1", "2026-02-23..2026-03-01", "day_closed", "cut") in _stored(learned)
