"""Resolves the window of a run: one function for scheduled runs, the trigger form, the API, assets and backfills.

Order: the params, then a data interval that is not empty, then the run's own time floored to the grain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from adwarm.foundation.clock import Clock, FrozenClock, SystemClock, floor_to, utc
from adwarm.foundation.errors import BadRequest
from adwarm.model import Mode
from adwarm.planning.recommendation import resolve_mode
from adwarm_airflow.params import get_timestamp_param, parse_param

if TYPE_CHECKING:
    from sqlalchemy import Engine


@dataclass(frozen=True, slots=True)
class RunWindow:
    """Identity, window and clock of a run.

    Attributes:
        run_id: identifies the run across all DAGs.
        window: the half-open window the run covers, UTC.
        is_explicit: whether params or a backfill named exactly this window.
        clock: the time the run acts at.
    """

    run_id: str
    window: tuple[datetime, datetime]
    is_explicit: bool
    is_backfill: bool
    clock: Clock

    @property
    def day(self) -> date:
        """The day in which the window starts."""
        return self.window[0].date()


def stored_run_id(dag_id: str, run_id: str) -> str:
    """Return the id of a run under which the store keeps what it made."""
    return f"{dag_id}/{run_id}"[:250]


def resolve_run_window(context: Mapping[str, Any], grain: timedelta) -> RunWindow:
    """Return the window of the run in `context`. The run needs no logical date.

    Raises:
        BadRequest: a param holds a timestamp that cannot be parsed, or an empty window.
    """
    run, params = context["dag_run"], context.get("params") or {}
    is_backfill = str(getattr(run.run_type, "value", run.run_type)) == "backfill"
    as_of = get_timestamp_param(params, "decision_time")
    clock: Clock = FrozenClock(as_of) if as_of else SystemClock()
    param_window = _window_from_params(params, grain)
    interval = _data_interval(context)
    if param_window:
        window = param_window
    elif interval:
        window = interval
    else:
        end = floor_to(as_of or utc(context.get("logical_date") or run.run_after), grain)
        window = (end - grain, end)
    run_id = stored_run_id(run.dag_id, run.run_id)
    return RunWindow(run_id, window, bool(param_window) or is_backfill, is_backfill, clock)


def resolve_decision(context: Mapping[str, Any], step: timedelta, engine: "Engine") -> tuple[datetime, Mode]:
    """Return the decision time of the run and its mode, which `resolve_mode` decides.

    A run with the param `decision_time` decides at that time. A backfilled run decides at its logical date, and any
    other run at its start, floored to `step`.
    """
    run, params = context["dag_run"], context.get("params") or {}
    requested = parse_param(Mode, params.get("mode") or Mode.LIVE)
    if decision_time := get_timestamp_param(params, "decision_time"):
        return decision_time, resolve_mode(engine, requested)
    if resolve_run_window(context, step).is_backfill:
        return utc(context["logical_date"]), resolve_mode(engine, requested, is_backfill=True)
    return floor_to(utc(run.start_date or run.run_after), step), resolve_mode(engine, requested)


def was_cleared(context: Mapping[str, Any]) -> bool:
    """Whether this attempt runs because a human cleared the task, and is not Airflow's own retry.

    A clear sets `max_tries` to the tries so far plus the task's retries; a retry does not change it. So the first
    attempt after a clear is the only one that has all of the task's retries left. A task that is cleared while it runs
    and then fails counts as retried, because Airflow keeps no trace of that clear.
    """
    ti = context["ti"]
    return bool(ti.try_number > 1 and ti.max_tries - (ti.task.retries or 0) == ti.try_number - 1)


def _window_from_params(params: Mapping[str, Any], grain: timedelta) -> tuple[datetime, datetime] | None:
    since, until = get_timestamp_param(params, "window_start"), get_timestamp_param(params, "window_end")
    if since and not until:
        until = since + grain
    if until and not since:
        since = until - grain
    if not since or not until:
        return None
    if until <= since:
        raise BadRequest(f"window_end {until} is not after window_start {since}; swap them or leave one empty")
    return since, until


def _data_interval(context: Mapping[str, Any]) -> tuple[datetime, datetime] | None:
    since, until = context.get("data_interval_start"), context.get("data_interval_end")
    if since is None or until is None or until <= since:
        return None
    return utc(since), utc(until)
