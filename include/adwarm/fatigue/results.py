"""What an ad is paid for: the number of its results in insights rows.

The rule, in this order:

1. `results`, the platform's own count of the ad's optimization result, as a number or as Meta's list of values;
2. of `actions` and `conversions`, the action that the row's `optimization_goal` or `objective` states;
3. else the first of purchase, lead, registration and app install that the ad has;
4. else `conversions` as a plain number.

An ad keeps the kind that its first day with any result has, so that different results are never compared. Of several
names of one action the first present one counts: the platform's names overlap and must not be added up.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

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
KINDS: Final = ("results", *_KINDS, "conversions")
"""Kinds of results, by rank."""
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
_KIND_OF: Final = {name: (kind, order) for kind, names in _KINDS.items() for order, name in enumerate(names)}
_ITEM: Final = re.compile(r'"action_type":\s*"([^"]*)"[^{}]*?"value":\s*"?([0-9.eE+-]+)')
COLUMNS: Final = ("results", "actions", "conversions")
_GOAL_COLUMNS: Final = ("optimization_goal", "objective")


def list_results(table: ColumnTable) -> Iterator[tuple[int, dict[str, float]]]:
    """Return, for each row that states any result field, its number and its results by kind.

    Raises:
        BadRequest: a plain number of results is not one of 0 or more.
    """
    columns = {name: table.columns[name] for name in COLUMNS if name in table.columns}
    goals = [table.columns[name] for name in _GOAL_COLUMNS if name in table.columns]
    for row in range(table.rows):
        values = {name: column[row] for name, column in columns.items() if column[row] not in (None, "")}
        if not values:
            continue
        stated = next((_GOALS[str(goal[row])] for goal in goals if str(goal[row]) in _GOALS), None)
        yield row, _read_row(table, row, values, stated)


def _read_row(table: ColumnTable, row: int, values: dict[str, Any], stated: str | None) -> dict[str, float]:
    found: dict[str, float] = {}
    own = values.get("results")
    if own is not None:
        found["results"] = _sum_values(own) if _is_list(own) else _number(table, row, "results")
    actions: dict[str, tuple[int, float]] = {}
    for name in ("actions", "conversions"):
        value = values.get(name)
        if value is None:
            continue
        if not _is_list(value):
            if name == "conversions":
                found["conversions"] = _number(table, row, name)
            continue
        for action, count in _list_actions(value):
            kind, order = _KIND_OF.get(action, ("", 0))
            if kind and (kind not in actions or order < actions[kind][0]):
                actions[kind] = order, count
    for kind, (_, count) in actions.items():
        if kind == stated or (stated is None and kind not in _STATED_ONLY):
            found[kind] = count
    return found


def _is_list(value: Any) -> bool:
    return isinstance(value, list) or (isinstance(value, str) and value.lstrip().startswith("["))


def _list_actions(value: Any) -> Iterator[tuple[str, float]]:
    """Return the actions of a list, or of the JSON text of one; items without a number of 0 or more are left out."""
    items: Sequence[Any] = _ITEM.findall(value) if isinstance(value, str) else value
    for item in items:
        if isinstance(item, tuple):
            action, count = item
        elif isinstance(item, dict):
            action, count = item.get("action_type"), item.get("value")
        else:
            continue
        if action in _KIND_OF and (number := _to_number(count)) is not None:
            yield action, number


def _sum_values(value: Any) -> float:
    """Return the first value of the platform's `results`: a list of items with a list of values."""
    text = value if isinstance(value, str) else str(value).replace("'", '"')
    match = re.search(r'"value":\s*"?([0-9.eE+-]+)', text)
    number = None if match is None else _to_number(match[1])
    return 0.0 if number is None else number


def _to_number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 <= number < float("inf") else None


def _number(table: ColumnTable, row: int, name: str) -> float:
    return read_number({"ad_id": table.columns["ad_id"][row], name: table.columns[name][row]}, name)
