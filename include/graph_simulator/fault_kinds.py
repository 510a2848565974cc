"""The kinds of faults, grouped by the stage of a call at which they strike, and their error responses."""

from enum import StrEnum
from typing import Any

from graph_simulator.error_responses import GraphError, missing_object, token_missing


class Route(StrEnum):
    """What a call is for. The call log, the quotas and the faults distinguish calls by it."""

    INSIGHTS = "insights"
    SUBMIT = "submit"
    POLL = "poll"
    RESULT = "result"
    ACCOUNT = "account"
    ADACCOUNTS = "adaccounts"
    OBJECTS = "objects"
    ITEMS = "items"
    BATCH = "batch"
    OTHER = "other"


class FaultKind(StrEnum):
    """What can go wrong on purpose; the values are the `kind` of a fault rule."""

    TOKEN_DEAD = "token_dead"
    DENIED = "denied"
    DENIED_10 = "denied_10"
    DENIED_100 = "denied_100"
    DENIED_100_33 = "denied_100_33"
    DENIED_275 = "denied_275"
    NO_CAPABILITY = "no_capability"
    TOKEN_104 = "token_104"
    TOKEN_2500 = "token_2500"
    LOAD_SHEDDING = "load_shedding"
    TRANSIENT_1 = "transient_1"
    TRANSIENT_2 = "transient_2"
    FINAL_1 = "final_1"
    TOO_MANY_429 = "too_many_429"
    FLAKY_100 = "flaky_100"
    ERROR_IN_200 = "error_in_200"
    HTML_500 = "html_500"
    RESET = "reset"
    CUT_BODY = "cut_body"
    SLOW_BODY = "slow_body"
    TRUNCATED = "truncated"
    CLOCK_SKEW = "clock_skew"
    EMPTY_PAGES = "empty_pages"
    REPORT_FAILED = "report_failed"
    REPORT_SKIPPED = "report_skipped"
    REPORT_STUCK = "report_stuck"
    REPORT_STUCK_FULL = "report_stuck_full"
    NULL_ENTRY = "null_entry"


ACCESS_FAULTS = (
    FaultKind.TOKEN_DEAD,
    FaultKind.DENIED,
    FaultKind.DENIED_10,
    FaultKind.DENIED_100,
    FaultKind.DENIED_100_33,
    FaultKind.DENIED_275,
    FaultKind.NO_CAPABILITY,
    FaultKind.TOKEN_104,
    FaultKind.TOKEN_2500,
)
SERVING_FAULTS = (
    FaultKind.LOAD_SHEDDING,
    FaultKind.TRANSIENT_1,
    FaultKind.TRANSIENT_2,
    FaultKind.FLAKY_100,
    FaultKind.ERROR_IN_200,
    FaultKind.FINAL_1,
    FaultKind.TOO_MANY_429,
)
RESPONSE_FAULTS = (FaultKind.RESET, FaultKind.CUT_BODY, FaultKind.SLOW_BODY, FaultKind.TRUNCATED, FaultKind.HTML_500)
SENDING_FAULTS = (FaultKind.RESET, FaultKind.CUT_BODY, FaultKind.SLOW_BODY, FaultKind.NULL_ENTRY)
REPORT_FAULTS = (
    FaultKind.REPORT_FAILED,
    FaultKind.REPORT_SKIPPED,
    FaultKind.REPORT_STUCK,
    FaultKind.REPORT_STUCK_FULL,
)

_PAGED = frozenset({Route.INSIGHTS, Route.RESULT})
_ROUTES = dict.fromkeys(REPORT_FAULTS, frozenset({Route.SUBMIT})) | {
    FaultKind.EMPTY_PAGES: _PAGED,
    FaultKind.FLAKY_100: _PAGED | {Route.SUBMIT},
}


_FIXED: dict[FaultKind, dict[str, Any]] = {
    FaultKind.DENIED: {
        "message": "(#200) Ad account owner has NOT grant ads_management or ads_read permission",
        "code": 200,
        "status": 403,
    },
    FaultKind.DENIED_10: {
        "message": "(#10) Application does not have permission for this action",
        "code": 10,
        "status": 403,
    },
    FaultKind.DENIED_100: {"message": "(#100) Missing permissions", "code": 100},
    FaultKind.DENIED_275: {
        "message": "(#275) Cannot determine the target object for this request. Currently supported objects include "
        "ad account, business account and associated objects.",
        "code": 275,
    },
    FaultKind.NO_CAPABILITY: {
        "message": "(#3) Application does not have the capability to make this API call.",
        "code": 3,
    },
    FaultKind.FLAKY_100: {
        "message": "(#100) Cannot include spend in summary param because they weren't there while creating the report "
        "run",
        "code": 100,
    },
    FaultKind.TRANSIENT_1: {"message": "An unknown error occurred", "code": 1, "status": 500},
    FaultKind.TRANSIENT_2: {
        "message": "(#2) Service temporarily unavailable",
        "code": 2,
        "status": 500,
        "transient": True,
    },
    FaultKind.FINAL_1: {
        "message": "An unknown error occurred",
        "code": 1,
        "subcode": 2853001,
        "status": 500,
        "transient": False,
    },
}


def routes_of(kind: FaultKind) -> frozenset[Route]:
    """Return the routes that a kind of fault can hit. A batch envelope is hit only while its response is sent."""
    if kind in _ROUTES:
        return _ROUTES[kind]
    everything = frozenset(Route)
    return everything if kind in RESPONSE_FAULTS else everything - {Route.BATCH}


def error_of(kind: FaultKind, *, name: str = "", subcode: int = 463, seconds: float = 0) -> GraphError:
    """Return the error response of a fault in `ACCESS_FAULTS` or `SERVING_FAULTS`.

    Args:
        subcode: the subcode of `TOKEN_DEAD`.
        seconds: `Retry-After` of `TOO_MANY_429`.
    """
    match kind:
        case FaultKind.TOKEN_DEAD:
            return GraphError("Error validating access token: Session has expired.", code=190, subcode=subcode)
        case FaultKind.TOKEN_104:
            return token_missing("")
        case FaultKind.TOKEN_2500:
            return token_missing("me")
        case FaultKind.DENIED_100_33:
            return missing_object(name)
        case FaultKind.TOO_MANY_429:
            error = GraphError("(#613) Calls to this api have exceeded the rate limit.", code=613, status=429)
            error.retry_after = max(1, round(seconds))
            return error
        case FaultKind.LOAD_SHEDDING:
            return load_shed()
        case FaultKind.ERROR_IN_200:
            return GraphError("(#2) Service temporarily unavailable", code=2, status=200, transient=True)
    return GraphError(**_FIXED[kind])


def load_shed() -> GraphError:
    """Return error 4/1504022: the platform sheds load, whatever the usage of the caller."""
    return GraphError("(#4) Too many API requests", code=4, subcode=1504022, transient=True)
