"""Checks the rows of a response before anything above a source uses them: account, days, ids, and sane values.

A row of another account, of a day that was not requested, or without its ids makes the whole response `Corrupt`,
because the other rows of the same response cannot be trusted either. So does a figure that is not a finite number, and
text or nesting beyond any legitimate size. Errors name the field and row; they show the value only of ids and days.
"""

import re
from collections.abc import Callable, Container, Sequence
from datetime import date
from functools import lru_cache
from itertools import chain
from typing import Any

from adwarm.foundation.errors import Corrupt
from adwarm.model import QuerySpec, Row
from adwarm.model.breakdowns import BREAKDOWNS
from adwarm.model.keys import row_key
from adwarm.sources.protocol import FetchUnit, Increment
from adwarm_client.column_table import read_fields
from adwarm_client.report_fields import AMOUNT_FIELDS, COUNT_FIELDS

ROW_ERROR_CODE = "row"
"""`code` of the error; distinguishes a refused response from stored bytes that do not verify."""

MAX_FIELDS = 300
MAX_NAME = 100
MAX_ID = 64
MAX_CURRENCY = 8
MAX_LABEL = 2_000
MAX_TEXT = 20_000
MAX_DEPTH = 5
MAX_ITEMS = 1_000
MAX_FIGURE = 1e15
"""Larger figures fit no integer column and no real amount of money."""

_PLAIN = re.compile(r"-?\d{1,15}(?:\.\d{1,32})?", re.ASCII)
_PLAIN_LINES = re.compile(rf"(?:{_PLAIN.pattern}\n)*", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,32}(\.\d{1,32})?([eE][+-]?\d{1,3})?", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DIGITS = re.compile(r"\d{1,32}", re.ASCII)
_ACCOUNT = re.compile(r"(?:act_)?\d{1,20}", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(nan|inf(inity)?)", re.IGNORECASE)
_LONGEST_NOT_FINITE = len("-infinity")
_FIELD = re.compile(r"[a-z0-9_.]{1,64}", re.ASCII)
_SHOWN = re.compile(r"(?:act_)?[\d-]{1,20}", re.ASCII)

_FIGURES = COUNT_FIELDS | AMOUNT_FIELDS
_ACTION_LISTS = frozenset({
    "actions",
    "action_values",
    "unique_actions",
    "conversions",
    "conversion_values",
    "cost_per_action_type",
    "cost_per_unique_action_type",
    "cost_per_conversion",
    "outbound_clicks",
    "unique_outbound_clicks",
    "outbound_clicks_ctr",
    "cost_per_outbound_click",
    "website_ctr",
    "purchase_roas",
    "website_purchase_roas",
    "mobile_app_purchase_roas",
})
_LABELS = frozenset({*BREAKDOWNS, "comscore_market"})


def check_rows(rows: Sequence[Row], unit: FetchUnit, *, numeric_ids: bool = False) -> None:
    """Check that every row is one that `unit` requests, complete and with sane values.

    Args:
        rows: the rows of one response; a value of None counts as absent.
        unit: the request: its account, days or windows, level and filtered objects.
        numeric_ids: whether ids are digits, like the platform's; otherwise any text of 1 to 64 characters.

    Raises:
        Corrupt: a row is foreign or malformed; the message names the field and the row.
    """
    owner, own_id = unit.account_id.removeprefix("act_"), f"{unit.spec.level}_id"
    days = _days(unit)
    id_filters = [_id_filter(*item) for item in unit.filters if item[0].endswith(".id") and item[1] in {"IN", "NOT_IN"}]
    is_plain = _are_plain(rows, numeric_ids=numeric_ids)
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise _corrupt("the row", number, "is no object")
        _check_owner(row.get("account_id"), owner, number)
        if row.get(own_id) is None:
            raise _corrupt(own_id, number, "is missing")
        _check_days(row, days, number)
        if not is_plain:
            _check_fields(row, number, numeric_ids=numeric_ids)
        for name, included, ids in id_filters:
            if (value := row.get(name)) is not None and (value in ids) is not included:
                raise _corrupt(name, number, f"is {_shown(value)}, which was not asked for")
    if unit.spec.breakdowns:
        _check_groups(rows, unit.spec)


def check_ids(rows: Sequence[Row]) -> None:
    """Check rows that list the platform's objects, each with its `id`.

    Raises:
        Corrupt: an id is missing or malformed; the message names the row.
    """
    for number, row in enumerate(rows, 1):
        if row.get("id") is None:
            raise _corrupt("id", number, "is missing")
        _check_fields(row, number, numeric_ids=True)


def _days(unit: FetchUnit) -> Container[tuple[str, str]]:
    if unit.increment is Increment.RANGE:
        return {(window.since.isoformat(), window.until.isoformat()) for window in unit.windows}
    return {(day.isoformat(), day.isoformat()) for window in unit.windows for day in window.days()}


def _id_filter(field: str, operator: str, values: str) -> tuple[str, bool, frozenset[str]]:
    return f"{field.removesuffix('.id')}_id", operator == "IN", frozenset(values.split(","))


def _check_owner(value: Any, owner: str, number: int) -> None:
    if value is None:
        raise _corrupt("account_id", number, "is missing")
    fault = _account(value)
    if fault:
        raise _corrupt("account_id", number, fault)
    if value.removeprefix("act_") != owner:
        raise _corrupt("account_id", number, f"is {_shown(value)}: a row of another account than act_{owner}")


def _check_days(row: Row, days: Container[tuple[str, str]], number: int) -> None:
    since, until = row.get("date_start"), row.get("date_stop")
    if isinstance(since, str) and isinstance(until, str) and (since, until) in days:
        return
    for name, value in (("date_start", since), ("date_stop", until)):
        if value is None:
            raise _corrupt(name, number, "is missing")
        if not _is_day(value):
            raise _corrupt(name, number, f"is {_shown(value)}, which is no day as YYYY-MM-DD")
    raise _corrupt("date_start", number, f"and date_stop are {since} and {until}, which were not asked for")


def _are_plain(rows: Sequence[Row], *, numeric_ids: bool) -> bool:
    """Whether every field of every row is valid, judged by column; False also where that needs a look at each value."""
    if set(map(type, rows)) != {dict} or max(map(len, rows)) > MAX_FIELDS:
        return False
    return all(
        isinstance(name, str) and 0 < len(name) <= MAX_NAME and _is_plain(values, _validator_for(name, numeric_ids))
        for name, values in read_fields(rows).items()
    )


def _is_plain(values: list[Any], validator: "Validator", depth: int = 0) -> bool:
    try:
        return _are_valid_texts({*values} - {None}, validator)
    except TypeError:  # lists and objects have no hash
        kinds = {*map(type, values)} - {type(None)}
    if kinds != {list} or validator not in {_actions, _value} or depth >= MAX_DEPTH:
        return False
    lists = [value for value in values if value is not None]
    items = list(chain.from_iterable(lists))
    if max(map(len, lists)) > MAX_ITEMS:
        return False
    if validator is _value and set(map(type, items)) == {str}:
        return _are_valid_texts(set(items), _value)
    is_deep = depth + 1 >= MAX_DEPTH
    if is_deep or set(map(type, items)) != {dict} or max(map(len, items)) > MAX_FIELDS:
        return False
    special = {"value": _figure, "action_type": _label} if validator is _actions else {}
    return all(
        isinstance(name, str)
        and not _value(name)
        and not (special.get(name) is _label and None in inner)
        and _is_plain(inner, special.get(name, _value), depth + 2)
        for name, inner in read_fields(items).items()
    )


def _are_valid_texts(texts: set[Any], validator: "Validator") -> bool:
    if not {*map(type, texts)} <= {str}:
        return False
    if validator is not _figure:
        return not any(map(validator, texts))
    lines = "\n".join([*texts, ""])
    return lines.count("\n") == len(texts) and _PLAIN_LINES.fullmatch(lines) is not None


def _check_groups(rows: Sequence[Row], spec: QuerySpec) -> None:
    """Check that no two rows of a response are the same group; one without a value is kept by whoever reads them."""
    groups = set[tuple[object, ...]]()
    for number, row in enumerate(rows, 1):
        group = row_key(row, spec.identity)
        if group in groups and None not in group:
            raise _corrupt(" and ".join(spec.breakdowns), number, "repeat those of an earlier row")
        groups.add(group)


def _check_fields(row: Row, number: int, *, numeric_ids: bool) -> None:
    if len(row) > MAX_FIELDS:
        raise _corrupt("the row", number, f"has {len(row)} fields, more than {MAX_FIELDS}")
    for name, value in row.items():
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
            raise _corrupt("the name of a field", number, f"is not text of 1 to {MAX_NAME} characters")
        if value is not None:
            fault = _validator_for(name, numeric_ids)(value)
            if fault:
                raise _corrupt(_field(name), number, fault)


Validator = Callable[[Any], str | None]
"""Returns what is wrong with a value; None when it is valid."""


@lru_cache(maxsize=4096)
def _validator_for(name: str, numeric_ids: bool) -> Validator:
    if name == "account_id":
        return _account
    if name in _LABELS:
        return _label
    if name == "id" or name.endswith("_id"):
        return _numeric_id if numeric_ids else _text_id
    if name.endswith("currency"):
        return _currency
    if name in _FIGURES:
        return _figure
    if name in _ACTION_LISTS:
        return _actions
    return _label if name.endswith("_name") else _value


def _account(value: Any) -> str | None:
    is_valid = isinstance(value, str) and _ACCOUNT.fullmatch(value)
    return None if is_valid else f"is {_shown(value)}, which is no account id"


def _numeric_id(value: Any) -> str | None:
    is_valid = isinstance(value, str) and _DIGITS.fullmatch(value)
    return None if is_valid else f"is {_shown(value)}, which is no id of digits"


def _text_id(value: Any) -> str | None:
    if not isinstance(value, str):
        return f"is a {type(value).__name__}, and an id is text"
    return _bounded(value, MAX_ID) if value.strip() else "is empty"


def _currency(value: Any) -> str | None:
    return _bounded(value, MAX_CURRENCY) if isinstance(value, str) else "is not text"


def _label(value: Any) -> str | None:
    return _bounded(value, MAX_LABEL) if isinstance(value, str) else "is not text"


def _bounded(value: str, limit: int) -> str | None:
    if len(value) > limit:
        return f"has {len(value)} characters, more than {limit}"
    return "holds a null character" if "\0" in value else None


def _figure(value: Any) -> str | None:
    if isinstance(value, str):
        if _PLAIN.fullmatch(value):  # the fast path of nearly every figure; its length keeps it within bounds
            return None
        return _within(float(value)) if _NUMBER.fullmatch(value) else "is not a number"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"is a {type(value).__name__}, and not a number"
    return _within(value)


def _within(value: float) -> str | None:
    return None if abs(value) <= MAX_FIGURE else "is not a finite number within bounds"


def _actions(value: Any) -> str | None:
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        return f"is not a list of up to {MAX_ITEMS} actions"
    return next((fault for item in value if (fault := _action(item))), None)


def _action(item: Any) -> str | None:
    if not isinstance(item, dict) or len(item) > MAX_FIELDS:
        return "holds an item that is no action"
    for name, value in item.items():
        if name == "value" and value is not None:
            fault = _figure(value)
        elif name == "action_type":
            fault = _label(value)
        else:
            fault = _value(name) or _value(value, 2)
        if fault:
            return f"holds an action whose {_field(name)} {fault}"
    return None


def _value(value: Any, depth: int = 0) -> str | None:
    """Check a value of a field that this module does not know: bounded size, and only finite numbers."""
    if isinstance(value, str):
        if len(value) <= _LONGEST_NOT_FINITE and _NOT_FINITE.fullmatch(value):
            return "is not a finite number"
        return _bounded(value, MAX_TEXT)
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _within(value)
    if not isinstance(value, dict | list):
        return f"is a {type(value).__name__}, which no row holds"
    if depth >= MAX_DEPTH:
        return f"is nested deeper than {MAX_DEPTH}"
    if len(value) > MAX_ITEMS:
        return f"holds {len(value)} items, more than {MAX_ITEMS}"
    inner = [*value, *value.values()] if isinstance(value, dict) else value
    return next((fault for item in inner if (fault := _value(item, depth + 1))), None)


def _is_day(value: Any) -> bool:
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _field(name: str) -> str:
    return name if _FIELD.fullmatch(name) else f"a field with a name of {len(name)} characters"


def _shown(value: Any) -> str:
    """Return a value as a message may show it: ids and days, never other text, which may contain anything."""
    if isinstance(value, str):
        return value if _SHOWN.fullmatch(value) else f"text of {len(value)} characters"
    return f"a {type(value).__name__}"


def _corrupt(field: str, number: int, fault: str) -> Corrupt:
    return Corrupt(
        f"{field} {fault} (row {number}); the response is refused, nothing of it is kept", code=ROW_ERROR_CODE
    )
