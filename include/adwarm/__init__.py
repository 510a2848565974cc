"""adwarm keeps ad dashboards warm.

It learns from the access log when each account's report will be opened, fetches the report just before that moment
within the ad platform's limits, keeps it compressed and verified, scores ad fatigue, and serves it. The package
imports no Airflow; `dags/` and `plugins/` are thin adapters around it.

The names in `__all__` are the public API; every other name is internal and may change in any release. They are
imported on first use, so `import adwarm` loads neither pandas nor a database driver.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from adwarm.foundation.version import __version__

if TYPE_CHECKING:
    from adwarm.access_log import read_events
    from adwarm.forecast.protocol import Forecast
    from adwarm.foundation.errors import (
        AdwarmError,
        BadRequest,
        Corrupt,
        Denied,
        Throttled,
        TokenDead,
        TooMuchData,
        Transient,
    )
    from adwarm.model import (
        Account,
        FreshnessRules,
        Priority,
        QuerySpec,
        ReportKey,
        Strategy,
        Window,
        resolve_window,
    )
    from adwarm.patterns.access_profiles import load_access_profiles, load_patterns, load_popular_ranges, profile_log
    from adwarm.prefetch import BatchResult, KeyRequest
    from adwarm.replay.policy import SimplePolicy
    from adwarm.runtime import Runtime
    from adwarm.serving import ReadResult, read_or_fetch
    from adwarm.settings import Settings, load_settings
    from adwarm.sources.protocol import InsightsSource
    from adwarm.stored_days import load_days
    from adwarm_client import AsyncClient, Client


__all__ = [
    "Account",
    "AdwarmError",
    "AsyncClient",
    "BadRequest",
    "BatchResult",
    "Client",
    "Corrupt",
    "Denied",
    "Forecast",
    "FreshnessRules",
    "InsightsSource",
    "KeyRequest",
    "Priority",
    "QuerySpec",
    "ReadResult",
    "ReportKey",
    "Runtime",
    "Settings",
    "SimplePolicy",
    "Strategy",
    "Throttled",
    "TokenDead",
    "TooMuchData",
    "Transient",
    "Window",
    "__version__",
    "load_access_profiles",
    "load_days",
    "load_patterns",
    "load_popular_ranges",
    "load_settings",
    "profile_log",
    "read_events",
    "read_or_fetch",
    "resolve_window",
]

_CLIENT = "adwarm_client"
_ERRORS = "adwarm.foundation.errors"
_MODEL = "adwarm.model"
_PROFILES = "adwarm.patterns.access_profiles"
_MODULES = {
    "Account": _MODEL,
    "AdwarmError": _ERRORS,
    "AsyncClient": _CLIENT,
    "BadRequest": _ERRORS,
    "BatchResult": "adwarm.prefetch",
    "Client": _CLIENT,
    "Corrupt": _ERRORS,
    "Denied": _ERRORS,
    "Forecast": "adwarm.forecast.protocol",
    "FreshnessRules": _MODEL,
    "InsightsSource": "adwarm.sources.protocol",
    "KeyRequest": "adwarm.prefetch",
    "Priority": _MODEL,
    "QuerySpec": _MODEL,
    "ReadResult": "adwarm.serving",
    "ReportKey": _MODEL,
    "Runtime": "adwarm.runtime",
    "Settings": "adwarm.settings",
    "SimplePolicy": "adwarm.replay.policy",
    "Strategy": _MODEL,
    "Throttled": _ERRORS,
    "TokenDead": _ERRORS,
    "TooMuchData": _ERRORS,
    "Transient": _ERRORS,
    "Window": _MODEL,
    "load_access_profiles": _PROFILES,
    "load_days": "adwarm.stored_days",
    "load_patterns": _PROFILES,
    "load_popular_ranges": _PROFILES,
    "load_settings": "adwarm.settings",
    "profile_log": _PROFILES,
    "read_events": "adwarm.access_log",
    "read_or_fetch": "adwarm.serving",
    "resolve_window": _MODEL,
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
