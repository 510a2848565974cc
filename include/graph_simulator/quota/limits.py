"""The limits of an account's hour by access tier, and the errors that say one was reached."""

from graph_simulator.errors import GraphError
from graph_simulator.fault_profile import QuotaSetting
from graph_simulator.quota.cost import Cost

_BASE_CALLS = {"development_access": 600, "standard_access": 190_000}


def hour_limits(setting: QuotaSetting, active_ads: int, user_errors: int) -> Cost:
    """Return what an account may spend in an hour; errors of the caller take from the calls."""
    base = _BASE_CALLS[setting.tier] if setting.base_calls is None else setting.base_calls
    calls = base + setting.calls_per_ad * active_ads - user_errors // 1000
    return Cost(max(1, calls), max(1, round(setting.cpu_seconds * 1000)), max(1, round(setting.wall_seconds * 1000)))


def too_many_calls() -> GraphError:
    """Return the refusal of an account whose hour is used up."""
    return GraphError(
        "(#80000) There have been too many calls from this ad-account. Please wait a bit and try again.",
        code=80000,
        subcode=2446079,
    )


def score_reached() -> GraphError:
    """Return the refusal of the score limiter."""
    return GraphError("(#17) User request limit reached", code=17, subcode=2446079, transient=True)


def app_limit_reached() -> GraphError:
    """Return the refusal of the whole app."""
    return GraphError("(#4) Application request limit reached", code=4, transient=True)
