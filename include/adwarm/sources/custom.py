"""Sources that users write: a function by its path, or an entry point that another package declares."""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final

from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import AdwarmError, BadRequest
from adwarm.foundation.redaction import redact
from adwarm.settings import SourceSettings
from adwarm.sources.protocol import InsightsSource

ENTRY_POINTS: Final = "adwarm.sources"
"""Group of the entry points by which packages offer sources."""
MakeSource = Callable[[SourceSettings, str, Clock | None], InsightsSource]
"""Makes a source from the settings of its section, the name of the connection, and the clock of the run."""
_BUILT_IN: Final = ("meta", "parquet", "sql")
_MAX_NAME = 20
_MEMBERS: Final = (
    "name",
    "capabilities",
    "connection",
    "credential",
    "clock_offset_seconds",
    "get_account",
    "list_account_page",
    "scopes",
    "plan",
    "submit",
    "submit_async",
    "poll",
    "read",
    "split",
    "list_objects",
    "close",
)


def custom_factory(source: SourceSettings, connection: str, clock: Clock | None) -> Callable[[], InsightsSource]:
    """Return a function that builds the user's source that `source.kind` names.

    The function of the user is imported here, and called for each source.

    Raises:
        BadRequest: there is no such function or entry point, or what it makes is not a source of this connection.
    """
    kind = source.kind
    make = _load_path(kind) if ":" in kind else _load_entry_point(kind)

    def build() -> InsightsSource:
        made = make(source, connection, clock)
        _check_source(made, kind, connection)
        return made

    return build


def _load_path(kind: str) -> MakeSource:
    module, _, name = kind.partition(":")
    try:
        function: Any = getattr(import_module(module), name)
    except AdwarmError:
        raise
    except Exception as error:  # the user's own code
        problem = redact(f"{type(error).__name__}: {error}")
        raise BadRequest(
            f"ADWARM_SOURCE__KIND names {kind!r}, which cannot be imported ({problem}); check PYTHONPATH"
        ) from error
    return _check_callable(function, kind)


def _load_entry_point(kind: str) -> MakeSource:
    points = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if kind not in points:
        choices = ", ".join([*_BUILT_IN, *sorted(points)])
        raise BadRequest(
            f"ADWARM_SOURCE__KIND is {kind!r}, which is not a source; write one of {choices}, "
            "or package.module:function"
        )
    try:
        function = points[kind].load()
    except Exception as error:  # another package's own code
        problem = redact(f"{type(error).__name__}: {error}")
        raise BadRequest(f"the source {kind!r} ({points[kind].value}) cannot be imported ({problem})") from error
    return _check_callable(function, kind)


def _check_callable(function: Any, kind: str) -> MakeSource:
    if not callable(function):
        raise BadRequest(f"ADWARM_SOURCE__KIND names {kind!r}, which is not a function that makes a source")
    make_source: MakeSource = function
    return make_source


def _check_source(made: Any, kind: str, connection: str) -> None:
    missing = [name for name in _MEMBERS if not hasattr(made, name)]
    if missing:
        raise BadRequest(
            f"{kind!r} made a {type(made).__name__}, which is not a source: it has no {', '.join(missing)}; derive it "
            "from adwarm.sources.synchronous.SynchronousSource, or write them"
        )
    if made.connection != connection:
        raise BadRequest(
            f"{kind!r} made a source of connection {made.connection!r}, asked for {connection!r}; give the source the "
            "name that the function gets"
        )
    if not 0 < len(made.name) <= _MAX_NAME:
        raise BadRequest(f"{kind!r} made a source with the name {made.name[:40]!r}; write 1 to {_MAX_NAME} characters")
