"""Reads adwarm's read API from Python: reports as DataFrames, fatigue scores, and the state of the system.

    with Client("https://adwarm.example.com", token) as client:
        frame = client.frame("act_1", "last_7d")

The names are imported on first use, so that their module alone loads httpx. pandas is only loaded by `frame()`, which
needs it, the extra `frame`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adwarm_client.errors import (
        AdwarmError,
        BadRequest,
        Corrupt,
        Denied,
        NotFound,
        Refused,
        TokenDead,
        TooMuchData,
        Transient,
    )
    from adwarm_client.exchange import NotReady
    from adwarm_client.http_clients import AsyncClient, Client
    from adwarm_client.keys import ReportKey
    from adwarm_client.report_answer import ReportAnswer, ReportWarning

__version__ = "0.1.0"
__all__ = [
    "AdwarmError",
    "AsyncClient",
    "BadRequest",
    "Client",
    "Corrupt",
    "Denied",
    "NotFound",
    "NotReady",
    "Refused",
    "ReportAnswer",
    "ReportKey",
    "ReportWarning",
    "TokenDead",
    "TooMuchData",
    "Transient",
    "__version__",
]
_MODULES = {
    "AsyncClient": "http_clients",
    "Client": "http_clients",
    "NotReady": "exchange",
    "ReportAnswer": "report_answer",
    "ReportKey": "keys",
    "ReportWarning": "report_answer",
}
"""The module of each name that is not an error."""


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
