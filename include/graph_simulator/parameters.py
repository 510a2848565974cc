"""Parameters of calls: which ones each route accepts, and how their text is parsed.

Values may be plain text, JSON, JSON with single quotes, or have brackets in their names (`time_range[since]=...`). The
platform itself lets many unknown parameters pass. The simulator rejects them, so that a misspelled name is noticed.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from graph_simulator.error_responses import bad_parameter
from graph_simulator.fault_kinds import Route

COMMON_PARAMETERS = frozenset({
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
_PRESENTATION = frozenset({
    "fields",
    "sort",
    "summary",
    "default_summary",
    "action_breakdowns",
    "summary_action_breakdowns",
})
_INSIGHTS = (
    _PRESENTATION
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
_ACCEPTED = {
    Route.INSIGHTS: _INSIGHTS,
    Route.SUBMIT: _INSIGHTS | {"async"},
    Route.POLL: frozenset({"fields"}),
    Route.RESULT: (_PRESENTATION | _PAGE) - {"action_breakdowns"},
    Route.ACCOUNT: frozenset({"fields"}),
    Route.ADACCOUNTS: _PAGE | {"fields", "summary"},
    Route.OBJECTS: _PAGE | {"fields", "summary", "effective_status", "filtering"},
    Route.ITEMS: _PAGE | {"fields", "summary", "since", "until"},
    Route.BATCH: frozenset({"batch", "include_headers"}),
}
_REPORT_TIMES = frozenset({"impression", "conversion", "mixed", "lifetime"})
_BOOLEANS = (
    "use_unified_attribution_setting",
    "use_account_attribution_setting",
    "graph_cache",
    "default_summary",
    "async",
    "pretty",
    "suppress_http_code",
)
_TRUE, _FALSE = frozenset({"true", "1"}), frozenset({"false", "0", ""})
_BRACKETED_NAME = re.compile(r"([A-Za-z_]\w{0,63})((?:\[[\w.]{0,64}\]){1,6})")
_BRACKET = re.compile(r"\[([\w.]*)\]")
_LOOSE_TOKEN = re.compile(
    r"""(?P<single>'(?:[^'\\]|\\.)*')|(?P<double>"(?:[^"\\]|\\.)*")|(?P<word>[A-Za-z_][\w.]*)"""
    r"""|(?P<number>-?\d+(?:\.\d+)?)|(?P<mark>[\[\]{}:,])|(?P<space>\s+)"""
)
_JSON_WORDS = frozenset({"true", "false", "null"})


def check_parameters(route: Route, params: Mapping[str, str]) -> None:
    """Check the names of a call's parameters, and the values of those that do not change the response.

    Since 2025-06-10 the platform uses the ad set's own attribution setting and mixed time, whether a call asks for them
    or not. They are validated and have no effect here either.

    Raises:
        GraphError: a parameter is unknown, or its value is not valid.
    """
    accepted = COMMON_PARAMETERS | _ACCEPTED.get(route, frozenset())
    unknown = sorted(name for name in params if name not in accepted)
    if unknown:
        raise bad_parameter(f"The parameter {', '.join(unknown)} is not supported by this endpoint")
    for name in _BOOLEANS:
        boolean(name, params.get(name, "false"))
    if params.get("action_report_time", "mixed") not in _REPORT_TIMES:
        raise bad_parameter(
            f"action_report_time must be one of the following values: {', '.join(sorted(_REPORT_TIMES))}"
        )
    if params.get("format", "json") != "json":
        raise bad_parameter("format must be json")
    if not params.get("locale", "en_US").startswith("en_"):
        raise bad_parameter("locale must be an English one: messages have no other language here")


def string_list(text: str, name: str = "fields") -> list[str]:
    """Return the strings of a comma-separated list or of a JSON list.

    Raises:
        GraphError: it is JSON, and not a list of strings.
    """
    if not text.lstrip().startswith(("[", "{")):
        return [item.strip() for item in text.split(",") if item.strip()]
    value = json_value(name, text)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise bad_parameter("param must be an array of strings")
    return value


def boolean(name: str, text: str) -> bool:
    """Return the value of a boolean parameter: true, false, 1, 0, or empty for false.

    Raises:
        GraphError: it is none of these.
    """
    if text.lower() not in _TRUE | _FALSE:
        raise bad_parameter(f"Param {name} must be a boolean")
    return text.lower() in _TRUE


def whole_number(text: str, least: int, most: int) -> int | None:
    """Return the number that ASCII digits spell; None when there are other characters or it is out of range."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        return None
    return int(text) if least <= int(text) <= most else None


def json_value(name: str, text: str) -> Any:
    """Return the value of a JSON parameter, which may have single quotes and unquoted keys.

    Raises:
        GraphError: it is not JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        strict = _strict_json(text)
    try:
        return orjson.loads(strict)
    except orjson.JSONDecodeError:
        raise bad_parameter(f"{name} must be valid JSON") from None


def _strict_json(text: str) -> str:
    """Return loose JSON with double quotes around all strings and keys; empty when it contains anything else."""
    parts, position = [], 0
    while position < len(text):
        token = _LOOSE_TOKEN.match(text, position)
        if token is None:
            return ""
        position = token.end()
        if token.lastgroup == "single":
            inner = token[0][1:-1].replace("\\'", "'")
            parts.append('"' + re.sub(r'(?<!\\)"', '\\"', inner) + '"')
        elif token.lastgroup == "word" and token[0] not in _JSON_WORDS:
            # An unquoted word is valid only as a key. " x " makes the JSON parser reject it as a value.
            parts.append(f'"{token[0]}"' if text[position:].lstrip().startswith(":") else " x ")
        else:
            parts.append(token[0])
    return "".join(parts)


def fold_parameters(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return parameters by name. Bracketed names such as `time_range[since]` are folded into one JSON parameter."""
    plain: dict[str, str] = {}
    nested: dict[str, dict[str, Any]] = {}
    for name, value in items:
        match = _BRACKETED_NAME.fullmatch(name)
        if match is None:
            plain[name] = value
        else:
            _put(nested.setdefault(match[1], {}), _BRACKET.findall(match[2]), value)
    return plain | {name: orjson.dumps(_with_lists(tree)).decode() for name, tree in nested.items()}


def _put(tree: dict[str, Any], path: list[str], value: str) -> None:
    for key in path[:-1]:
        child = tree.setdefault(key or str(len(tree)), {})
        tree = child if isinstance(child, dict) else {}
    tree[path[-1] or str(len(tree))] = value


def _with_lists(tree: Any) -> Any:
    """Return a tree in which dictionaries with the keys 0, 1, 2, ... are lists."""
    if not isinstance(tree, dict):
        return tree
    children = {key: _with_lists(item) for key, item in tree.items()}
    return list(children.values()) if list(children) == [str(index) for index in range(len(children))] else children
