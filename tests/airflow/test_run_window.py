"""The window of a run, however it was started."""

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine

from adwarm.foundation.clock import FrozenClock, SystemClock
from adwarm.foundation.errors import BadRequest
from adwarm.model import Mode
from adwarm.store.switches import Switch, SwitchState, set_switch
from adwarm_airflow.params import get_day_param, get_timestamp_param
from adwarm_airflow.run_window import resolve_decision, resolve_run_window, was_cleared

HOUR = timedelta(hours=1)
AT = datetime(2026, 11, 25, 9, 20, 30, tzinfo=UTC)
NINE = datetime(2026, 11, 25, 9, tzinfo=UTC)


def _context(params: dict[str, Any] | None = None, run_type: str = "manual", **values: Any) -> dict[str, Any]:
    run = SimpleNamespace(dag_id="dag", run_id="r1", run_type=run_type, run_after=AT, start_date=AT)
    return {"dag_run": run, "params": params or {}, "logical_date": None, **values}


def test_a_run_without_a_logical_date_covers_the_last_whole_hour() -> None:
    """A run started by hand or by an asset covers the hour before the time it was triggered, floored."""
    run = resolve_run_window(_context(), HOUR)
    assert (run.window, run.is_explicit, run.is_backfill, run.run_id) == ((NINE - HOUR, NINE), False, False, "dag/r1")
    assert isinstance(run.clock, SystemClock)
    assert run.day == date(2026, 11, 25)


def test_an_interval_that_is_not_empty_is_the_window() -> None:
    """A scheduled run covers its data interval; with an empty one the logical date decides."""
    interval = {"data_interval_start": NINE - 2 * HOUR, "data_interval_end": NINE}
    assert resolve_run_window(_context(**interval), HOUR).window == (NINE - 2 * HOUR, NINE)
    empty = {"data_interval_start": NINE, "data_interval_end": NINE, "logical_date": NINE - HOUR / 2}
    assert resolve_run_window(_context(**empty), HOUR).window == (NINE - 2 * HOUR, NINE - HOUR)


def test_params_win() -> None:
    """A window in the form overrides the interval; one end is enough."""
    interval = {"data_interval_start": NINE - 2 * HOUR, "data_interval_end": NINE}
    since = {"window_start": "2026-01-05T10:00:00+01:00"}
    run = resolve_run_window(_context(since, **interval), HOUR)
    nine = datetime(2026, 1, 5, 9, tzinfo=UTC)
    assert (run.window, run.is_explicit) == ((nine, nine + HOUR), True)
    assert resolve_run_window(_context({"window_end": "2026-01-05T10:00:00"}), HOUR).window == (nine, nine + HOUR)
    both = {**since, "window_end": "2026-01-06"}
    assert resolve_run_window(_context(both), HOUR).window == (nine, datetime(2026, 1, 6, tzinfo=UTC))


def test_a_backfill_is_explicit_and_decides_in_shadow(sqlite_engine: Engine) -> None:
    """It covers exactly its interval, decides at its logical date, and never calls the platform."""
    old = datetime(2026, 1, 5, 9, tzinfo=UTC)
    context = _context(
        {"mode": "live"}, "backfill", logical_date=old, data_interval_start=old, data_interval_end=old + HOUR
    )
    run = resolve_run_window(context, HOUR)
    assert (run.is_explicit, run.is_backfill, run.window) == (True, True, (old, old + HOUR))
    assert resolve_decision(context, HOUR / 4, sqlite_engine) == (old, Mode.SHADOW)


def test_a_live_run_decides_at_its_start(sqlite_engine: Engine) -> None:
    """The time is floored to the step; the mode is that of the form."""
    assert resolve_decision(_context(), HOUR / 4, sqlite_engine) == (
        datetime(2026, 11, 25, 9, 15, tzinfo=UTC),
        Mode.LIVE,
    )
    assert resolve_decision(_context({"mode": "shadow"}), HOUR, sqlite_engine)[1] == Mode.SHADOW


def test_the_switch_turns_live_runs_into_shadow_runs(sqlite_engine: Engine) -> None:
    """While shadow mode is on, no run is live, whatever its form says."""
    set_switch(sqlite_engine, SwitchState(Switch.SHADOW, True, AT, "ops", "a test"))
    assert resolve_decision(_context({"mode": "live"}), HOUR, sqlite_engine)[1] == Mode.SHADOW


def test_the_decision_time_is_the_clock(sqlite_engine: Engine) -> None:
    """The run's clock is frozen at it."""
    context = _context({"decision_time": "2013-03-22T09:00:00+00:00"})
    at = datetime(2013, 3, 22, 9, tzinfo=UTC)
    run = resolve_run_window(context, HOUR)
    assert (run.clock, run.window) == (FrozenClock(at), (at - HOUR, at))
    assert resolve_decision(context, HOUR, sqlite_engine) == (at, Mode.LIVE)


def test_invalid_times_are_rejected(sqlite_engine: Engine) -> None:
    """The message names the param and shows a valid value."""
    with pytest.raises(BadRequest, match=r"window_start 'soon' .* 2026-"):
        resolve_run_window(_context({"window_start": "soon"}), HOUR)
    with pytest.raises(BadRequest, match="is not after"):
        resolve_run_window(_context({"window_start": "2026-01-02", "window_end": "2026-01-01"}), HOUR)
    with pytest.raises(BadRequest, match="day 'then'"):
        get_day_param({"day": "then"}, "day")
    with pytest.raises(BadRequest, match="wild"):
        resolve_decision(_context({"mode": "wild"}), HOUR, sqlite_engine)
    assert get_day_param({"day": "2026-01-02"}, "day") == date(2026, 1, 2)
    assert (get_timestamp_param({}, "x"), get_day_param({"day": ""}, "day")) == (None, None)


@pytest.mark.parametrize(
    ("tries", "max_tries", "retries", "cleared"),
    [
        (1, 2, 2, False),
        (3, 2, 2, False),  # the first attempt and its retries
        (2, 3, 2, True),
        (4, 3, 2, False),
        (4, 5, 2, True),  # after clears, and their retries
        (1, 0, 0, False),
        (2, 1, 0, True),
        (2, 1, None, True),  # without retries
    ],
)
def test_a_clear_is_told_from_a_retry(tries: int, max_tries: int, retries: int | None, cleared: bool) -> None:
    """The first attempt after a clear has all retries left; a retry has fewer, and the first attempt is no clear."""
    ti = SimpleNamespace(try_number=tries, max_tries=max_tries, task=SimpleNamespace(retries=retries))
    assert was_cleared({"ti": ti}) is cleared
