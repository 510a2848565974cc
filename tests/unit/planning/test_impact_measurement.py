"""Impact from end to end: plans withhold, a log tells, ended weeks are measured, and the report says what is known."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from adwarm.fetch_plan import RequestCost
from adwarm.forecast.snapshot import promote_snapshot, save_snapshot
from adwarm.forecast.training.train import train_seasonal
from adwarm.foundation.clock import VirtualClock
from adwarm.maintenance.runner import StepBudget
from adwarm.maintenance.steps import make_measure_impact
from adwarm.model import Account, ImpactDesign, Mode, OpenSource, ReportKey, WarmReason, WarmResult, WarmStatus
from adwarm.patterns.ingest.run import ingest
from adwarm.patterns.opens import opens_from_frame
from adwarm.planning import impact_measurement
from adwarm.planning.decide import decide
from adwarm.planning.impact import ImpactRules
from adwarm.planning.impact_measurement import (
    HoldOut,
    HoldOutView,
    get_week,
    is_held_out,
    list_due_weeks,
    measure_week,
    replay_first_opens,
)
from adwarm.planning.impact_report import report_impact
from adwarm.planning.recommendation import Recommendation, WarmPlan
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, accounts, impact, read_traffic, warms
from tests.unit.conftest import finish_warms
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
        finish_warms(context.engine, run, results, len(results), [])


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
    from adwarm.store.read_traffic import table as traffic_hour

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


FIRST_DAY = date(2026, 3, 2)
AT = datetime(2026, 3, 4, 9, tzinfo=UTC)
WEEK = timedelta(days=7)
ACCOUNTS = st.integers(1, 10**15).map(lambda number: f"act_{number}")
WEEKS = st.integers(0, 500).map(lambda number: FIRST_DAY + number * WEEK)


def _design(share: float = 0.1, salt: str = "salt") -> ImpactDesign:
    return ImpactDesign(1, AT, share, salt)


def _item(account: str, reason: WarmReason = WarmReason.PREDICTED_OPEN, at: datetime = AT) -> Recommendation:
    return Recommendation(ReportKey(account, "today"), at, 0.5, at, reason, explanation={"why": "often opened"})


def _hold_out(design: ImpactDesign, withheld_until: dict[ReportKey, datetime] | None = None) -> HoldOut:
    return HoldOut(design, lambda _: "UTC", withheld_until or {})


@given(ACCOUNTS, WEEKS, st.floats(0.01, 0.5), st.text(max_size=20))
def test_a_draw_is_stable(account: str, week: date, share: float, salt: str) -> None:
    """The same account, week and design give the same draw, and a larger share only adds units."""
    drawn = is_held_out(account, week, _design(share, salt))
    assert drawn == is_held_out(account, week, _design(share, salt))
    assert not drawn or is_held_out(account, week, _design(0.5, salt))


@given(st.permutations([f"act_{number}" for number in range(12)]))
def test_a_plan_withholds_the_same_keys_in_any_order(names: Sequence[str]) -> None:
    """Which keys are withheld does not depend on their order, and each is planned or withheld, never both."""
    plan = _hold_out(_design(0.4)).withhold(WarmPlan(tuple(_item(name) for name in names)))
    expected = {name for name in names if is_held_out(name, FIRST_DAY, _design(0.4))}
    assert {item.key.account_id for item in plan.held_out} == expected
    assert {item.key.account_id for item in plan.recommendations} == set(names) - expected
    assert 0 < len(expected) < len(names)


def test_the_share_holds() -> None:
    """Over 20,000 units the share that is held out is the one that was set, give or take four standard errors."""
    for share in (0.05, 0.1, 0.3):
        design = _design(share)
        units = [(f"act_{n}", FIRST_DAY + week * WEEK) for n in range(1_000) for week in range(20)]
        drawn = sum(is_held_out(*unit, design) for unit in units) / len(units)
        assert abs(drawn - share) < 4 * (share * (1 - share) / len(units)) ** 0.5


def test_each_week_draws_anew() -> None:
    """An account is held out in some weeks and not in others, about as often as the share says."""
    weeks = [FIRST_DAY + number * WEEK for number in range(200)]
    drawn = [is_held_out("act_1", week, _design(0.3)) for week in weeks]
    assert 30 < sum(drawn) < 90
    assert drawn != [is_held_out("act_1", week, _design(0.3, "other")) for week in weeks]


@given(st.sampled_from([reason for reason in WarmReason if reason is not WarmReason.PREDICTED_OPEN]), ACCOUNTS)
def test_other_reasons_are_never_withheld(reason: WarmReason, account: str) -> None:
    """Strategies, requests and the closing of days are planned whatever the draw says."""
    item = _item(account, reason)
    plan = _hold_out(_design(1.0)).withhold(WarmPlan((item,)))
    assert (plan.recommendations, plan.held_out) == ((item,), ())


def test_a_withheld_key_says_why() -> None:
    """The reason names the week and the share, and the evidence for the open stays."""
    (item,) = _hold_out(_design(1.0)).withhold(WarmPlan((_item("act_1"),))).held_out
    assert item.status == "held_out"
    assert item.explanation["why"] == "often opened"
    assert "week 10 of 2026" in item.explanation["held_out"]
    assert "100%" in item.explanation["held_out"]


def test_weeks_are_those_of_the_reader_zone() -> None:
    """Sunday evening in UTC is Monday in Auckland."""
    sunday = datetime(2026, 3, 1, 20, tzinfo=UTC)
    assert get_week(sunday, "UTC") == FIRST_DAY - WEEK
    assert get_week(sunday, "Pacific/Auckland") == FIRST_DAY


class _View:
    """A store in which every key is fresh for an hour, or not stored."""

    def __init__(self, stored: datetime | None) -> None:
        self._stored = stored

    def get_expiries(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> Sequence[datetime]:
        return list(moments)

    def get_fresh_until(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> Sequence[datetime | None]:
        return [self._stored for _ in keys]

    def get_request_costs(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> Sequence[RequestCost]:
        return [RequestCost(True, False) for _ in keys]


def test_a_withheld_entry_counts_as_stored_while_its_unit_is_held_out() -> None:
    """A plan takes a withheld warm as fetched, keeps a later real expiry, and forgets it when the account is warmed."""
    key, until = ReportKey("act_1", "today"), AT + timedelta(hours=3)
    held, warmed = _hold_out(_design(1.0), {key: until}), _hold_out(_design(1e-12), {key: until})
    later = until + timedelta(hours=1)
    assert HoldOutView(_View(None), held).get_fresh_until([key], [AT]) == [until]
    assert HoldOutView(_View(later), held).get_fresh_until([key], [AT]) == [later]
    assert HoldOutView(_View(None), warmed).get_fresh_until([key], [AT]) == [None]
    assert HoldOutView(_View(None), held).get_fresh_until([ReportKey("act_2", "today")], [AT]) == [None]
    assert HoldOutView(_View(None), held).get_request_costs([key], [AT]) == [RequestCost(True, False)]
    assert HoldOutView(_View(None), held).get_expiries([key], [AT]) == [AT]
