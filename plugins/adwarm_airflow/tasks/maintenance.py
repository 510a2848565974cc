"""Tasks of `adwarm_maintenance`: discover accounts, recompress entries, delete what is past its retention."""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from adwarm.foundation.clock import Clock, SystemClock
from adwarm.foundation.errors import BadRequest
from adwarm.maintenance import retention
from adwarm.maintenance.account_changes import DiscoveryResult, describe_error
from adwarm.maintenance.account_discovery import is_postponed
from adwarm.maintenance.eviction import evict
from adwarm.maintenance.off_peak import is_off_peak
from adwarm.maintenance.open_retention import prune_open_log
from adwarm.maintenance.recompression import recompress_by_benefit
from adwarm.prefetch.batch_result import most_severe_error, with_message
from adwarm.runtime import Runtime, connection_factories
from adwarm.settings import Settings, load_settings
from adwarm.sources.factory import build_reload
from adwarm.sources.pool import SourceFactory
from adwarm.sources.protocol import InsightsSource
from adwarm_airflow.connections import DEFAULT_CONNECTION, NO_CONNECTION, connection_source_factory, reload_connection
from adwarm_airflow.run_window import resolve_run_window
from adwarm_airflow.task_context import connection_names, open_runtime

STEP = timedelta(minutes=15)
_MAX_LINES = 10
log = logging.getLogger(__name__)


def discover_accounts(context: Mapping[str, Any]) -> dict[str, Any]:
    """List the accounts of every connection that is due, store them, and return the numbers by connection.

    A connection is due once a day, and at once when it is new or its credential has changed. The trigger form can ask
    for all of them, and a retry of the task tries all again.

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
        for reason in reasons:
            log.info("not due: %s", reason)
        if not sources:
            raise AirflowSkipException("no connection is due: " + " | ".join(reasons[:_MAX_LINES]))
    result = discovery.run(sources)
    _log_result(result)
    _raise_errors(result)
    return result.to_dict()


def evict_entries() -> dict[str, Any]:
    """Delete entries of past windows that nobody reads, and over the size budget the least likely ones, as of now."""
    runtime = open_runtime(SystemClock())  # a run over a past date must not judge today's entries by that date
    evictions, result = evict(runtime.context, runtime.clock.now())
    log.info("%s", result)
    for item in evictions[:_MAX_LINES]:
        log.info("%s %s (%s): %s", item.entry.key.account_id, item.entry.date_range, item.entry.key.window, item.why)
    return result.to_dict()


def recompress_entries(context: Mapping[str, Any]) -> dict[str, Any]:
    """Recompress the entries for which a stronger level pays, within the settings' CPU time, and return the numbers.

    Raises:
        AirflowSkipException: readers are many at this hour, recompression is switched off, or no entry is left to try.
    """
    run = resolve_run_window(context, STEP)
    runtime = open_runtime(run.clock)
    now = run.clock.now()
    if not runtime.settings.compression.recompress_cpu_seconds:
        raise AirflowSkipException("recompression is switched off (ADWARM_COMPRESSION__RECOMPRESS_CPU_SECONDS=0)")
    if is_off_peak(runtime.engine, now) is False and not context["params"].get("recompress_now"):
        raise AirflowSkipException("readers are many at this hour; entries are recompressed in quiet hours")
    result = recompress_by_benefit(runtime.context, now)
    if not result.candidates:
        raise AirflowSkipException(str(result))
    log.info("%s", result)
    return result.to_dict()


def apply_retention(context: Mapping[str, Any]) -> dict[str, int]:
    """Delete rows and files of the open log past their retention, and return how many of each."""
    run = resolve_run_window(context, STEP)
    runtime, now = open_runtime(run.clock), run.clock.now()
    deleted = retention.apply_retention(runtime.engine, runtime.queue, now)
    deleted["open_log_files"] = prune_open_log(runtime.context, now)
    log.info("deleted what is past its retention: %s", deleted)
    return deleted


def _open_discovery(conn_id: str, clock: Clock) -> tuple[Runtime, dict[str, SourceFactory]]:
    """Return a runtime whose connections are those of `conn_id`, and what returns the source of each, by name.

    Raises:
        AirflowSkipException: no connection is defined at all.
    """
    settings, of_airflow = load_settings(), connection_names(conn_id)
    factories = _open_sources(settings, conn_id, clock)
    first, *others = factories
    keys = {first: "", **{name: name for name in others}}
    reloads = {
        key: partial(reload_connection, name, clock) if name in of_airflow else build_reload(settings, name, clock)
        for name, key in keys.items()
    }
    runtime = Runtime(settings, clock, factories[first], {name: factories[name] for name in others}, reloads)
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
        raise AirflowSkipException("there is nothing to discover: " + " | ".join(missing))
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
        raise AirflowSkipException("the next run tries again: " + " | ".join(texts))
    for text in texts:
        log.warning("%s; the next run tries again", text)
