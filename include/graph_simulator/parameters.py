"""Which parameters each kind of call takes: any other is refused, so that a word mistyped shows.

The platform itself lets many unknown words pass. The simulator does not: nothing that a caller says is ignored.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from graph_simulator.fault_kinds import Route
from graph_simulator.graph_errors import bad_parameter

_NESTED = re.compile(r"([A-Za-z_]\w{0,63})((?:\[[\w.]{0,64}\]){1,6})")
_STEP = re.compile(r"\[([\w.]*)\]")
_TOKEN = re.compile(
    r"""(?P<single>'(?:[^'\\]|\\.)*')|(?P<double>"(?:[^"\\]|\\.)*")|(?P<word>[A-Za-z_][\w.]*)"""
    r"""|(?P<number>-?\d+(?:\.\d+)?)|(?P<mark>[\[\]{}:,])|(?P<space>\s+)"""
)
_VALUES = frozenset({"true", "false", "null"})
_TRUE, _FALSE = frozenset({"true", "1"}), frozenset({"false", "0", ""})


def json_value(name: str, text: str) -> Any:
    """Return the value that JSON means, also with single quotes or keys without quotes.

    Raises:
        GraphError: it is not JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        strict = _strict(text)
    try:
        return orjson.loads(strict)
    except orjson.JSONDecodeError:
        raise bad_parameter(f"{name} must be valid JSON") from None


def word_list(text: str, name: str = "fields") -> list[str]:
    """Return the words of a comma list or of a JSON list.

    Raises:
        GraphError: it is a list of something else.
    """
    if not text.lstrip().startswith(("[", "{")):
        return [word.strip() for word in text.split(",") if word.strip()]
    found = json_value(name, text)
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise bad_parameter("param must be an array of strings")
    return found


def is_true(name: str, text: str) -> bool:
    """Return the truth that a parameter's text means.

    Raises:
        GraphError: it means none.
    """
    if text.lower() not in _TRUE | _FALSE:
        raise bad_parameter(f"Param {name} must be a boolean")
    return text.lower() in _TRUE


def whole_number(text: str, least: int, most: int) -> int | None:
    """Return the number that plain digits mean; None when there are others, or it is out of range."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        return None
    return int(text) if least <= int(text) <= most else None


def folded(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return parameters by name; `time_range[since]=...` and the like become one parameter of JSON."""
    plain: dict[str, str] = {}
    nested: dict[str, dict[str, Any]] = {}
    for name, value in items:
        found = _NESTED.fullmatch(name)
        if found is None:
            plain[name] = value
        else:
            _put(nested.setdefault(found[1], {}), _STEP.findall(found[2]), value)
    return plain | {name: orjson.dumps(_lists(tree)).decode() for name, tree in nested.items()}


def _put(tree: dict[str, Any], steps: list[str], value: str) -> None:
    for step in steps[:-1]:
        below = tree.setdefault(step or str(len(tree)), {})
        tree = below if isinstance(below, dict) else {}
    tree[steps[-1] or str(len(tree))] = value


def _lists(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    below = {name: _lists(item) for name, item in tree.items()}
    return list(below.values()) if list(below) == [str(index) for index in range(len(below))] else below


def _strict(text: str) -> str:
    """Return text with every string and key in double quotes; empty when it has anything that JSON has not."""
    found, at = [], 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            return ""
        at = token.end()
        if token.lastgroup == "single":
            inner = token[0][1:-1].replace("\\'", "'")
            found.append('"' + re.sub(r'(?<!\\)"', '\\"', inner) + '"')
        elif token.lastgroup == "word" and token[0] not in _VALUES:
            found.append(f'"{token[0]}"' if text[at:].lstrip().startswith(":") else " x ")
        else:
            found.append(token[0])
    return "".join(found)


OF_EVERY_CALL = frozenset({
    "access_token", "appsecret_proof", "appsecret_time", "format", "locale", "method", "pretty", "suppress_http_code",
})  # fmt: skip
_PAGE = frozenset({"limit", "after", "before"})
_SHOWN = frozenset({
    "fields", "sort", "summary", "default_summary", "action_breakdowns", "summary_action_breakdowns",
})  # fmt: skip
_QUESTION = _SHOWN | _PAGE | {
    "level", "time_range", "time_ranges", "time_increment", "date_preset", "filtering", "breakdowns",
    "action_attribution_windows", "action_report_time", "use_unified_attribution_setting",
    "use_account_attribution_setting", "graph_cache",
}  # fmt: skip
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
    "use_unified_attribution_setting", "use_account_attribution_setting", "graph_cache", "default_summary", "async",
    "pretty", "suppress_http_code",
)  # fmt: skip


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
