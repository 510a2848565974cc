"""Opens the core for one task: settings from the environment, the source from an Airflow connection."""

from adwarm.clock import Clock, SystemClock
from adwarm.runtime import Runtime
from adwarm.settings import load_settings
from adwarm_airflow.connections import DEFAULT_CONNECTION, source_factory


def open_runtime(clock: Clock | None = None, conn_id: str | None = None) -> Runtime:
    """Return the runtime of a task.

    Args:
        clock: the time to act at; the machine's by default.
        conn_id: the connection of the upstream, or several with commas between them: each account is read by the one it
            belongs to, and one that belongs to none by the first. None for a task that makes no call.
    """
    settings = load_settings()
    clock = clock or SystemClock()
    first, *others = [name.strip() for name in (conn_id or "").split(",")]
    make_source = source_factory(settings, first, clock) if first else None
    sources = {name: source_factory(settings, name, clock) for name in others if name}
    return Runtime(settings, clock, make_source, sources or None)


__all__ = ["DEFAULT_CONNECTION", "open_runtime"]
