"""A step runs from its cursor, its result is stored, and its errors stay its own."""

import math
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from adwarm.foundation.clock import VirtualClock, seconds_left
from adwarm.foundation.errors import Transient
from adwarm.maintenance.runner import (
    GRACE_SECONDS,
    StepBudget,
    StepReport,
    StepResult,
    add_reports,
    describe_counts,
    find_pause,
    run_step,
)
from adwarm.store import maintenance_steps

HOUR = timedelta(hours=1)


def _count_to_five(cursor: Any, budget: StepBudget) -> StepResult:
    """Count from the cursor to five, a second each, within the budget."""
    number, done = cursor or 0, 0
    while number < 5:
        number, done = number + 1, done + 1
        budget.clock.sleep(1)
        if budget.is_used_up and number < 5:
            return StepResult({"counted": done}, number)
    return StepResult({"counted": done})


def test_a_step_goes_on_where_it_stopped(engine: Engine, clock: VirtualClock) -> None:
    """Within two seconds a run counts two; the third run finishes the pass, and everything was counted once."""
    started = clock.now()
    reports = [run_step(engine, "count", _count_to_five, clock, 2, "me") for _ in range(3)]
    assert [(item.status, item.counts["counted"], item.seconds) for item in reports] == [
        ("more", 2, 2.0),
        ("more", 2, 2.0),
        ("done", 1, 1.0),
    ]
    state = maintenance_steps.list_states(engine)["count"]
    assert (state.cursor, state.round_finished_at) == (None, started + timedelta(seconds=5))
    assert state.result == {"counts": {"counted": 1}, "problems": [], "skipped": None}


def test_an_error_is_stored_and_the_cursor_stays(engine: Engine, clock: VirtualClock) -> None:
    """The report has the error itself, the table its text without secrets; the next run starts from the same cursor."""
    run_step(engine, "count", _count_to_five, clock, 2, "me")
    error = Transient("https://user:pass@host failed")

    def fail(cursor: Any, budget: StepBudget) -> StepResult:
        raise error

    report = run_step(engine, "count", fail, clock, 2, "me")
    assert (report.status, report.error) == ("failed", error)
    state = maintenance_steps.list_states(engine)["count"]
    assert (state.cursor, state.lease_until) == (2, None)
    assert state.error is not None
    assert state.error.startswith("Transient: ")
    assert "pass" not in state.error
    assert run_step(engine, "count", _count_to_five, clock, 9, "me").counts == {"counted": 3}
    assert maintenance_steps.list_states(engine)["count"].error is None


def test_an_interrupted_step_is_free_at_once(engine: Engine, clock: VirtualClock) -> None:
    """A process that is asked to stop ends the lease, keeps the cursor, and stops."""

    def interrupt(cursor: Any, budget: StepBudget) -> StepResult:
        raise KeyboardInterrupt

    run_step(engine, "count", _count_to_five, clock, 2, "me")
    with pytest.raises(KeyboardInterrupt):
        run_step(engine, "count", interrupt, clock, 2, "me")
    assert run_step(engine, "count", _count_to_five, clock, 9, "you").counts == {"counted": 3}


def test_a_step_that_runs_elsewhere_is_left(engine: Engine, clock: VirtualClock) -> None:
    """The report names the process that runs it, and until when at the latest."""
    maintenance_steps.acquire(engine, "count", "host:1", clock.now(), 60)
    report = run_step(engine, "count", _count_to_five, clock, 2, "me")
    assert (report.status, report.counts) == ("held", {})
    assert "host:1 runs it since 12:00:00 UTC; free at" in str(report)


def test_a_skipped_step_says_why(engine: Engine, clock: VirtualClock) -> None:
    """It ends no pass, so it is due again at once."""
    report = run_step(engine, "x", lambda cursor, budget: StepResult(skipped="no source"), clock, 2, "me")
    assert (report.status, str(report)) == ("skipped", "skipped: no source")
    assert find_pause(maintenance_steps.find_state(engine, "x"), HOUR, clock.now()) is None


def test_when_a_step_is_due(engine: Engine, clock: VirtualClock) -> None:
    """It is due before its first run, while a pass is under way, and once the last complete pass is old enough."""
    assert find_pause(None, HOUR, clock.now()) is None
    run_step(engine, "count", _count_to_five, clock, 2, "me")
    assert find_pause(maintenance_steps.find_state(engine, "count"), HOUR, clock.now()) is None
    run_step(engine, "count", _count_to_five, clock, 9, "me")
    state = maintenance_steps.find_state(engine, "count")
    assert "complete since 2026-11-25 12:00 UTC; due again at 2026-11-25 13:00 UTC" in str(
        find_pause(state, HOUR, clock.now())
    )
    clock.sleep(3_601)
    assert find_pause(state, HOUR, clock.now()) is None


def test_state_that_a_pass_keeps_does_not_hold_it_open(engine: Engine, clock: VirtualClock) -> None:
    """A step may end a pass and still tell the next one something."""
    keeping = StepResult({"seen": 1}, {"known": [1]}, keeps_state=True)
    assert run_step(engine, "x", lambda cursor, budget: keeping, clock, 2, "me").status == "done"
    state = maintenance_steps.find_state(engine, "x")
    assert state is not None
    assert (state.cursor, state.round_started_at) == ({"known": [1]}, None)


def test_reports_in_words() -> None:
    """Counts of 0 are left out, and the numbers of two runs add up."""
    assert describe_counts({"deleted": 1_200, "kept": 0, "cpu_seconds": 1.25}) == "deleted 1,200, cpu seconds 1.2"
    first = StepReport("x", "more", {"deleted": 2, "codec": "zstd"}, ("a",), 1.0)
    total = add_reports(first, StepReport("x", "done", {"deleted": 3, "codec": "zstd"}, ("b",), 2.0))
    assert (total.status, total.counts, total.problems, total.seconds) == (
        "done",
        {"deleted": 5, "codec": "zstd"},
        ("a", "b"),
        3.0,
    )


def test_a_step_has_a_time_limit(engine: Engine, clock: VirtualClock) -> None:
    """Its calls end before another process may take the step over, whatever the step itself checks."""
    left: list[float] = []
    run_step(engine, "count", lambda _cursor, _budget: left.append(seconds_left()) or StepResult(), clock, 2, "me")
    assert 0 < left[0] <= 2 + GRACE_SECONDS
    assert seconds_left() == math.inf
