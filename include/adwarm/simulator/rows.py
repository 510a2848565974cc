"""Rows as the platform prints them: every number a numeric string, zeros left out, no row without delivery."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from adwarm.simulator.ads import Days, Metric
from adwarm.simulator.levels import Table
from adwarm.simulator.world import Floats

Row = dict[str, Any]
NAME_FIELDS = frozenset({
    "account_id", "account_name", "account_currency", "campaign_id", "campaign_name", "adset_id", "adset_name",
    "ad_id", "ad_name",
})  # fmt: skip
DATE_FIELDS = frozenset({"date_start", "date_stop"})
_COUNTS = {"impressions": Metric.IMPRESSIONS, "clicks": Metric.CLICKS, "inline_link_clicks": Metric.LINK_CLICKS}
_ALWAYS = frozenset({"impressions", "clicks", "spend"})
_RATIOS = frozenset({"frequency", "ctr", "cpm", "cpc", "cpp", "inline_link_click_ctr", "cost_per_inline_link_click"})
_LISTS = frozenset({"actions", "cost_per_action_type"})
FIELDS = NAME_FIELDS | DATE_FIELDS | frozenset(_COUNTS) | {"spend", "reach"} | _RATIOS | _LISTS
ATTRIBUTION_SHARES = {"1d_click": 0.72, "7d_click": 0.94, "28d_click": 1.0, "1d_view": 0.06, "1d_ev": 0.03}
RETIRED_WINDOWS = frozenset({"7d_view", "28d_view", "inline", "default", "dda"})
_ACTIONS = (
    ("link_click", Metric.LINK_CLICKS),
    ("landing_page_view", Metric.LANDINGS),
    ("post_engagement", Metric.CLICKS),
    ("page_engagement", Metric.CLICKS),
    ("offsite_conversion.fb_pixel_add_to_cart", Metric.CARTS),
    ("add_to_cart", Metric.CARTS),
    ("offsite_conversion.fb_pixel_purchase", Metric.PURCHASES),
    ("purchase", Metric.PURCHASES),
    ("omni_purchase", Metric.PURCHASES),
)


def delivered(table: Table, more_than: int = 0) -> tuple[Days, Days]:
    """Return window and object indexes of the rows there are, oldest window first."""
    if not table.names:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    windows, objects = np.nonzero(table.totals[Metric.IMPRESSIONS] > more_than)
    return windows, objects


def render(table: Table, at: tuple[Days, Days], fields: Sequence[str], attribution: Sequence[str] = ()) -> list[Row]:
    """Return the rows at the given window and object indexes, with the wanted fields that are not zero."""
    windows, objects = at
    figures = table.totals[:, windows, objects]
    reach = table.reach[windows, objects]
    spans = [(str(window.since), str(window.until)) for window in table.block.windows]
    columns: dict[str, Sequence[Any]] = {}
    for name in fields:
        if name in NAME_FIELDS:
            columns[name] = [table.names[index].get(name) for index in objects.tolist()]
        elif name not in DATE_FIELDS:
            columns[name] = _column(name, figures, reach, attribution)
    columns["date_start"] = [spans[index][0] for index in windows.tolist()]
    columns["date_stop"] = [spans[index][1] for index in windows.tolist()]
    names = tuple(columns)
    return [
        {name: value for name, value in zip(names, values, strict=True) if value is not None}
        for values in zip(*columns.values(), strict=True)
    ]


def _column(name: str, figures: Days, reach: Days, attribution: Sequence[str]) -> Sequence[Any]:
    if name in _COUNTS:
        return _integers(figures[_COUNTS[name]], keep_zero=name in _ALWAYS)
    if name == "reach":
        return _integers(reach, keep_zero=False)
    if name == "spend":
        return [f"{cents / 100:.2f}" for cents in figures[Metric.SPEND_CENTS].tolist()]
    if name in _LISTS:
        entry = _count_entry(attribution) if name == "actions" else _cost_entry
        return _action_lists(figures, entry)
    return [None if value == 0 else f"{value:.6f}" for value in _ratio(name, figures, reach).tolist()]


def _integers(values: Days, *, keep_zero: bool) -> list[str | None]:
    return [str(value) if value or keep_zero else None for value in values.tolist()]


def _ratio(name: str, figures: Days, reach: Days) -> Floats:
    spend = figures[Metric.SPEND_CENTS] / 100
    over: dict[str, tuple[Any, Any]] = {
        "frequency": (figures[Metric.IMPRESSIONS], reach),
        "ctr": (100 * figures[Metric.CLICKS], figures[Metric.IMPRESSIONS]),
        "inline_link_click_ctr": (100 * figures[Metric.LINK_CLICKS], figures[Metric.IMPRESSIONS]),
        "cpm": (1000 * spend, figures[Metric.IMPRESSIONS]),
        "cpc": (spend, figures[Metric.CLICKS]),
        "cpp": (1000 * spend, reach),
        "cost_per_inline_link_click": (spend, figures[Metric.LINK_CLICKS]),
    }
    above, below = over[name]
    ratio: Floats = np.divide(above, below, out=np.zeros(len(reach)), where=below > 0)
    return ratio


def _action_lists(figures: Days, entry: Callable[[str, int, int], Row]) -> list[list[Row] | None]:
    spend = figures[Metric.SPEND_CENTS].tolist()
    counted = [(name, figures[metric].tolist()) for name, metric in _ACTIONS]
    lists = [
        [entry(name, counts[index], cents) for name, counts in counted if counts[index]]
        for index, cents in enumerate(spend)
    ]
    return [found or None for found in lists]


def _count_entry(attribution: Sequence[str]) -> Callable[[str, int, int], Row]:
    shares = [(name, ATTRIBUTION_SHARES[name]) for name in attribution if name in ATTRIBUTION_SHARES]

    def entry(name: str, count: int, cents: int) -> Row:
        del cents
        row = {"action_type": name, "value": str(count)}
        row.update((window, str(int(count * share))) for window, share in shares if int(count * share))
        return row

    return entry


def _cost_entry(name: str, count: int, cents: int) -> Row:
    return {"action_type": name, "value": f"{cents / 100 / count:.6f}"}
