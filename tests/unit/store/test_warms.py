"""Plans are stored once per run, and a new plan never deletes warms that were served."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from adwarm.model import PlannedWarm, ReportKey, Warm, WarmReason, WarmResult, WarmStatus, WarmUse
from adwarm.store import jobs, warm_usage, warms
from tests.unit.conftest import finish_warms

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def _planned(account: str, **values: Any) -> PlannedWarm:
    common = {"reason": WarmReason.PREDICTED_OPEN, "decided_at": AT, "warm_at": AT}
    return PlannedWarm(key=ReportKey(account, "today"), **{**common, **values})


def _plan(engine: Engine, run: str, *plan: PlannedWarm) -> list[Warm]:
    warms.replace_plan(engine, run, plan)
    return warms.list_by_run(engine, run)


def _finish(engine: Engine, warm: Warm, status: WarmStatus = WarmStatus.FETCHED, **values: Any) -> None:
    finish_warms(engine, warm.run_id, [WarmResult(warm_id=warm.id, status=status, **values)], 0, [])


def test_a_rerun_replaces_warms_that_are_not_served(engine: Engine) -> None:
    """Planned, cut and shadow warms are deleted; served ones and other runs stay."""
    first = _plan(engine, "dag/1", _planned("act_1"), _planned("act_2"), _planned("act_3", status=WarmStatus.CUT))
    _plan(engine, "dag/2", _planned("act_9"))
    _finish(engine, first[0], fetched_at=AT)
    found = _plan(engine, "dag/1", _planned("act_4"))
    assert [(row.key.account_id, row.status) for row in found] == [("act_1", "fetched"), ("act_4", "planned")]
    assert len(warms.list_by_run(engine, "dag/2")) == 1
    assert [row.key.account_id for row in _plan(engine, "dag/1")] == ["act_1"]


@pytest.mark.parametrize("status", [WarmStatus.FAILED, WarmStatus.STALE, WarmStatus.DENIED])
def test_a_rerun_replaces_failed_warms(engine: Engine, status: WarmStatus) -> None:
    """A key that failed is planned once, not twice."""
    (row,) = _plan(engine, "dag/1", _planned("act_1"))
    _finish(engine, row, status, error="no")
    assert [item.status for item in _plan(engine, "dag/1", _planned("act_1"))] == ["planned"]


def test_a_batch_is_reopened(engine: Engine) -> None:
    """Warms with one of the statuses are planned without their error, and their job stops counting them as failed."""
    rows = _plan(engine, "dag/1", *[_planned(f"act_{n}", batch=n // 4) for n in range(1, 6)])
    jobs.start(engine, "dag/1", "dag", 5, AT)
    ends = [WarmStatus.FAILED, WarmStatus.DENIED, WarmStatus.FETCHED, WarmStatus.FAILED]
    results = [
        WarmResult(warm_id=row.id, status=status, error="no", requests=2)
        for row, status in zip(rows, ends, strict=False)
    ]
    finish_warms(engine, "dag/1", results, 8, [f"act_{n} today: no" for n in (1, 2, 4)])
    assert jobs.finish(engine, "dag/1", AT).failed == 3

    assert [row.status for row in warms.list_ended(engine, "dag/1", 0)] == ends[:3]
    assert [warms.reopen(engine, "dag/1", 0, warms.FAILED) for _ in range(2)] == [1, 0]
    assert [(row.status, row.error) for row in warms.list_by_run(engine, "dag/1")[:2]] == [
        ("planned", None),
        ("denied", "no"),
    ]
    (job,) = jobs.list_latest(engine)
    assert (job.done, job.failed, job.requests) == (1, 2, 8)
    assert job.errors == ("act_2 today: no", "act_4 today: no")


def test_planned_warms_of_a_batch(engine: Engine) -> None:
    """The most urgent first; other batches and ended warms are left out."""
    rows = _plan(
        engine,
        "dag/1",
        _planned("act_1", warm_at=AT + HOUR),
        _planned("act_2"),
        _planned("act_3", batch=1),
        _planned("act_4", status=WarmStatus.CUT),
    )
    assert [row.key.account_id for row in warms.list_planned(engine, "dag/1", 0)] == ["act_2", "act_1"]
    _finish(engine, rows[1], WarmStatus.DENIED, error="no access")
    assert [row.key.account_id for row in warms.list_planned(engine, "dag/1", 0)] == ["act_1"]


def test_calls_are_counted_by_account_dag_and_hour(engine: Engine) -> None:
    """The window is half open, `_` in a DAG's name is no wildcard, and later decisions of other runs are left out."""
    for run, account, at, decided in (
        ("a_b/1", "act_1", AT, AT - HOUR),
        ("a_b/2", "act_2", AT + HOUR, AT - HOUR),
        ("axb/1", "act_1", AT, AT - HOUR),
        ("a_b/3", "act_1", AT - HOUR / 4, AT - HOUR),
        ("a_b/4", "act_3", AT, AT),
        ("a_b/5", "act_1", AT, AT - HOUR),
    ):
        (row,) = _plan(engine, run, _planned(account, decided_at=decided))
        _finish(engine, row, fetched_at=at, requests=3)
    assert warms.get_calls_by_account(engine, AT, AT + HOUR, "a_b/9", AT) == {"act_1": 6}
    assert warms.get_calls_by_account(engine, AT, AT + HOUR, "a_b/4", AT) == {"act_1": 6, "act_3": 3}
    assert warms.get_calls_by_account(engine, AT, AT + HOUR, "a_b/9", AT + HOUR) == {"act_1": 6, "act_3": 3}


def test_calls_of_failed_warms_count_at_their_decision(engine: Engine) -> None:
    """A warm that failed has taken calls too; it has no time of a fetch, so its decision time counts."""
    for run, decided in (("dag/1", AT), ("dag/2", AT - HOUR)):
        (row,) = _plan(engine, run, _planned("act_1", decided_at=decided))
        _finish(engine, row, WarmStatus.FAILED, requests=2)
    assert warms.get_calls_by_account(engine, AT, AT + HOUR, "dag/9", AT + HOUR) == {"act_1": 2}


def test_the_p95_of_fetches(engine: Engine) -> None:
    """0 without a fetch; else the value that 95 of 100 do not exceed."""
    assert warms.get_p95_seconds(engine) == 0
    rows = _plan(engine, "dag/1", *[_planned(f"act_{n}") for n in range(1, 101)])
    for n, row in enumerate(rows, 1):
        _finish(engine, row, seconds=float(n))
    assert warms.get_p95_seconds(engine) == pytest.approx(96, abs=1)


def test_unmarked_warms(engine: Engine) -> None:
    """Those that were fetched before the time and are not marked yet."""
    rows = _plan(engine, "dag/1", *[_planned(f"act_{n}") for n in range(1, 5)])
    _finish(engine, rows[0], fetched_at=AT)
    _finish(engine, rows[1], fetched_at=AT)
    _finish(engine, rows[2], WarmStatus.FAILED)
    _finish(engine, rows[3], fetched_at=AT + HOUR)
    warms.mark_uses(engine, [WarmUse(rows[1].id, True, AT)])
    assert [row.key.account_id for row in warms.list_unmarked(engine, AT + HOUR)] == ["act_1"]
    marks = {"used": 1, "wasted": 0, "superseded": 0, "open": 2}
    assert warm_usage.count_by_status(engine) == {"fetched": 3, "failed": 1, **marks}


def test_warms_of_a_reason_leave_out_cut_and_shadow_warms(engine: Engine) -> None:
    """Cut and shadow warms are not to be fetched."""
    _plan(
        engine,
        "dag/1",
        _planned("act_1"),
        _planned("act_2", status=WarmStatus.CUT),
        _planned("act_3", status=WarmStatus.SHADOW),
        _planned("act_4", reason=WarmReason.STRATEGY),
    )
    assert [row.key.account_id for row in warms.list_by_reason(engine, WarmReason.PREDICTED_OPEN)] == ["act_1"]
