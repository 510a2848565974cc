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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from adwarm.fatigue.text_columns import encode_column, get_column, parse_numbers

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
_UNSTATED_KINDS: Final = sorted({kind for kind, _ in _UNSTATED.values()})
_NAMES: Final = "|".join(map(re.escape, _KIND_OF))
_UNSTATED_NAMES: Final = "|".join(map(re.escape, _UNSTATED))
_AMOUNT: Final = r'"value":\s*"?([0-9.eE+-]+)'
_ITEM: Final = r'"action_type":\s*"(%s)"[^{}]*?' + _AMOUNT
_ACTION: Final = re.compile((_ITEM % _NAMES).encode())
_UNSTATED_ACTION: Final = re.compile((_ITEM % _UNSTATED_NAMES).encode())
_VALUE: Final = re.compile(_AMOUNT.encode())
COLUMNS: Final = ("results", "actions", "conversions")
"""Fields with results."""
PLAIN: Final = ("results", "conversions")
"""Those of them that may be a plain number."""
GOAL_COLUMNS: Final = ("optimization_goal", "objective")
"""Fields that state what an ad is optimized for, the first one first."""
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ResultCounts:
    """What rows count as results.

    Attributes:
        stating: the numbers of the rows that state any field with results.
        rows: for each kind of result that a row has more than zero of, the row.
        kinds: the kind's index in `KINDS`.
    """

    stating: IntArray
    rows: IntArray
    kinds: IntArray
    counts: npt.NDArray[np.float64]


def count_results(table: pa.Table) -> ResultCounts:
    """Return the results in rows of text columns.

    Raises:
        BadRequest: a plain number of results is not one of 0 or more.
    """
    goals = _read_goals(table)
    stating: IntArray = np.zeros(0, np.int64)
    parts: list[_Values] = []
    for name in COLUMNS:
        if name not in table.column_names:
            continue
        column = get_column(table, name)
        is_list = pc.fill_null(pc.starts_with(pc.utf8_ltrim_whitespace(column), "["), False)
        stated = pc.fill_null(pc.not_equal(column, ""), False)
        stating = np.union1d(stating, np.flatnonzero(stated.to_numpy(zero_copy_only=False)))
        lists = pc.if_else(is_list, column, pa.scalar(None, pa.string()))
        parts.append(_read_values(lists) if name == "results" else _read_actions(lists, goals))
        if name != "actions" and bool(pc.any(pc.and_not(stated, is_list)).as_py()):
            plain = parse_numbers(table, name, pc.if_else(is_list, pa.scalar(None, pa.string()), column))
            rows = np.flatnonzero(np.isfinite(plain))
            parts.append(_Values(rows, np.full(len(rows), KINDS.index(name)), plain[rows]))
    rows, kinds, counts = (
        np.concatenate([np.zeros(0, kind), *(getattr(part, name) for part in parts)])
        for name, kind in (("rows", np.int64), ("kinds", np.int64), ("counts", np.float64))
    )
    # One count per row and kind: `actions` and `conversions` may both have it.
    _, first = np.unique(rows * len(KINDS) + kinds, return_index=True)
    first = first[counts[first] > 0]
    return ResultCounts(stating, rows[first], kinds[first], counts[first])


class _Values(NamedTuple):
    """Counts in the order in which they take precedence."""

    rows: IntArray
    kinds: IntArray
    counts: npt.NDArray[np.float64]


def _read_goals(table: pa.Table) -> IntArray | None:
    """Return the kind that each row's ad is optimized for, -1 where none is stated; None when none is at all."""
    goals = np.full(table.num_rows, -1)
    for name in reversed(GOAL_COLUMNS):  # the goal takes precedence over the objective
        codes, texts = encode_column(get_column(table, name))
        kinds = np.array([KINDS.index(_GOALS[text]) if text in _GOALS else -1 for text in texts], np.int64)
        goals = np.where(kinds[codes] >= 0, kinds[codes], goals) if len(texts) else goals
    return goals if (goals >= 0).any() else None


def _read_actions(lists: pa.Array, goals: IntArray | None) -> _Values:
    """Return the counted kinds of lists of actions.

    Of several names of a kind the first one counts; items without a number of 0 or more are left out. All lists are
    searched at once. That finds items whose first key is the action, as the platform writes them; others are decoded.
    """
    first_keys = pc.count_substring(lists, '{"action_type":')
    is_plain = pc.fill_null(pc.equal(first_keys, pc.count_substring(lists, "{")), True).to_numpy(zero_copy_only=False)
    pattern = _UNSTATED_ACTION if goals is None else _ACTION
    places, names, numbers = _search(lists, pattern)
    entries = [_KIND_OF[name.decode()] for name in names]
    odd = np.flatnonzero(~is_plain)
    decoded = [(row, *item) for row in odd.tolist() for item in _decode_actions(lists[row].as_py())]
    rows = np.concatenate([np.where(is_plain[places], places, -1), [row for row, _, _ in decoded]]).astype(np.int64)
    kinds, orders = np.array([*entries, *(entry for _, entry, _ in decoded)], np.int64).reshape(-1, 2).T
    counts = np.array([*numbers, *(number for _, _, number in decoded)], np.float64)
    row_goals = np.full(len(rows), -1) if goals is None else goals[rows]
    is_counted = np.where(row_goals < 0, np.isin(kinds, _UNSTATED_KINDS), kinds == row_goals)
    chosen = np.flatnonzero((rows >= 0) & (counts >= 0) & is_counted)
    chosen = chosen[np.argsort(orders[chosen], kind="stable")]
    return _Values(rows[chosen], kinds[chosen], counts[chosen])


def _decode_actions(text: str) -> list[tuple[tuple[int, int], float]]:
    """Return the kind with the rank of its name, and the number, of each item of one list."""
    try:
        items = orjson.loads(text)
    except orjson.JSONDecodeError:
        items = [{"action_type": match[1].decode(), "value": match[2]} for match in _ACTION.finditer(text.encode())]
    return [
        (_KIND_OF[item["action_type"]], _to_number(item.get("value")))
        for item in items
        if isinstance(item, dict) and str(item.get("action_type")) in _KIND_OF
    ]


def _read_values(lists: pa.Array) -> _Values:
    """Return the first number in each of the platform's `results`: lists of items, each with a list of values."""
    places, _, numbers = _search(lists, _VALUE)
    rows, first = np.unique(places, return_index=True)
    counts = numbers[first]
    return _Values(rows, np.zeros(len(rows), np.int64), np.nan_to_num(counts))


def _search(texts: pa.Array, pattern: re.Pattern[bytes]) -> tuple[IntArray, Sequence[bytes], npt.NDArray[np.float64]]:
    """Return the matches of a pattern in all texts: the row, the first group and the number in the last one."""
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1] if data else [0]
    matches = pattern.finditer(data, int(bounds[0]), int(bounds[-1])) if data else ()
    hits = [(match.start(), match[1], match[pattern.groups]) for match in matches]
    if not hits:
        return np.zeros(0, np.int64), (), np.zeros(0)
    starts, names, values = zip(*hits, strict=True)
    try:
        numbers = np.array(values).astype(np.float64)
        numbers[~(numbers >= 0) | np.isinf(numbers)] = np.nan
    except ValueError:
        numbers = np.array([_to_number(value) for value in values])
    return np.searchsorted(bounds, starts, side="right") - 1, names, numbers


def _to_number(value: Any) -> float:
    """Return a number of 0 or more, nan for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if 0 <= number < math.inf else math.nan
