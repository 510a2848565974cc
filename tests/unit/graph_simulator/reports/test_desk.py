"""Reports as a caller meets them: submitted, polled, read by pages."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.graph_simulator.conftest import SimulatorHarness, error_codes, make_simulator

QUICK = {"base_seconds": 10, "seconds_per_1000_cells": 0, "spread": 0, "full_seconds": 2}


def reports(**setting: Any) -> dict[str, Any]:
    """A storm with this latency law."""
    return {"reports": QUICK | setting}


def pages(driven: SimulatorHarness, run_id: str, limit: int) -> list[dict[str, str]]:
    """Read a report to its end, following `next` only."""
    rows: list[dict[str, str]] = []
    after: dict[str, str] = {}
    while True:
        page = driven.get(f"{run_id}/insights", limit=limit, **after)
        rows += page["data"]
        if "next" not in page["paging"]:
            return rows
        after = {"after": page["paging"]["cursors"]["after"]}


def test_the_way_of_a_report() -> None:
    """Submit answers with an id; polls show the run's way; its pages hold what the synchronous answer does."""
    driven = make_simulator(reports())
    run_id = driven.submit(time_increment=1)
    first = driven.get(run_id)
    assert (first["id"], first["account_id"], first["async_status"]) == (run_id, "1", "Job Not Started")
    assert "time_completed" not in first
    assert error_codes(driven.call(f"{run_id}/insights")) == (2601, 1815107)
    driven.wait(11)
    assert driven.get(f"{run_id}/")["async_status"] == "Job Running"
    assert driven.get(run_id)["async_percent_completion"] == 100
    assert error_codes(driven.call(f"{run_id}/insights")) == (2601, 1815107)
    driven.wait(1)
    done = driven.get(run_id, fields="async_status,async_percent_completion,error_code,time_completed")
    assert (done["async_status"], done["time_completed"] - first["time_ref"]) == ("Job Completed", 12)
    assert pages(driven, run_id, 7) == json.loads(driven.insights(time_increment=1).body)["data"]


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 60), st.booleans())
def test_pages_hold_every_row_once(limit: int, empty: bool) -> None:
    """Whatever the page size, and with empty pages between, a report is read whole."""
    driven = make_simulator(reports() | {"fault": [{"kind": "empty_pages"}] if empty else []})
    run_id = driven.submit(time_increment=1)
    driven.wait(60)
    assert pages(driven, run_id, limit) == pages(driven, run_id, 5_000)


def test_rows_are_those_of_completion() -> None:
    """A report does not change while it is read, though the platform's figures do."""
    driven = make_simulator(reports())
    run_id = driven.submit(date_preset="today", time_range='{"since":"2026-11-25","until":"2026-11-25"}')
    driven.wait(12)
    before = pages(driven, run_id, 100)
    driven.wait(6 * 3_600)
    assert pages(driven, run_id, 100) == before


def test_a_run_appears_late_and_is_forgotten() -> None:
    """Right after creation, and after its days, a poll is 100/33."""
    driven = make_simulator(reports(visible_after_seconds=1))
    run_id = driven.submit()
    assert error_codes(driven.call(run_id)) == (100, 33)
    driven.wait(1)
    assert driven.call(run_id).status == 200
    driven.wait(30 * 86_400)
    assert error_codes(driven.call(run_id)) == (100, 33)
    assert error_codes(driven.call(f"{run_id}/insights")) == (100, 33)


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
    """A run that fails tells why; one that is skipped or stuck cannot be read; the next one completes."""
    driven = make_simulator(reports() | {"fault": [{"kind": kind, "calls": 1}]})
    run_id, fine = driven.submit(), driven.submit()
    driven.wait(3_600)
    seen = driven.get(run_id)
    assert (seen["async_status"], seen["async_percent_completion"] == 100) == (status, full)
    assert ("error_code" in seen) == (kind == "report_failed")
    assert error_codes(driven.call(f"{run_id}/insights")) == (2601, 1815107)
    assert driven.get(fine)["async_status"] == "Job Completed"


@pytest.mark.parametrize(
    ("storm", "code"),
    [({"size": {"async_rows": 1}}, 100), ({"poison": [{"slot": 0}]}, -3), ({"poison": [{"field": "reach"}]}, -3)],
)
def test_reports_that_are_too_much(storm: dict[str, Any], code: int) -> None:
    """Too many rows, a poisoned ad or a poisoned field fail the run, whose code may be negative."""
    driven = make_simulator(reports() | storm)
    run_id = driven.submit()
    driven.wait(60)
    assert driven.get(run_id)["error_code"] == code


def test_a_field_that_runs_do_not_have() -> None:
    """Asking a run for a field it has not is code 100."""
    driven = make_simulator(reports())
    assert error_codes(driven.call(driven.submit(), fields="colour")) == (100, None)


def test_pages_of_a_report_can_be_too_heavy() -> None:
    """A page of a report over its weight is code 1 with HTTP 500; a smaller one is read."""
    driven = make_simulator(reports() | {"size": {"page_cells": 20}})
    run_id = driven.submit(time_increment=1)
    driven.wait(60)
    heavy = driven.call(f"{run_id}/insights", limit=500)
    assert (heavy.status, error_codes(heavy)) == (500, (1, None))
    assert driven.call(f"{run_id}/insights", limit=4).status == 200
