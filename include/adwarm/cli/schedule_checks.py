"""What `adwarm doctor` checks about what has to run again and again: the log, the DAGs, alerts and switches."""

from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from adwarm.cli.check_run import Check, Finding
from adwarm.foundation.errors import BadRequest, Transient
from adwarm.foundation.wording import format_count

if TYPE_CHECKING:
    from adwarm.runtime import Runtime

LATE_RUNS = 4
"""A DAG that has missed this many runs is paused, or nothing schedules it."""
_LEAST_LATE = timedelta(hours=1)
_QUIET_LOG = timedelta(hours=24)
_SILENT_LOG = timedelta(hours=72)
"""A log that is read and has had no event for this long has stopped; a weekend is shorter."""
_REJECTED_NOTE, _REJECTED_FIX = 0.05, 0.5
_TIMEOUT_SECONDS = 5.0
_SHOWN = 3


def list_schedule_checks(runtime: "Runtime") -> list[Check]:
    """Return one check for each DAG whose runs leave a mark in the database."""
    learning = timedelta(minutes=max(60, runtime.settings.forecast.log_every_minutes))
    quarter = timedelta(minutes=15)
    dags = {
        "adwarm_access_patterns": (learning, _find_last_reading),
        "adwarm_intelligent_warming": (quarter, _find_last_plan),
        "adwarm_maintenance": (quarter, _find_last_step),
    }
    return [
        Check(f"DAG {name}", partial(_check_dag, runtime, name, every, find), needs_database=True)
        for name, (every, find) in dags.items()
    ]


def _check_dag(runtime: "Runtime", name: str, every: timedelta, find: Any) -> Finding:
    last: datetime | None = find(runtime)
    if last is None:
        return Finding(f"has not run yet; `airflow dags unpause {name}` starts its schedule", warning=True)
    age = runtime.clock.now() - last
    if age > max(LATE_RUNS * every, _LEAST_LATE):
        raise BadRequest(
            f"last run {last:%Y-%m-%d %H:%M} UTC, {_describe_age(age)} ago, and it runs every "
            f"{every.total_seconds() / 60:.0f} minutes: it is paused, or no scheduler runs; "
            f"`airflow dags unpause {name}`, then `airflow jobs check --job-type SchedulerJob`"
        )
    return Finding(f"last run {last:%Y-%m-%d %H:%M} UTC")


def _find_last_reading(runtime: "Runtime") -> datetime | None:
    from adwarm.store import aggregates, read_transaction

    with read_transaction(runtime.engine) as connection:
        return aggregates.find_last_reading(connection)


def _find_last_plan(runtime: "Runtime") -> datetime | None:
    from adwarm.store import jobs

    return jobs.find_last_start(runtime.engine, "adwarm_intelligent_warming")


def _find_last_step(runtime: "Runtime") -> datetime | None:
    from adwarm.store.maintenance_steps import list_states

    return max((state.started_at for state in list_states(runtime.engine).values()), default=None)


def check_log_age(runtime: "Runtime") -> Finding:
    """Return how old the newest open is, and how many lines of the last files could not be read.

    Raises:
        BadRequest: the log is read, and nothing arrives; or most of its lines are rejected.
    """
    from adwarm.store import aggregates, read_transaction

    with read_transaction(runtime.engine) as connection:
        newest, read_at = aggregates.find_newest_hour(connection), aggregates.find_last_reading(connection)
        files = sorted(aggregates.list_log_files(connection).values(), key=lambda file: file.mtime)[-_SHOWN:]
    if read_at is None:
        return Finding("the log has not been read yet", warning=True)
    rejected, events = sum(file.rejected for file in files), sum(file.events for file in files)
    share = rejected / max(1, rejected + events)
    lost = f"{share:.0%} of the lines of the newest {format_count(len(files), 'file')} are rejected; `adwarm log check`"
    if share > _REJECTED_FIX:
        raise BadRequest(f"{lost} says why; its format has changed")
    if newest is None:
        return Finding("no open by a person is known yet", warning=True)
    gap = read_at - newest
    if gap > _SILENT_LOG:
        raise BadRequest(
            f"no open since {newest:%Y-%m-%d %H:%M} UTC, {_describe_age(gap)} before the last reading; check what "
            "writes the log, then run `adwarm log check`"
        )
    notes = [lost] if share > _REJECTED_NOTE else []
    return Finding(
        "; ".join([f"newest open {newest:%Y-%m-%d %H:%M} UTC, read {read_at:%Y-%m-%d %H:%M} UTC", *notes]),
        warning=gap > _QUIET_LOG or bool(notes),
    )


def check_open_alerts(runtime: "Runtime") -> Finding:
    """Return how many alerts are open, and whether their notices were delivered.

    Raises:
        Transient: a channel does not deliver.
    """
    from adwarm.store.alerts import count_open, list_alerts, list_deliveries

    alerts = list_alerts(runtime.engine, open_only=True)
    failing = {
        item.channel: item.error
        for item in list_deliveries(runtime.engine, [alert.id for alert in alerts])
        if item.delivered_at is None and item.error
    }
    if failing:
        channel, error = next(iter(failing.items()))
        raise Transient(f"the channel {channel} does not deliver ({error}); `adwarm doctor --send-alert` tries it")
    if not alerts:
        return Finding("none is open")
    kinds = ", ".join(f"{alert.kind} of {alert.scope}" for alert in alerts[:_SHOWN])
    count = format_count(count_open(runtime.engine), "alert")
    return Finding(f"{count} open: {kinds}; `adwarm errors --alerts --open` shows all", warning=True)


def check_switches(runtime: "Runtime") -> Finding:
    """Return the position of every switch, and a note for each that is not in its usual one."""
    from adwarm.store.switches import DEFAULTS, list_switches

    turned = [state for name, state in list_switches(runtime.engine).items() if state.is_on is not DEFAULTS[name]]
    if not turned:
        return Finding("all in their usual position")
    back = ", ".join(f"`adwarm gate switch {state.name} {'off' if state.is_on else 'on'}`" for state in turned)
    return Finding(f"{'; '.join(map(str, turned))}; {back} turns it back", warning=True)


def check_read_api(runtime: "Runtime") -> Finding:
    """Ask whether the read API of the settings runs, is ready, and serves this database; that none runs is a note."""
    import requests

    from adwarm.serving.api.connections import missing_limits
    from adwarm.store.database import identify_database

    serving = runtime.settings.serving
    host = "127.0.0.1" if serving.host in {"0.0.0.0", "::"} else serving.host  # noqa: S104 -- compared, not bound
    address = f"http://{host}:{serving.port}"
    lacking = f"; it has {missing_limits}" if missing_limits else ""
    try:
        response = requests.get(f"{address}/readyz", timeout=_TIMEOUT_SECONDS, allow_redirects=False)
    except requests.RequestException:
        absent = f"nothing responds at {address}; `adwarm serve` starts it, if it belongs here{lacking}"
        return Finding(absent, warning=True)
    try:
        database = response.json()["database_id"]
    except (ValueError, KeyError, TypeError):
        advice = f"end it, or set ADWARM_SERVING__PORT to another port than {serving.port}"
        raise BadRequest(f"what answers at {address} is no read API of adwarm; {advice}") from None
    if database != identify_database(runtime.engine):
        advice = "set ADWARM_SERVING__PORT to that of this installation, or ADWARM_HOME to the home of the other"
        other = "another database, or this one by another address"
        raise BadRequest(f"the read API at {address} serves {other}; {advice}")
    if response.status_code == 200:
        return Finding(f"ready at {address}{lacking}", warning=bool(lacking))
    raise Transient(f"{address}/readyz answers {response.status_code}: it runs and is not ready; see its log")


def _describe_age(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.1f} h"
