"""A plan depends only on earlier opens: no later open of any reader changes it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from adwarm.forecast.snapshot import promote_snapshot, save_snapshot
from adwarm.forecast.training.train import COMPETING_KINDS, TRAINERS
from adwarm.patterns.ingest.run import ingest
from adwarm.patterns.opens import opens_from_frame
from adwarm.planning.decide import build_forecast_plan
from adwarm.planning.recommendation import WarmPlan
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, aggregates, write_transaction

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
END = MONDAY + timedelta(days=3)
QUARTER = timedelta(minutes=15)


def _log() -> pd.DataFrame:
    """Office hours of six accounts over three weeks, in two zones, with skipped days and second opens."""
    draw = np.random.default_rng(11)
    rows = [
        (f"act_{n}", date_range, zone, MONDAY + timedelta(days=day, hours=8 + n % 4 + look * 3, minutes=minute))
        for day in range(-19, 3)
        for n, zone in ((n, ("Europe/Rome", "America/New_York")[n % 2]) for n in range(6))
        for date_range in ("today", "last_7d")
        for look in (0, 1)
        if draw.random() < 0.6 and (minute := int(draw.integers(0, 50))) >= 0
    ]
    frame = pd.DataFrame(rows, columns=["account_id", "date_range", "time_zone", "ts"])
    return frame.assign(ts=pd.to_datetime(frame["ts"], utc=True), report="default").sort_values("ts")


@pytest.fixture(scope="module")
def log() -> pd.DataFrame:
    """One log for all examples."""
    return _log()


@pytest.fixture(
    params=[pytest.param(kind, marks=pytest.mark.slow if kind == "adwarm" else ()) for kind in COMPETING_KINDS]
)
def learned(
    request: pytest.FixtureRequest,
    sqlite_engine: Engine,
    objects: ObjectStore,
    log: pd.DataFrame,
    tmp_path_factory: pytest.TempPathFactory,
) -> Engine:
    """A store that has read the whole log, and a forecast of each kind, trained up to Monday."""
    forecast = TRAINERS[request.param](opens_from_frame(log), Settings(), MONDAY)
    snapshot = save_snapshot(Context(sqlite_engine, objects, Settings()), forecast, metrics={}, at=MONDAY)
    promote_snapshot(sqlite_engine, snapshot.id, MONDAY)
    _read(sqlite_engine, objects, log, tmp_path_factory)
    return sqlite_engine


def _read(engine: Engine, objects: ObjectStore, log: pd.DataFrame, folder: pytest.TempPathFactory) -> None:
    path = folder.mktemp("log") / "log.parquet"
    log.to_parquet(path)
    ingest(
        Context(engine, objects, Settings(access_log={"url": str(path)})),
        END,
        window=(MONDAY - timedelta(days=19), END),
    )
    with write_transaction(engine) as connection:
        aggregates.set_watermark(connection, END, END)


def _plan(engine: Engine, objects: ObjectStore, at: datetime) -> WarmPlan:
    return build_forecast_plan(Context(engine, objects, Settings()), at)


@settings(max_examples=2, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 3 * 96 - 1), st.integers(0, 8))
def test_a_cut_log_changes_no_earlier_plan(
    learned: Engine,
    objects: ObjectStore,
    log: pd.DataFrame,
    tmp_path_factory: pytest.TempPathFactory,
    quarter: int,
    later: int,
) -> None:
    """With the log cut at any moment from the decision on, the plan is the same."""
    at = MONDAY + quarter * QUARTER
    whole = _plan(learned, objects, at)
    _read(learned, objects, log[log["ts"] < pd.Timestamp(at + later * QUARTER)], tmp_path_factory)
    assert _plan(learned, objects, at) == whole
    _read(learned, objects, log, tmp_path_factory)


def test_plans_of_the_week_are_not_empty(learned: Engine, objects: ObjectStore) -> None:
    """Mornings plan warms, each worth more than it costs, and the same ones twice."""
    plans = [_plan(learned, objects, MONDAY + hour * timedelta(hours=1)) for hour in range(6, 18, 2)]
    assert plans[1] == _plan(learned, objects, MONDAY + timedelta(hours=8))
    planned = [item for plan in plans for item in plan.recommendations]
    assert len(planned) > 8
    assert all(item.benefit > item.price for item in planned)
