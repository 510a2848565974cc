"""Opens the core for one task: settings from the environment, the source from an Airflow connection."""

from collections.abc import Sequence

from adwarm.foundation.clock import Clock, SystemClock
from adwarm.foundation.errors import BadRequest
from adwarm.runtime import Runtime
from adwarm.settings import load_settings
from adwarm.store import accounts
from adwarm_airflow.connections import DEFAULT_CONNECTION, connection_source_factory

_SETTINGS_CONNECTIONS = frozenset({"", "default"})
"""How accounts are kept that no connection of Airflow's has read."""


def open_runtime(clock: Clock | None = None, conn_id: str | None = None) -> Runtime:
    """Return the runtime of a task.

    Args:
        clock: the time to act at; the machine's by default.
        conn_id: the connection of the upstream, or several with commas between them: each account is read by the one it
            belongs to, and one that belongs to none of them by the first. None for a task that makes no call.

    Raises:
        BadRequest: a connection does not exist, or is not valid; the message names it.
    """
    settings = load_settings()
    clock = clock or SystemClock()
    if conn_id is None:
        return Runtime(settings, clock)
    first, *others = connection_names(conn_id)
    make_source = connection_source_factory(settings, first, clock)
    sources = {name: connection_source_factory(settings, name, clock) for name in others}
    return Runtime(settings, clock, make_source, sources or None)


def connection_names(conn_id: str) -> list[str]:
    """Return the names in `conn_id`, each once.

    Raises:
        BadRequest: it holds none.
    """
    names = list(dict.fromkeys(name for name in map(str.strip, conn_id.split(",")) if name))
    if not names:
        raise BadRequest(f"conn_id {conn_id!r} names no connection; write one such as {DEFAULT_CONNECTION}")
    return names


def connection_change_warnings(conn_id: str, ids: Sequence[str]) -> list[str]:
    """Return a sentence for each connection not in `conn_id` that has read some of the accounts before.

    The first connection of `conn_id` reads them now.
    """
    names = connection_names(conn_id)
    known = accounts.get_many(open_runtime().engine, list(dict.fromkeys(ids)))
    found: dict[str, list[str]] = {}
    for item in known.values():
        if item.connection not in {*names, *_SETTINGS_CONNECTIONS}:
            found.setdefault(item.connection, []).append(item.id)
    return [
        f"connection {own!r}, which has read {', '.join(members[:5])} before, is not one of this task's; "
        f"{names[0]!r} is used"
        for own, members in sorted(found.items())
    ]


__all__ = ["DEFAULT_CONNECTION", "connection_change_warnings", "connection_names", "open_runtime"]
