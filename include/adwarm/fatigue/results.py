"""What an ad is paid for: the number of its results in insights rows.

The rule, in this order:

1. `results`, the platform's own count of the ad's optimization result, as a number or as Meta's list of values;
2. of `actions` and `conversions`, the action that the row's `optimization_goal` or `objective` states;
3. else the first of purchase, lead, registration and app install that the ad has;
4. else `conversions` as a plain number.

An ad keeps the kind that its first day with any result has, so that different results are never compared. Of several
names of one action the first present one counts: the platform's names overlap and must not be added up.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from adwarm.fatigue.history import read_number
from adwarm.model import ColumnTable

_KINDS: Final = {
    "purchase": ("purchase", "omni_purchase", "offsite_conversion.fb_pixel_purchase"),
    "lead": ("lead", "onsite_conversion.lead_grouped", "offsite_conversion.fb_pixel_lead"),
    "registration": (
        "complete_registration",
        "omni_complete_registration",
        "offsite_conversion.fb_pixel_complete_registration",
    ),
    "app_install": ("mobile_app_install", "omni_app_install", "app_install"),
    "landing_page_view": ("landing_page_view", "omni_landing_page_view"),
    "link_click": ("link_click",),
    "video_view": ("video_view",),
    "engagement": ("post_engagement",),
}
_STATED_ONLY: Final = ("landing_page_view", "link_click", "video_view", "engagement")
"""Every ad has some of these, so they count only when the row states that the ad is optimized for them."""
_GOALS: Final = {
    "OFFSITE_CONVERSIONS": "purchase",
    "VALUE": "purchase",
    "OUTCOME_SALES": "purchase",
    "CONVERSIONS": "purchase",
    "LEAD_GENERATION": "lead",
    "QUALITY_LEAD": "lead",
    "OUTCOME_LEADS": "lead",
    "APP_INSTALLS": "app_install",
    "OUTCOME_APP_PROMOTION": "app_install",
    "LANDING_PAGE_VIEWS": "landing_page_view",
    "LINK_CLICKS": "link_click",
    "OUTCOME_TRAFFIC": "link_click",
    "THRUPLAY": "video_view",
    "VIDEO_VIEWS": "video_view",
    "POST_ENGAGEMENT": "engagement",
    "OUTCOME_ENGAGEMENT": "engagement",
}
KINDS: Final = ("results", *_KINDS, "conversions")
"""Kinds of results, by rank."""
_KIND_OF: Final = {
    name: (KINDS.index(kind), order) for kind, names in _KINDS.items() for order, name in enumerate(names)
}
"""Kind of an action, and which of the kind's names it is."""
_UNSTATED: Final = {name: kind for name, kind in _KIND_OF.items() if KINDS[kind[0]] not in _STATED_ONLY}
_ITEM: Final = re.compile(r'"action_type":\s*"([^"]*)"[^{}]*?"value":\s*"?([0-9.eE+-]+)')
COLUMNS: Final = ("results", "actions", "conversions")
"""Fields with results."""
_VALUE: Final = re.compile(r'"value":\s*"?([0-9.eE+-]+)')
PARSED: Final = "parsed results"
"""Name of the column with the results of each row by kind; None in a row that states none."""
GOAL_COLUMNS: Final = ("optimization_goal", "objective")
"""Fields that state what an ad is optimized for, the first one first."""


def with_parsed_results(table: ColumnTable) -> ColumnTable:
    """Return a table with its results parsed in place of the fields they come from, for panels of several spans.

    Raises:
        BadRequest: a plain number of results is not one of 0 or more.
    """
    stating, found = list_results(table)
    parsed: list[tuple[tuple[int, float], ...] | None] = [None] * table.rows
    for row in stating:
        parsed[row] = ()
    for row, kind, count in found:
        parsed[row] = (*(parsed[row] or ()), (kind, count))
    columns = {name: column for name, column in table.columns.items() if name not in {*COLUMNS, *GOAL_COLUMNS}}
    return ColumnTable(table.rows, {**columns, PARSED: parsed})


def list_results(table: ColumnTable) -> tuple[list[int], list[tuple[int, int, float]]]:
    """Return the numbers of the rows that state any field with results, and what they count.

    Returns:
        The rows; and for each kind of result that a row has: the row, the kind's index in `KINDS`, and the count.

    Raises:
        BadRequest: a plain number of results is not one of 0 or more.
    """
    if (parsed := table.columns.get(PARSED)) is not None:
        stated = [row for row, counts in enumerate(parsed) if counts is not None]
        return stated, [(row, kind, count) for row in stated for kind, count in parsed[row]]
    columns = {name: table.columns[name] for name in COLUMNS if name in table.columns}
    goals = _read_goals(table)
    stating: set[int] = set()
    found: list[tuple[int, int, float]] = []
    for name, column in columns.items():
        for row, value in enumerate(column):
            if value is None or value == "":
                continue
            stating.add(row)
            is_list = isinstance(value, list) or (isinstance(value, str) and value.lstrip().startswith("["))
            if not is_list:
                if name != "actions":
                    found.append((row, KINDS.index(name), _read_plain(table, row, name)))
            elif name == "results":
                found.append((row, 0, _read_values(value)))
            else:
                found += [(row, kind, count) for kind, count in _read_actions(value, goals.get(row, _UNSTATED))]
    return sorted(stating), _first_of_kind(found, len(columns))


def _read_goals(table: ColumnTable) -> dict[int, Mapping[str, tuple[int, int]]]:
    """Return, by row that states what its ad is optimized for, the actions that count."""
    by_kind = {kind: {name: entry for name, entry in _KIND_OF.items() if KINDS[entry[0]] == kind} for kind in _KINDS}
    goals: dict[int, Mapping[str, tuple[int, int]]] = {}
    for name in reversed(GOAL_COLUMNS):  # the goal takes precedence over the objective
        for row, value in enumerate(table.columns.get(name, ())):
            if value in _GOALS:
                goals[row] = by_kind[_GOALS[value]]
    return goals


def _read_actions(value: Any, counted: Mapping[str, tuple[int, int]]) -> list[tuple[int, float]]:
    """Return the counted kinds of a list of actions, or of the JSON text of one.

    Of several names of a kind the first one counts; items without a number of 0 or more are left out.
    """
    items: Sequence[Any] = _find_items(value) if isinstance(value, str) else value
    best: dict[int, tuple[int, float]] = {}
    for item in items:
        if isinstance(item, dict):
            entry, count = counted.get(item.get("action_type", "")), item.get("value")
        elif isinstance(item, tuple):
            entry, count = counted.get(item[0]), item[1]
        else:
            continue
        if entry is not None and (number := _to_number(count)) is not None:
            kind, order = entry
            if kind not in best or order < best[kind][0]:
                best[kind] = order, number
    return [(kind, number) for kind, (_, number) in best.items()]


def _find_items(text: str) -> Sequence[Any]:
    """Return the actions in the JSON text of a list, as pairs where the text has the platform's order of names."""
    found: list[Any] = _ITEM.findall(text)
    if found or "action_type" not in text:
        return found
    try:
        items = orjson.loads(text)
    except orjson.JSONDecodeError:
        return ()
    return items if isinstance(items, list) else ()


def _first_of_kind(found: list[tuple[int, int, float]], columns: int) -> list[tuple[int, int, float]]:
    """Return one count per row and kind: `actions` and `conversions` may both have it."""
    if columns < 2:
        return found
    counts: dict[tuple[int, int], float] = {}
    for row, kind, count in found:
        counts.setdefault((row, kind), count)
    return [(row, kind, count) for (row, kind), count in counts.items()]


def _read_values(value: Any) -> float:
    """Return the number in the platform's `results`: a list of items, each with a list of values."""
    if isinstance(value, str):
        match = _VALUE.search(value)
        return (_to_number(match[1]) or 0.0) if match else 0.0
    for item in value:
        values = item.get("values") if isinstance(item, dict) else None
        for entry in values if isinstance(values, list) else [item]:
            number = _to_number(entry.get("value")) if isinstance(entry, dict) else None
            if number is not None:
                return number
    return 0.0


def _to_number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 <= number < math.inf else None


def _read_plain(table: ColumnTable, row: int, name: str) -> float:
    return read_number({"ad_id": table.columns["ad_id"][row], name: table.columns[name][row]}, name)
