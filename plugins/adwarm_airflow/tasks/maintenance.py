"""Tasks of `adwarm_maintenance`: discover accounts, and run the steps of maintenance."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any

from adwarm.foundation.clock import Clock, SystemClock
from adwarm.foundation.errors import AdwarmError, BadRequest, Refused
from adwarm.maintenance.account_changes import DiscoveryResult, describe_error
from adwarm.maintenance.account_discovery import is_postponed
from adwarm.maintenance.runner import StepReport
from adwarm.maintenance.steps import MaintenanceParts, check_step_names, run_if_due
from adwarm.prefetch.batch_result import most_severe_error, with_message
from adwarm.runtime import Runtime, connection_factories
from adwarm.settings import Settings, load_settings
from adwarm.sources.factory import build_reload
from adwarm.sources.pool import SourceFactory
from adwarm.sources.protocol import InsightsSource
from adwarm.store import accounts
from adwarm.store.maintenance_steps import list_states
from adwarm_airflow.connections import DEFAULT_CONNECTION, NO_CONNECTION, connection_source_factory, reload_connection
from adwarm_airflow.data_connection import use_data_connection
from adwarm_airflow.run_window import resolve_run_window
from adwarm_airflow.task_context import SETTINGS_CONNECTIONS, connection_names, open_runtime, prepare_runtime
from adwarm_airflow.tasks.skipping import skip_task

STEP = timedelta(minutes=15)
TASK_SECONDS = 600.0
"""How long a task begins further steps, so that the next run is not late."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_MAX_LINES = 10
log = logging.getLogger(__name__)


def discover_accounts(context: Mapping[str, Any]) -> dict[str, Any]:
    """List the accounts of every connection that is due, store them, and return the numbers by connection.

    A connection is due every six hours, and at once when it is new or its credential has changed. The trigger form can
    ask for all of them, and a retry of the task tries all again.

    Raises:
        AirflowSkipException: no connection is defined, none is due, or the platform asks to wait.
        AdwarmError: the most serious error of the connections that could not be listed; the others are stored. Such a
            connection is tried again the next day, or as soon as its credential changes.
    """
    run = resolve_run_window(context, STEP)
    params = context["params"]
    runtime, sources = _open_discovery(str(params.get("connection") or DEFAULT_CONNECTION), run.clock)
    discovery = runtime.account_discovery()
    if not params.get("discover_now") and context["ti"].try_number == 1:
        sources, reasons = discovery.list_due(sources)
        if not sources:
            skip_task("no connection is due: " + " | ".join(reasons[:_MAX_LINES]))
        for reason in reasons:
            log.info("not due: %s", reason)
    result = discovery.run(sources)
    _log_result(result)
    _raise_errors(result)
    return result.to_dict()


def run_steps(context: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Run steps of maintenance as of now, the one that ran longest ago first, and return what each did.

    A run over a past date must not judge today's data by that date, so the time is the machine's. No step begins after
    `TASK_SECONDS`; the next run begins with those that are left.

    Raises:
        AirflowSkipException: no step had anything to do; the message has the reason of each.
        Refused: another attempt of this task may have been killed, and its hold on a step has not ended. A retry goes
            on where the last complete run stopped.
        Exception: what a step raised, with its type, after the other steps; of several the most severe one.
    """
    params = context["params"]
    chosen, run_now = check_step_names(params.get("steps") or ()), bool(params.get("run_now"))
    parts = _open_parts(params)
    states = list_states(parts.context.engine)
    ordered = sorted(names, key=lambda name: states[name].started_at if name in states else _LONG_AGO)
    ends_at = parts.clock.now() + timedelta(seconds=TASK_SECONDS)
    reports = []
    for name in ordered:
        if name not in chosen:
            report = StepReport(name, "skipped", reason="not chosen in the form")
        elif parts.clock.now() >= ends_at:
            report = StepReport(name, "skipped", reason="the task has used its time; the next run begins with it")
        else:
            report = run_if_due(parts, name, run_now=run_now)
        log.info("%s: %s%s", name, report, "; the next run goes on" if report.has_more else "")
        reports.append(report)
    _raise_failures(reports)
    _raise_holds(reports, context["ti"])
    return _summarize(reports)


def _raise_failures(reports: Sequence[StepReport]) -> None:
    failed = [(report, report.error) for report in reports if report.error is not None]
    own_errors = [error for _, error in failed if isinstance(error, AdwarmError)]
    unknown = [error for _, error in failed if not isinstance(error, AdwarmError)]
    if unknown:
        raise unknown[0]
    error = most_severe_error(own_errors)
    if error is not None:
        raise with_message(error, " | ".join(f"{report.name}: {error}" for report, error in failed))


def _raise_holds(reports: Sequence[StepReport], attempt: Any) -> None:
    held = [report for report in reports if report.status == "held"]
    if held and 1 < attempt.try_number <= attempt.max_tries:
        names, seconds = ", ".join(report.name for report in held), max(report.held_seconds for report in held)
        message = f"{names}: {held[0].reason}; if that was a killed attempt of this task, the next goes on from there"
        raise Refused(message, retry_after=seconds + 1, scope=f"step {names}")


def _summarize(reports: Sequence[StepReport]) -> dict[str, Any]:
    """Return which steps ran, which were skipped, and the result of each."""
    skipped = [report for report in reports if report.status in {"skipped", "held"}]
    if len(skipped) == len(reports):
        skip_task(" | ".join(f"{report.name}: {report.reason}" for report in reports))
    ran = [report.name for report in reports if report not in skipped]
    log.info("ran %s; skipped %s", ", ".join(ran), ", ".join(report.name for report in skipped) or "none")
    return {
        "ran": ran,
        "skipped": [report.name for report in skipped],
        "steps": {report.name: report.to_dict() for report in reports},
    }


def _open_parts(params: Mapping[str, Any]) -> MaintenanceParts:
    """Return what the steps work with.

    The sources are those of the form's connections and of the others that accounts belong to, as far as they exist.
    They are read once, by the first step that makes a call.
    """
    conn_id = str(params.get("connection") or DEFAULT_CONNECTION)
    parts = open_runtime(SystemClock()).maintenance_parts()

    @cache
    def get_factories() -> dict[str, SourceFactory]:
        runtime = open_runtime(SystemClock(), conn_id)
        named = runtime.source_factories()
        return {**named, **_open_connections_of_accounts(runtime, named)}

    return replace(parts, calls=replace(parts.calls, factories=get_factories))


def _open_connections_of_accounts(runtime: Runtime, excluded: Collection[str]) -> dict[str, SourceFactory]:
    """Return the factories of the connections that accounts belong to and that are not `excluded`, by name."""
    factories: dict[str, SourceFactory] = {}
    for name in accounts.list_connections(runtime.engine):
        if name in excluded or name in SETTINGS_CONNECTIONS:
            continue
        try:
            factories[name] = connection_source_factory(runtime.settings, name, runtime.clock)
        except BadRequest as error:
            log.warning("connection %s, which accounts belong to, is not checked: %s", name, error)
    return factories


def _open_discovery(conn_id: str, clock: Clock) -> tuple[Runtime, dict[str, SourceFactory]]:
    """Return a runtime whose connections are those of `conn_id`, and what returns the source of each, by name.

    Raises:
        AirflowSkipException: no connection is defined at all.
    """
    settings, of_airflow = load_settings(), connection_names(conn_id)
    use_data_connection(settings)
    factories = _open_sources(settings, conn_id, clock)
    first, *others = factories
    keys = {first: "", **{name: name for name in others}}
    reloads = {
        key: partial(reload_connection, name, clock) if name in of_airflow else build_reload(settings, name, clock)
        for name, key in keys.items()
    }
    sources = {name: factories[name] for name in others}
    runtime = prepare_runtime(Runtime(settings, clock, factories[first], sources, reloads=reloads))
    return runtime, {name: partial(runtime.source_pool.get, key) for name, key in keys.items()}


def _open_sources(settings: Settings, conn_id: str, clock: Clock) -> dict[str, SourceFactory]:
    """Return the factories by connection; that of a connection that is not valid raises its error.

    Raises:
        AirflowSkipException: no connection is defined at all.
    """
    names = connection_names(conn_id)
    sources: dict[str, SourceFactory] = {}
    missing = []
    for name in names:
        try:
            sources[name] = connection_source_factory(settings, name, clock)
        except BadRequest as error:
            sources[name] = _raising(error)
            missing += [str(error)] if error.code == NO_CONNECTION else []
    if len(names) == 1:
        sources.update(connection_factories(settings, clock))
    if len(missing) == len(sources):
        skip_task("there is nothing to discover: " + " | ".join(missing))
    return sources


def _raising(error: BadRequest) -> Callable[[], InsightsSource]:
    def make_source() -> InsightsSource:
        raise error

    return make_source


def _log_result(result: DiscoveryResult) -> None:
    for item in result.connections:
        log.info(
            "connection %s: %d accounts listed, %d new, %d changed, %d unchanged, %d denied",
            item.connection,
            *(item.listed, item.new, item.changed, item.unchanged, item.denied),
        )
        for problem in item.problems[:_MAX_LINES]:
            log.warning("connection %s: %s", item.connection, problem)
        if item.gone:
            log.warning(
                "connection %s no longer lists %s; they stay as they are: `adwarm accounts list` says when each was "
                "last seen, `adwarm accounts set ID --status closed` ends its warming",
                item.connection,
                ", ".join(item.gone[:_MAX_LINES]),
            )
    for change in [item for item in result.changes if item.changes][:_MAX_LINES]:
        log.info("%s changed: %s", change.account.id, change.changes)


def _raise_errors(result: DiscoveryResult) -> None:
    texts = [f"connection {name}: {describe_error(error)}" for name, error in result.errors.items()]
    failed = [error for error in result.errors.values() if not is_postponed(error)]
    error = most_severe_error(failed)
    if error is not None:
        raise with_message(error, " | ".join(texts))
    if len(texts) == len(result.connections):
        skip_task("the next run tries again: " + " | ".join(texts))
    for text in texts:
        log.warning("%s; the next run tries again", text)
