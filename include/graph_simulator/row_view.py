"""How rows are shown: their order, the page, the fields, and the row of totals."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from graph_simulator.actions import Split, labels_of
from graph_simulator.ads import Days
from graph_simulator.errors import GraphError, bad_parameter
from graph_simulator.fields import ALWAYS, CONSTANTS, DATE_FIELDS, EMPTY, FIELDS, NAME_FIELDS
from graph_simulator.parameter_values import is_true, word_list
from graph_simulator.query import Query

_DIRECTIONS = {"_ascending": False, "_descending": True}
_ALL = frozenset({"true", "1"})


def shown_as(query: Query, params: Mapping[str, str]) -> Query:
    """Return the query with the order, the totals and the labels that `params` ask for.

    Raises:
        GraphError: they name what there is not.
    """
    shown = query
    if "sort" in params:
        shown = replace(shown, order=_order(params["sort"]))
    if "action_breakdowns" in params:
        shown = replace(shown, labels=labels_of(params))
    if "summary" in params or "default_summary" in params:
        shown = replace(shown, summary=_summary(shown.fields, params))
    return shown


def report_shown_as(query: Query, params: Mapping[str, str]) -> Query:
    """Return the query of a report as a call for one of its pages wants it shown: also with fewer fields.

    Raises:
        GraphError: they name what there is not, or what the report was made without.
    """
    shown, wanted = shown_as(query, params), word_list(params.get("fields", ""))
    strange = [name for name in wanted if name not in FIELDS]
    if strange:
        raise bad_parameter(f"{', '.join(strange)} are not valid for fields param. please check the reference")
    _check_made(wanted, query.fields, "fields")
    return replace(shown, fields=tuple(dict.fromkeys(wanted)) or query.fields)


def split_of(query: Query, params: Mapping[str, str] | None = None) -> Split:
    """Return how lists of actions are split, in rows or in the totals that `params` may label differently."""
    name = "summary_action_breakdowns"
    labels = labels_of(params, name) if params is not None and name in params else query.labels
    return Split(query.attribution, labels)


def sorted_rows(at: tuple[Days, Days], keys: list[tuple[list[Any], bool]]) -> tuple[Days, Days]:
    """Return window and object indexes in the order of `keys`: values by row, and whether the most comes first."""
    order = list(range(len(at[0])))
    for values, descending in reversed(keys):
        order.sort(key=values.__getitem__, reverse=descending)
    chosen = np.array(order, dtype=np.int64)
    return at[0][chosen], at[1][chosen]


def sort_value(row: Mapping[str, Any], name: str) -> Any:
    """Return what a row is sorted by: text of a name or a day, else the number; `actions:link_click` is an entry's."""
    field, _, kind = name.partition(":")
    value = row.get(field)
    if field in NAME_FIELDS | DATE_FIELDS | set(CONSTANTS):
        return value or ""
    if isinstance(value, list):
        values = [entry["value"] for entry in value if not kind or entry["action_type"] == kind]
        value = values[0] if values and isinstance(values[0], str) else None
    return float(value or 0)


def _order(text: str) -> tuple[tuple[str, bool], ...]:
    found = []
    for word in word_list(text, "sort"):
        direction = next((end for end in _DIRECTIONS if word.endswith(end)), None)
        name = word.removesuffix(direction or "")
        if direction is None or name.partition(":")[0] not in FIELDS:
            raise bad_parameter(f"sort does not take {word}; it takes a field with _ascending or _descending")
        found.append((name, _DIRECTIONS[direction]))
    return tuple(found)


def _summary(fields: tuple[str, ...], params: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the fields of the totals: those that are named, or all that can be summed up."""
    numbers = tuple(name for name in fields if name not in NAME_FIELDS | DATE_FIELDS | set(CONSTANTS) | EMPTY)
    text = params.get("summary", "")
    if text and text.lower() not in _ALL:
        wanted = word_list(text, "summary")
        _check_made(wanted, fields, "summary")
        return tuple(dict.fromkeys(wanted))
    wants_all = text.lower() in _ALL or is_true("default_summary", params.get("default_summary", "false"))
    return (numbers or tuple(sorted(ALWAYS))) if wants_all else None


def _check_made(wanted: list[str], made: tuple[str, ...], name: str) -> None:
    missing = [word for word in wanted if word not in {*made, *DATE_FIELDS}]
    if missing:
        raise GraphError(
            f"(#100) Cannot include {', '.join(missing)} in {name} param because they weren't there while creating "
            "the report run",
            code=100,
        )
