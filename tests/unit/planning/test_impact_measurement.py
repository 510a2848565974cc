"""Impact from end to end: plans withhold, a log tells, ended weeks are measured, and the report says what is known."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine

from adwarm.forecast.snapshot import promote_snapshot, save_snapshot
from adwarm.forecast.training.train import train_seasonal
from adwarm.foundation.clock import VirtualClock
from adwarm.maintenance.impact_weeks import make_measure_impact
from adwarm.maintenance.step import StepBudget
from adwarm.model import Account, Mode, OpenSource, ReportKey, WarmResult, WarmStatus
from adwarm.patterns.ingest.run import ingest
from adwarm.patterns.opens import opens_from_frame
from adwarm.planning import impact_measurement
from adwarm.planning.decide import decide
from adwarm.planning.hold_out import is_held_out
from adwarm.planning.impact import ImpactRules
from adwarm.planning.impact_measurement import list_due_weeks, measure_week, replay_first_opens, report_impact
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, accounts, impact, read_traffic, warms
from tests.user_log import UserLog

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
MINUTE = timedelta(minutes=1)
NAMES = [f"act_{number}" for number in range(1, 9)]
FIRST, SECOND = date(2026, 3, 2), date(2026, 3, 9)


@pytest.fixture
def context(engine: Engine, objects: ObjectStore, tmp_path: Path) -> Context:
    """Eight accounts whose report was opened every day shortly after nine for eight weeks; half are held out."""
    settings = Settings(
        planning={"step_minutes": 60},
        access_log={"url": str(tmp_path / "log")},
        impact={"enabled": True, "share": 0.5},
    )
    rows = [
        {"account_id": name, "date_range": "today", "ts": MONDAY - day * DAY + 9 * HOUR + (10 + n) * MINUTE}
        for day in range(1, 57)
        for n, name in enumerate(NAMES)
    ]
    frame = pd.DataFrame(rows)
    frame["ts"] = pd.to_datetime(frame["ts"], utc=True)
    context = Context(engine, objects, settings)
    snapshot = save_snapshot(context, train_seasonal(opens_from_frame(frame), settings, MONDAY), metrics={}, at=MONDAY)
    promote_snapshot(engine, snapshot.id, MONDAY)
    accounts.save(engine, [Account(name, "UTC", "UTC", "EUR", status="active") for name in NAMES], MONDAY)
    return context


def _fetch_planned(context: Context, run: str, at: datetime) -> None:
    """Carry out every batch of a run: each warm is fetched with one call and stays fresh for three hours."""
    for number in range(3):
        results = [
            WarmResult(
                warm_id=row.id,
                status=WarmStatus.FETCHED,
                fetched_at=at,
                expires_at=at + 3 * HOUR,
                requests=1,
                seconds=1.0,
            )
            for row in warms.list_planned(context.engine, run, number)
            if row.reason == "predicted_open"
        ]
        warms.finish(context.engine, run, results, len(results), [])


def _live_through(context: Context, tmp_path: Path, days: Iterable[int]) -> None:
    """Plan and fetch at nine each day, and write an open of every account shortly after."""
    log = UserLog(tmp_path / "log" / "opens.jsonl")
    for day in days:
        nine = MONDAY + day * DAY + 9 * HOUR
        run = f"adwarm_intelligent_warming/{day}"
        decide(context, nine, run, Mode.LIVE)
        _fetch_planned(context, run, nine + 2 * MINUTE)
        for n, name in enumerate(NAMES):
            log.append(nine + (10 + n) * MINUTE, ReportKey(name, "today"))
    ingest(context, MONDAY + (max(days) + 5) * DAY)


def _end(day: int) -> datetime:
    return MONDAY + day * DAY


def test_a_measured_fortnight(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Warmed accounts find every first open fresh and held-out ones none, so each call gains one hit."""
    monkeypatch.setattr(impact_measurement, "ImpactRules", partial(ImpactRules, min_weeks=2))
    impact.start_design(context.engine, MONDAY - DAY, 0.5)
    assert "the first whole week" in report_impact(context, MONDAY)["next"]
    _live_through(context, tmp_path, range(14))
    UserLog(tmp_path / "log" / "opens.jsonl").append(_end(19) + 20 * HOUR, ReportKey("act_99", "today"))
    ingest(context, _end(22))
    assert list_due_weeks(context, _end(9)) == []
    assert list_due_weeks(context, _end(22)) == [FIRST, SECOND]
    step = make_measure_impact(context, VirtualClock(_end(22)))
    result = step(None, StepBudget.of(VirtualClock(_end(22)), 60))
    assert (result.counts, result.cursor, list_due_weeks(context, _end(22))) == ({"weeks": 2}, None, [])
    design = impact.find_design(context.engine)
    assert design is not None
    units = impact.list_units(context.engine, design.id)
    assert len(units) == 2 * len(NAMES)
    for unit in units:
        held = is_held_out(unit.account_id, unit.week, design)
        found = (unit.is_held_out, unit.first_opens, unit.first_hits, unit.calls, unit.withheld)
        assert found == ((True, 7, 0, 0, 7) if held else (False, 7, 7, 7, 0)), unit
    report = report_impact(context, _end(22))
    assert (report["gain_per_call"], report["weeks_by_source"], report["designs"]) == (1.0, {"log": 2}, 1)
    assert report["held_out"]["hit_rate"] == 0.0
    assert "of 20 held-out accounts and weeks" in report["why"]
    assert "useful in about" in report["next"]


def test_reads_that_were_served_are_preferred(context: Context, tmp_path: Path) -> None:
    """When the read API counted nearly all first opens of the log, its own hits are used."""
    impact.start_design(context.engine, MONDAY - DAY, 0.5)
    _live_through(context, tmp_path, range(8))
    counts: dict[tuple[datetime, str, str], dict[str, float]] = {
        (MONDAY + day * DAY + 9 * HOUR, name, "human"): {"first_opens": 2, "first_hits": 1}
        for day in range(7)
        for name in NAMES
    }
    counts[MONDAY + 9 * HOUR, NAMES[0], "warmer"] = {"first_opens": 50, "first_hits": 50}
    _insert_traffic(context.engine, counts)
    measure_week(context, FIRST, _end(12))
    design = impact.find_design(context.engine)
    assert design is not None
    units = impact.list_units(context.engine, design.id)
    assert {(unit.first_opens, unit.first_hits, unit.source) for unit in units} == {(14, 7, OpenSource.READ_API)}


def _insert_traffic(engine: Engine, counts: dict[tuple[datetime, str, str], dict[str, float]]) -> None:
    from adwarm.store import write_transaction
    from adwarm.store.tables import traffic_hour

    zero = dict.fromkeys(("hits", "stale", "misses", "errors", "upstream_calls", "throttles"), 0) | {"latency_ms": 0.0}
    rows = [
        {"hour": hour, "account_id": name, "actor": actor, **zero, **values}
        for (hour, name, actor), values in counts.items()
    ]
    with write_transaction(engine) as connection:
        connection.execute(traffic_hour.insert(), rows)
    assert sum(row[2] for row in read_traffic.iter_first_opens(engine, MONDAY, MONDAY + WEEK)) == 14 * len(NAMES)


def test_what_the_report_says_before_there_is_anything(context: Context) -> None:
    """Off: how to switch it on. On: that the next run begins it. Later: when the first whole week is measured."""
    off = Context(context.engine, context.objects, Settings())
    assert "ADWARM_IMPACT__ENABLED=true" in report_impact(off, MONDAY)["next"]
    assert "begins the measurement" in report_impact(context, MONDAY)["next"]
    assert list_due_weeks(context, MONDAY + 30 * DAY) == []
    with pytest.raises(ValueError, match="no measurement"):
        measure_week(context, FIRST, MONDAY)
    impact.start_design(context.engine, MONDAY + HOUR, 0.5)
    assert "2026-03-18 12:00 UTC" in report_impact(context, MONDAY)["next"]
    assert "at the next maintenance" in report_impact(context, MONDAY + 30 * DAY)["next"]


def test_a_measurement_that_ended_measures_whole_weeks_only(context: Context) -> None:
    """A week in which it was switched off is not measured, because part of it was warmed."""
    impact.start_design(context.engine, MONDAY - DAY, 0.5)
    impact.end_design(context.engine, MONDAY + 12 * DAY)
    assert list_due_weeks(context, MONDAY + 40 * DAY) == [FIRST]


def _opens(*minutes: int) -> Any:
    frame = pd.DataFrame({"account_id": "act_1", "date_range": "today", "ts": [MONDAY + m * MINUTE for m in minutes]})
    frame["ts"] = pd.to_datetime(frame["ts"], utc=True)
    return opens_from_frame(frame)


def test_first_opens_against_fetches(subtests: pytest.Subtests) -> None:
    """A first open is a hit while the newest fetch is fresh: by a warm, or by a reader who waited."""
    for fetched, expected in [
        ([], [False, True, False]),  # the first one waits and fetches, the second finds that, the third is too late
        ([(50, 300)], [False, True, True]),  # fetched before the second open, fresh until after the third
        ([(0, 90)], [True, True, False]),  # a fetch that has expired by the third open
        ([(5, None)], [True, True, False]),  # final data, until the key covers other days
    ]:
        with subtests.test(fetched=fetched, expected=expected):
            spans = [
                (ReportKey("act_1", "today"), MONDAY + at * MINUTE, None if end is None else MONDAY + end * MINUTE)
                for at, end in fetched
            ]
            opens = _opens(10, 12, 60, 200)
            found = list(replay_first_opens(opens, spans, lambda _, at: at + 180 * MINUTE))
            assert int(np.count_nonzero(opens.first)) == len(found) == 3
            assert [hit for _, _, hit in found] == expected
