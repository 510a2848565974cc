"""Which parameters each kind of call takes: any other is refused, so that a word mistyped shows.

The platform itself lets many unknown words pass. The simulator does not: nothing that a caller says is ignored.
"""

from collections.abc import Mapping

from graph_simulator.errors import bad_parameter
from graph_simulator.faults.kinds import Route
from graph_simulator.parameter_values import is_true

OF_EVERY_CALL = frozenset({
    "access_token",
    "appsecret_proof",
    "appsecret_time",
    "format",
    "locale",
    "method",
    "pretty",
    "suppress_http_code",
})
_PAGE = frozenset({"limit", "after", "before"})
_SHOWN = frozenset({
    "fields",
    "sort",
    "summary",
    "default_summary",
    "action_breakdowns",
    "summary_action_breakdowns",
})
_QUESTION = (
    _SHOWN
    | _PAGE
    | {
        "level",
        "time_range",
        "time_ranges",
        "time_increment",
        "date_preset",
        "filtering",
        "breakdowns",
        "action_attribution_windows",
        "action_report_time",
        "use_unified_attribution_setting",
        "use_account_attribution_setting",
        "graph_cache",
    }
)
_TAKEN = {
    Route.INSIGHTS: _QUESTION,
    Route.SUBMIT: _QUESTION | {"async"},
    Route.POLL: frozenset({"fields"}),
    Route.RESULT: (_SHOWN | _PAGE) - {"action_breakdowns"},
    Route.ACCOUNT: frozenset({"fields"}),
    Route.ADACCOUNTS: _PAGE | {"fields", "summary"},
    Route.OBJECTS: _PAGE | {"fields", "summary", "effective_status", "filtering"},
    Route.BATCH: frozenset({"batch", "include_headers"}),
}
_REPORT_TIMES = frozenset({"impression", "conversion", "mixed", "lifetime"})
_TRUTHS = (
    "use_unified_attribution_setting",
    "use_account_attribution_setting",
    "graph_cache",
    "default_summary",
    "async",
    "pretty",
    "suppress_http_code",
)


def check_parameters(route: Route, params: Mapping[str, str]) -> None:
    """Check the names of a call's parameters, and the values of those that change nothing in the answer.

    Since 2025-06-10 the platform answers as the ad set is set up and by mixed time, whatever the attribution settings
    and the report time say; they are checked and have no effect here either.

    Raises:
        GraphError: a parameter is unknown, or its value is not one.
    """
    taken = OF_EVERY_CALL | _TAKEN.get(route, frozenset())
    unknown = sorted(name for name in params if name not in taken)
    if unknown:
        raise bad_parameter(f"The parameter {', '.join(unknown)} is not supported by this endpoint")
    for name in _TRUTHS:
        is_true(name, params.get(name, "false"))
    if params.get("action_report_time", "mixed") not in _REPORT_TIMES:
        raise bad_parameter(
            f"action_report_time must be one of the following values: {', '.join(sorted(_REPORT_TIMES))}"
        )
    if params.get("format", "json") != "json":
        raise bad_parameter("format must be json")
    if not params.get("locale", "en_US").startswith("en_"):
        raise bad_parameter("locale must be an English one: messages have no other language here")
