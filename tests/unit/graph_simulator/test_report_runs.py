"""A report run's status is a function of its age."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_simulator.fault_profile import ReportSetting
from graph_simulator.query import read_query
from graph_simulator.report_runs import ReportRun, RunOutcome, Status, progress, run_seconds
from tests.unit.graph_simulator.conftest import Driven, drive, error_of

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
ORDER = list(Status)
JOB = ReportRun("6023920149050", "act_1", read_query({}, "UTC", NOW), NOW, seconds=100, full_seconds=5)
ages = st.floats(0, 1_000, allow_nan=False).map(lambda seconds: NOW + timedelta(seconds=seconds))
runs = st.builds(
    lambda number, outcome: replace(JOB, id=str(number), outcome=outcome), st.integers(1), st.sampled_from(RunOutcome)
)


@given(runs, ages, ages)
def test_a_run_never_goes_back(run: ReportRun, one: datetime, other: datetime) -> None:
    """Percentages and statuses only advance, and 100 % comes before completion."""
    early, late = progress(run, min(one, other)), progress(run, max(one, other))
    assert early.percent <= late.percent
    assert ORDER.index(early.status) <= ORDER.index(late.status)
    assert early.status is not Status.COMPLETED or early.percent == 100


@given(runs)
def test_outcomes(run: ReportRun) -> None:
    """In the end a run is completed, failed, skipped, or still running, as configured."""
    end = progress(run, NOW + timedelta(days=1))
    ends = {
        RunOutcome.COMPLETE: Status.COMPLETED,
        RunOutcome.FAIL: Status.FAILED,
        RunOutcome.SKIP: Status.SKIPPED,
        RunOutcome.STUCK: Status.RUNNING,
        RunOutcome.STUCK_FULL: Status.RUNNING,
    }
    assert end.status is ends[run.outcome]
    assert (end.percent == 100) == (run.outcome in {RunOutcome.COMPLETE, RunOutcome.STUCK_FULL})


def test_a_full_run_is_not_completed_yet() -> None:
    """Between 100 % and completion the run is `Job Running`."""
    seen = [progress(JOB, NOW + timedelta(seconds=seconds)) for seconds in (0, 10, 100, 104.9, 105)]
    assert [result.status for result in seen] == [
        Status.NOT_STARTED,
        Status.STARTED,
        Status.RUNNING,
        Status.RUNNING,
        Status.COMPLETED,
    ]
    assert [result.percent for result in seen] == [0, 0, 100, 100, 100]


def test_percentages_stand_on_plateaus() -> None:
    """Polled every second, a run shows only a handful of percentages."""
    assert 3 <= len({progress(JOB, NOW + timedelta(seconds=second)).percent for second in range(106)}) <= 7


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0))
def test_more_cells_take_longer(one: int, other: int, seed: int) -> None:
    """With equal randomness, a run over more cells takes at least as long, and never more than the maximum."""
    setting = ReportSetting(longest_seconds=300)
    less, more = (run_seconds(setting, count, random.Random(seed)) for count in sorted([one, other]))
    assert less <= more <= 300
    assert run_seconds(ReportSetting(spread=0), 2_000, random.Random(seed)) == 7


QUICK = {"base_seconds": 10, "seconds_per_1000_cells": 0, "spread": 0, "full_seconds": 2}


def reports(**setting: Any) -> dict[str, Any]:
    """A fault profile with these report settings."""
    return {"reports": QUICK | setting}


def pages(driven: Driven, run_id: str, limit: int) -> list[dict[str, str]]:
    """Read a report to its end, following `next` only."""
    rows: list[dict[str, str]] = []
    after: dict[str, str] = {}
    while True:
        page = driven.get(f"{run_id}/insights", limit=limit, **after)
        rows += page["data"]
        if "next" not in page["paging"]:
            return rows
        after = {"after": page["paging"]["cursors"]["after"]}


def test_submit_poll_and_read() -> None:
    """Submitting returns an id; polls show progress; its pages have the rows of the synchronous call."""
    driven = drive(reports())
    run_id = driven.submit(time_increment=1)
    first = driven.get(run_id)
    assert (first["id"], first["account_id"], first["async_status"]) == (run_id, "1", "Job Not Started")
    assert "time_completed" not in first
    assert error_of(driven.call(f"{run_id}/insights")) == (2601, 1815107)
    driven.wait(11)
    assert driven.get(f"{run_id}/")["async_status"] == "Job Running"
    assert driven.get(run_id)["async_percent_completion"] == 100
    assert error_of(driven.call(f"{run_id}/insights")) == (2601, 1815107)
    driven.wait(1)
    done = driven.get(run_id, fields="async_status,async_percent_completion,error_code,time_completed")
    assert (done["async_status"], done["time_completed"] - first["time_ref"]) == ("Job Completed", 12)
    assert pages(driven, run_id, 7) == json.loads(driven.insights(time_increment=1).body)["data"]


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 60), st.booleans())
def test_pages_hold_every_row_once(limit: int, empty: bool) -> None:
    """Whatever the page size, and with empty pages in between, every row is read once."""
    driven = drive(reports() | {"fault": [{"kind": "empty_pages"}] if empty else []})
    run_id = driven.submit(time_increment=1)
    driven.wait(60)
    assert pages(driven, run_id, limit) == pages(driven, run_id, 5_000)


def test_rows_are_those_of_completion() -> None:
    """A report does not change while it is read, although the platform's figures do."""
    driven = drive(reports())
    run_id = driven.submit(date_preset="today", time_range='{"since":"2026-11-25","until":"2026-11-25"}')
    driven.wait(12)
    before = pages(driven, run_id, 100)
    driven.wait(6 * 3_600)
    assert pages(driven, run_id, 100) == before


def test_a_run_appears_late_and_expires() -> None:
    """Right after creation, and after it has expired, a poll is 100/33."""
    driven = drive(reports(visible_after_seconds=1))
    run_id = driven.submit()
    assert error_of(driven.call(run_id)) == (100, 33)
    driven.wait(1)
    assert driven.call(run_id).status == 200
    driven.wait(30 * 86_400)
    assert error_of(driven.call(run_id)) == (100, 33)
    assert error_of(driven.call(f"{run_id}/insights")) == (100, 33)


@pytest.mark.parametrize(
    ("kind", "status", "full"),
    [
        ("report_failed", "Job Failed", False),
        ("report_skipped", "Job Skipped", False),
        ("report_stuck", "Job Running", False),
        ("report_stuck_full", "Job Running", True),
    ],
)
def test_runs_that_end_badly(kind: str, status: str, full: bool) -> None:
    """A failed run has error fields; a skipped or stuck one cannot be read; the next one completes."""
    driven = drive(reports() | {"fault": [{"kind": kind, "calls": 1}]})
    run_id, fine = driven.submit(), driven.submit()
    driven.wait(3_600)
    seen = driven.get(run_id)
    assert (seen["async_status"], seen["async_percent_completion"] == 100) == (status, full)
    assert ("error_code" in seen) == (kind == "report_failed")
    assert error_of(driven.call(f"{run_id}/insights")) == (2601, 1815107)
    assert driven.get(fine)["async_status"] == "Job Completed"


@pytest.mark.parametrize(
    ("profile", "code"),
    [({"size": {"async_rows": 1}}, 100), ({"poison": [{"slot": 0}]}, -3), ({"poison": [{"field": "reach"}]}, -3)],
)
def test_reports_that_are_too_large(profile: dict[str, Any], code: int) -> None:
    """Too many rows, a poisoned ad or a poisoned field fail the run, whose code may be negative."""
    driven = drive(reports() | profile)
    run_id = driven.submit()
    driven.wait(60)
    assert driven.get(run_id)["error_code"] == code


def test_a_field_that_runs_do_not_have() -> None:
    """An unknown field of a run is code 100."""
    driven = drive(reports())
    assert error_of(driven.call(driven.submit(), fields="colour")) == (100, None)


def test_pages_of_a_report_can_be_too_heavy() -> None:
    """A page of a report above its weight is code 1 with HTTP 500; a smaller one succeeds."""
    driven = drive(reports() | {"size": {"page_cells": 20}})
    run_id = driven.submit(time_increment=1)
    driven.wait(60)
    heavy = driven.call(f"{run_id}/insights", limit=500)
    assert (heavy.status, error_of(heavy)) == (500, (1, None))
    assert driven.call(f"{run_id}/insights", limit=4).status == 200
