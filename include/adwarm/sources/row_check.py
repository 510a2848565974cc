"""Checks the rows of a response before anything above a source uses them: account, days, ids, and sane values.

Rows are checked by column. Only after a fault they are checked one by one, to name the first row that has one.

A row of another account, of a day that was not requested, or without its ids makes the whole response `Corrupt`,
because the other rows of the same response cannot be trusted either. So does a figure that is not a finite number, and
text or nesting beyond any legitimate size. Errors name the field and row; they show the value only of ids and days.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import date
from functools import lru_cache, partial
from itertools import chain
from typing import Any

from adwarm.foundation.errors import Corrupt
from adwarm.model import QuerySpec, Row, find_account_id, spell_account_id
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

_PLAIN_LINES = re.compile(r"(?:-?\d{1,15}(?:\.\d{1,32})?\n)*", re.ASCII)
"""Figures whose length keeps them within bounds, one a line."""
_NUMBER = re.compile(r"-?\d{1,32}(\.\d{1,32})?([eE][+-]?\d{1,3})?", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DIGITS = re.compile(r"\d{1,32}", re.ASCII)
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

_Columns = dict[str, list[Any]]
_FieldFault = tuple[str, str]
"""A field, and what is wrong with it."""
_Rule = Callable[[Collection[Any]], str | None]
"""Returns what is wrong with one of the values of a column, which holds no None; None when all are valid."""


def check_rows(rows: Sequence[Row], unit: FetchUnit, *, numeric_ids: bool = False) -> None:
    """Check that every row is one that `unit` requests, complete and with sane values.

    Args:
        rows: the rows of one response; a value of None counts as absent.
        unit: the request: its account, days or windows, level and filtered objects.
        numeric_ids: whether ids are digits, like the platform's; otherwise any text of 1 to 64 characters.

    Raises:
        Corrupt: a row is foreign or malformed; the message names the field and the row.
    """
    days = _list_days(unit)

    def find_fault(columns: _Columns) -> _FieldFault | None:
        return (
            _find_foreign_account(columns, unit.account_id)
            or _find_missing(columns, f"{unit.spec.level}_id")
            or _find_foreign_day(columns, days)
            or _find_bad_field(columns, numeric_ids=numeric_ids)
            or _find_foreign_object(columns, unit.filters)
        )

    _refuse_faults(rows, find_fault)
    if unit.spec.breakdowns:
        _check_groups(rows, unit.spec)


def check_ids(rows: Sequence[Row]) -> None:
    """Check rows that list the platform's objects, each with its `id`.

    Raises:
        Corrupt: an id is missing or malformed; the message names the row.
    """
    _refuse_faults(rows, lambda columns: _find_missing(columns, "id") or _find_bad_field(columns, numeric_ids=True))


def _refuse_faults(rows: Sequence[Row], find_fault: Callable[[_Columns], _FieldFault | None]) -> None:
    def find(checked: Sequence[Row]) -> _FieldFault | None:
        if not _are_all(checked, dict):
            return "the row", "is not an object"
        if (fields := max(map(len, checked))) > MAX_FIELDS:
            return "the row", f"has {fields} fields, more than {MAX_FIELDS}"
        return find_fault(read_fields(checked))

    if rows and find(rows):
        for number, row in enumerate(rows, 1):
            if fault := find([row]):
                raise _corrupt(*fault, number)


def _list_days(unit: FetchUnit) -> AbstractSet[tuple[str, str]]:
    if unit.increment is Increment.RANGE:
        return {(window.since.isoformat(), window.until.isoformat()) for window in unit.windows}
    return {(day.isoformat(), day.isoformat()) for window in unit.windows for day in window.days()}


def _find_missing(columns: _Columns, name: str) -> _FieldFault | None:
    return (name, "is missing") if None in columns.get(name, [None]) else None


def _find_foreign_account(columns: _Columns, account_id: str) -> _FieldFault | None:
    name = "account_id"
    if missing := _find_missing(columns, name):
        return missing
    spelled = spell_account_id(account_id)
    foreign = [value for value in _distinct(columns[name]) if value not in spelled]
    return (name, f"is {_shown(foreign[0])}: a row of another account than {account_id}") if foreign else None


def _find_foreign_day(columns: _Columns, days: AbstractSet[tuple[str, str]]) -> _FieldFault | None:
    for name in ("date_start", "date_stop"):
        if missing := _find_missing(columns, name):
            return missing
        for value in _distinct(columns[name]):
            if not _is_day(value):
                return name, f"is {_shown(value)}, which is not a day as YYYY-MM-DD"
    foreign = {*zip(columns["date_start"], columns["date_stop"], strict=True)} - days
    for since, until in foreign:
        return "date_start", f"and date_stop are {since} and {until}, which were not asked for"
    return None


def _find_foreign_object(columns: _Columns, filters: Iterable[tuple[str, str, str]]) -> _FieldFault | None:
    for field, operator, listed in filters:
        if not field.endswith(".id") or operator not in {"IN", "NOT_IN"}:
            continue
        name, ids = f"{field.removesuffix('.id')}_id", frozenset(listed.split(","))
        for value in _distinct(columns.get(name, [])):
            if (value in ids) is not (operator == "IN"):
                return name, f"is {_shown(value)}, which was not asked for"
    return None


def _find_bad_field(columns: _Columns, *, numeric_ids: bool) -> _FieldFault | None:
    for name, values in columns.items():
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
            return "the name of a field", f"is not text of 1 to {MAX_NAME} characters"
        if fault := _rule_for(name, numeric_ids)(_distinct(values)):
            return _field(name), fault
    return None


def _distinct(values: Sequence[Any]) -> Collection[Any]:
    """Return the values without None, and each text once; 1 and True are equal, so others are all returned."""
    with suppress(TypeError):  # lists and objects have no hash
        distinct = {*values}
        distinct.discard(None)
        if {*map(type, distinct)} <= {str}:
            return distinct
    return [value for value in values if value is not None]


def _check_groups(rows: Sequence[Row], spec: QuerySpec) -> None:
    """Check that no two rows of a response are the same group; one without a value is kept by whoever reads them."""
    groups = set[tuple[object, ...]]()
    for number, row in enumerate(rows, 1):
        group = row_key(row, spec.identity)
        if group in groups and None not in group:
            raise _corrupt(" and ".join(spec.breakdowns), "repeat those of an earlier row", number)
        groups.add(group)


@lru_cache(maxsize=4096)
def _rule_for(name: str, numeric_ids: bool) -> _Rule:
    if name == "account_id":
        return partial(_each, _account)
    if name in _LABELS:
        return partial(_each, _label)
    if name == "id" or name.endswith("_id"):
        return partial(_each, _numeric_id if numeric_ids else _text_id)
    if name.endswith("currency"):
        return partial(_each, _currency)
    if name in _FIGURES:
        return _figures
    if name in _ACTION_LISTS:
        return _actions
    return partial(_each, _label) if name.endswith("_name") else _values


def _each(rule: Callable[[Any], str | None], values: Iterable[Any]) -> str | None:
    return next(filter(None, map(rule, values)), None)


def _account(value: Any) -> str | None:
    is_valid = isinstance(value, str) and value == value.strip() and find_account_id(value)
    return None if is_valid else f"is {_shown(value)}, which is not an account id"


def _numeric_id(value: Any) -> str | None:
    is_valid = isinstance(value, str) and _DIGITS.fullmatch(value)
    return None if is_valid else f"is {_shown(value)}, which is not an id of digits"


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


def _are_all(values: Iterable[Any], kind: type) -> bool:
    return all(issubclass(own, kind) for own in {*map(type, values)})


def _figures(values: Collection[Any]) -> str | None:
    with suppress(TypeError):  # numbers that are no text
        lines = "\n".join([*values, ""])
        if lines.count("\n") == len(values) and _PLAIN_LINES.fullmatch(lines):
            return None  # nearly every column, at once
    return _each(_figure, values)


def _figure(value: Any) -> str | None:
    if isinstance(value, str):
        return _within(float(value)) if _NUMBER.fullmatch(value) else "is not a number"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"is a {type(value).__name__}, and not a number"
    return _within(value)


def _within(value: float) -> str | None:
    return None if abs(value) <= MAX_FIGURE else "is not a finite number within bounds"


def _actions(values: Collection[Any]) -> str | None:
    if not _are_all(values, list) or max(map(len, values), default=0) > MAX_ITEMS:
        return f"is not a list of up to {MAX_ITEMS} actions"
    actions = list(chain.from_iterable(values))
    if not _are_all(actions, dict) or max(map(len, actions), default=0) > MAX_FIELDS:
        return "holds an item that is not an action"
    for name, column in read_fields(actions).items():
        if name == "value":
            fault = _figures(_distinct(column))
        elif name == "action_type":
            types = column if None not in column else [action[name] for action in actions if name in action]
            fault = _each(_label, types if None in types else _distinct(types))
        else:
            fault = _values([name]) or _values(_distinct(column), 2)
        if fault:
            return f"holds an action whose {_field(name)} {fault}"
    return None


def _values(values: Collection[Any], depth: int = 0) -> str | None:
    """Check a field that this module does not know: bounded size, and only finite numbers."""
    kind, *others = dict.fromkeys(map(type, values)) or [str]
    if others:
        return _each(lambda own: _values([value for value in values if type(value) is own], depth), [kind, *others])
    if not issubclass(kind, dict | list):
        return _texts(values) if issubclass(kind, str) else _each(_value, values)
    sizes = {*map(len, values)}
    if depth >= MAX_DEPTH:
        return f"is nested deeper than {MAX_DEPTH}"
    if (items := max(sizes)) > MAX_ITEMS:
        return f"holds {items} items, more than {MAX_ITEMS}"
    inner: Iterable[Iterable[Any]] = [chain.from_iterable(values)]
    if issubclass(kind, dict):
        if fault := _each(_value, {*chain.from_iterable(values)}):
            return fault
        contents = map(kind.values, values)
        inner = zip(*contents, strict=True) if len(sizes) == 1 else [chain.from_iterable(contents)]
    return _each(lambda column: _values(_distinct([*column]), depth + 1), inner)


def _texts(values: Collection[str]) -> str | None:
    lines = "\n".join(values)
    may_be_odd = not lines.isascii() or any(part in lines.lower() for part in ("\0", "nan", "inf"))
    if may_be_odd or max(map(len, values), default=0) > MAX_TEXT:
        return _each(_value, values)
    return None  # nearly every column, at once


def _value(value: Any) -> str | None:
    if isinstance(value, str):
        if len(value) <= _LONGEST_NOT_FINITE and _NOT_FINITE.fullmatch(value):
            return "is not a finite number"
        return _bounded(value, MAX_TEXT)
    if isinstance(value, bool):
        return None
    return _within(value) if isinstance(value, int | float) else f"is a {type(value).__name__}, which no row holds"


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


def _corrupt(field: str, fault: str, number: int) -> Corrupt:
    return Corrupt(
        f"{field} {fault} (row {number}); the response is refused, nothing of it is kept", code=ROW_ERROR_CODE
    )
