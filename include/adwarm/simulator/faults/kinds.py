"""The kinds of faults, by the stage of a call at which each one strikes, and the errors that some of them are."""

from enum import StrEnum

from adwarm.simulator.errors import GraphError


class Route(StrEnum):
    """What a call is for, as the call log, the quotas and the faults tell calls apart."""

    INSIGHTS = "insights"
    SUBMIT = "submit"
    POLL = "poll"
    RESULT = "result"
    ACCOUNT = "account"
    ADACCOUNTS = "adaccounts"
    OBJECTS = "objects"
    BATCH = "batch"
    OTHER = "other"


class FaultKind(StrEnum):
    """What can go wrong on purpose."""

    TOKEN_DEAD = "token_dead"
    DENIED = "denied"
    LOAD_SHEDDING = "load_shedding"
    TRANSIENT_1 = "transient_1"
    TRANSIENT_2 = "transient_2"
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


REFUSING = (FaultKind.TOKEN_DEAD, FaultKind.DENIED)
FAILING = (
    FaultKind.LOAD_SHEDDING, FaultKind.TRANSIENT_1, FaultKind.TRANSIENT_2, FaultKind.FLAKY_100, FaultKind.ERROR_IN_200,
)  # fmt: skip
ON_THE_WIRE = (FaultKind.RESET, FaultKind.CUT_BODY, FaultKind.SLOW_BODY, FaultKind.TRUNCATED, FaultKind.HTML_500)
WHOLE_ANSWER = (FaultKind.RESET, FaultKind.CUT_BODY, FaultKind.SLOW_BODY, FaultKind.NULL_ENTRY)
FATES = (
    FaultKind.REPORT_FAILED, FaultKind.REPORT_SKIPPED, FaultKind.REPORT_STUCK, FaultKind.REPORT_STUCK_FULL,
)  # fmt: skip

_PAGED = frozenset({Route.INSIGHTS, Route.RESULT})
_ROUTES = dict.fromkeys(FATES, frozenset({Route.SUBMIT})) | {
    FaultKind.EMPTY_PAGES: _PAGED,
    FaultKind.FLAKY_100: _PAGED | {Route.SUBMIT},
}


def routes_of(kind: FaultKind) -> frozenset[Route]:
    """Return the routes that a fault of this kind can hit; a batch as a whole only on the wire."""
    if kind in _ROUTES:
        return _ROUTES[kind]
    everything = frozenset(Route)
    return everything if kind in ON_THE_WIRE else everything - {Route.BATCH}


def error_of(kind: FaultKind, subcode: int) -> GraphError:
    """Return the error that a refusing or failing fault answers with."""
    if kind is FaultKind.TOKEN_DEAD:
        return GraphError("Error validating access token: Session has expired.", code=190, subcode=subcode)
    if kind is FaultKind.DENIED:
        return GraphError(
            "(#200) Ad account owner has NOT grant ads_management or ads_read permission", code=200, status=403
        )
    if kind is FaultKind.LOAD_SHEDDING:
        return load_shed()
    if kind is FaultKind.FLAKY_100:
        return GraphError(
            "(#100) Cannot include spend in summary param because they weren't there while creating the report run",
            code=100,
        )
    if kind is FaultKind.TRANSIENT_1:
        return GraphError("An unknown error occurred", code=1, status=500)
    status = 200 if kind is FaultKind.ERROR_IN_200 else 500
    return GraphError("(#2) Service temporarily unavailable", code=2, status=status, transient=True)


def load_shed() -> GraphError:
    """Return the answer of a platform that sheds load, whatever the caller's own usage is."""
    return GraphError("(#4) Too many API requests", code=4, subcode=1504022, transient=True)
