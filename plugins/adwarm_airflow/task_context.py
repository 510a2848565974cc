"""Creates the runtime of a task: settings from the environment, sources from Airflow connections."""

from collections.abc import Sequence
from functools import partial

from adwarm.foundation import tracing
from adwarm.foundation.clock import Clock, SystemClock
from adwarm.foundation.errors import BadRequest
from adwarm.runtime import Runtime
from adwarm.settings import load_settings
from adwarm.store import accounts
from adwarm_airflow.connections import DEFAULT_CONNECTION, connection_source_factory, reload_connection
from adwarm_airflow.data_connection import use_data_connection
from adwarm_airflow.stats_sink import report_to_airflow

SETTINGS_CONNECTIONS = frozenset({"", "default"})
"""Values of `Account.connection` for accounts that no Airflow connection has read."""


def open_runtime(clock: Clock | None = None, conn_id: str | None = None, *, uses_objects: bool = True) -> Runtime:
    """Return the runtime of a task.

    Args:
        clock: the time to act at; the system clock by default.
        conn_id: the connection of the upstream, or several separated by commas: each account is read through the
            connection it belongs to, or through the first one. None for a task that makes no call.
        uses_objects: whether the object storage is used, so that its connection is read. A trigger does not: the
            triggerer serves connections to its event loop only.

    Raises:
        BadRequest: a connection does not exist, or is not valid; the message names it.
    """
    settings = load_settings()
    if uses_objects:
        use_data_connection(settings)
    clock = clock or SystemClock()
    report_to_airflow()
    if conn_id is None:
        return prepare_runtime(Runtime(settings, clock))
    first, *others = connection_names(conn_id)
    make_source = connection_source_factory(settings, first, clock)
    sources = {name: connection_source_factory(settings, name, clock) for name in others}
    reloads = {name: partial(reload_connection, name, clock) for name in others}
    reloads[""] = partial(reload_connection, first, clock)
    return prepare_runtime(Runtime(settings, clock, make_source, sources or None, reloads=reloads))


def prepare_runtime(runtime: Runtime) -> Runtime:
    """Let a runtime that is not in use yet send alerts through notifiers of Airflow, and trace what it does."""
    if runtime.settings.alerts.channels:
        from adwarm_airflow.alert_channels import NotifierSender

        runtime.make_notifier = NotifierSender
    if tracing.is_recording():
        tracing.instrument(runtime.engine)
    return runtime


def connection_names(conn_id: str) -> list[str]:
    """Return the comma-separated names in `conn_id`, each once.

    Raises:
        BadRequest: `conn_id` names no connection.
    """
    names = list(dict.fromkeys(name for name in map(str.strip, conn_id.split(",")) if name))
    if not names:
        raise BadRequest(f"conn_id {conn_id!r} names no connection; write one such as {DEFAULT_CONNECTION}")
    return names


def connection_change_warnings(conn_id: str, ids: Sequence[str]) -> list[str]:
    """Return a warning for each connection that has read some of the accounts before and is not in `conn_id`.

    The first connection in `conn_id` reads those accounts now.
    """
    names = connection_names(conn_id)
    ids_by_connection: dict[str, list[str]] = {}
    for account in accounts.get_many(open_runtime().engine, list(dict.fromkeys(ids))).values():
        if account.connection not in {*names, *SETTINGS_CONNECTIONS}:
            ids_by_connection.setdefault(account.connection, []).append(account.id)
    return [
        f"connection {connection!r}, which has read {', '.join(members[:5])} before, is not one of this task's; "
        f"{names[0]!r} is used"
        for connection, members in sorted(ids_by_connection.items())
    ]
