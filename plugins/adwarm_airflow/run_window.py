"""Which time a run is about: one resolver for scheduled runs, the trigger form, the API, assets and backfills.

Order: what the params say, then a data interval that is not empty, then the run's own time floored to the grain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from adwarm.foundation.clock import Clock, FrozenClock, SystemClock, floor_to, utc
from adwarm.foundation.errors import BadRequest
from adwarm.model import Mode
from adwarm_airflow.params import parse_param


@dataclass(frozen=True, slots=True)
class RunWindow:
    """The time of a run.

    Attributes:
        run_id: names the run across all DAGs.
        window: the half-open time the run is about, UTC.
        explicit: whether params or a backfill asked for exactly this window.
        backfill: whether the run belongs to a backfill.
        clock: the time the run acts at.
    """

    run_id: str
    window: tuple[datetime, datetime]
    is_explicit: bool
    is_backfill: bool
    clock: Clock

    @property
    def day(self) -> date:
        """The day the run is about: the one its window starts in."""
        return self.window[0].date()


def resolve_run_window(context: Mapping[str, Any], grain: timedelta) -> RunWindow:
    """Return the time of the run in `context`; works when the run has no logical date.

    Raises:
        BadRequest: a param holds a moment or a day that cannot be read.
    """
    run, params = context["dag_run"], context.get("params") or {}
    backfill = str(getattr(run.run_type, "value", run.run_type)) == "backfill"
    as_of = get_timestamp_param(params, "decision_time")
    clock: Clock = FrozenClock(as_of) if as_of else SystemClock()
    asked = _window_from_params(params, grain)
    interval = _data_interval(context)
    if asked:
        window = asked
    elif interval:
        window = interval
    else:
        end = floor_to(as_of or utc(context.get("logical_date") or run.run_after), grain)
        window = (end - grain, end)
    run_id = f"{run.dag_id}/{run.run_id}"[:250]
    return RunWindow(run_id, window, bool(asked) or backfill, backfill, clock)


def resolve_decision(context: Mapping[str, Any], step: timedelta) -> tuple[datetime, Mode]:
    """Return when the run decides, and whether it may call the upstream.

    A live run decides at its start floored to `step`; a backfilled one at its logical date, in shadow; a run told a
    decision time at that time, in the mode it names.
    """
    run, params = context["dag_run"], context.get("params") or {}
    mode = parse_param(Mode, params.get("mode") or Mode.LIVE)
    told = get_timestamp_param(params, "decision_time")
    if told:
        return told, mode
    if resolve_run_window(context, step).is_backfill:
        return utc(context["logical_date"]), Mode.SHADOW
    return floor_to(utc(run.start_date or run.run_after), step), mode


def was_cleared(context: Mapping[str, Any]) -> bool:
    """Whether this attempt was asked for by a person, who cleared the task, and is not Airflow's own retry.

    A clear sets `max_tries` to the tries so far plus the task's retries, and a retry leaves it alone. So the first
    attempt after a clear, and it alone, is the one with all of the task's retries still ahead. (A task that is cleared
    while it runs and fails meanwhile counts as retried: Airflow itself keeps no sign of that clear.)
    """
    ti = context["ti"]
    return bool(ti.try_number > 1 and ti.max_tries - (ti.task.retries or 0) == ti.try_number - 1)


def get_timestamp_param(params: Mapping[str, Any], name: str) -> datetime | None:
    """Return the UTC moment a param holds, or None when it is empty.

    Raises:
        BadRequest: it is not a moment.
    """
    text = params.get(name)
    if not text:
        return None
    try:
        return utc(datetime.fromisoformat(str(text)))
    except ValueError:
        raise BadRequest(f"{name} {text!r} is not a moment; write one such as 2026-11-25T09:00:00+00:00") from None


def get_day_param(params: Mapping[str, Any], name: str) -> date | None:
    """Return the day a param holds, or None when it is empty.

    Raises:
        BadRequest: it is not a day.
    """
    text = params.get(name)
    if not text:
        return None
    try:
        return date.fromisoformat(str(text))
    except ValueError:
        raise BadRequest(f"{name} {text!r} is not a day; write one such as 2026-11-25") from None


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
