"""The values of insights fields: counts, ratios and lists of actions, computed for all rows at once.

`Figures` has the numbers that rows consist of, as one array element per row. `COUNTS`, `RATIOS` and `ACTION_LISTS` say
how each field follows from them. An action list has entries by action type; attribution windows split the value of an
entry, and action breakdowns divide its counts and amounts into parts with labels.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, product
from typing import Any

import numpy as np
import numpy.typing as npt

from graph_simulator.ads import Days, Floats, Metric
from graph_simulator.error_responses import bad_parameter
from graph_simulator.parameters import string_list

Row = dict[str, Any]
Values = npt.NDArray[Any]
ATTRIBUTION_SHARES = {"1d_click": 0.72, "7d_click": 0.94, "28d_click": 1.0, "1d_view": 0.06, "1d_ev": 0.03}
RETIRED_WINDOWS = frozenset({"7d_view", "28d_view", "inline", "default", "dda", "incrementality"})
_ACTIONS_PER_REPEAT = 12
_HALF_UP = 1 + 1e-15
"""Lifts a float that stands for a tie, such as 0.0000005, and lies below it."""
_PURCHASE_PRICE, _CONTACT_VALUE = 49.90, 12.0
_LABELS = {
    "action_type": ("",),
    "action_target_id": ("108000000000001", "108000000000002", "108000000000003"),
    "action_destination": ("108000000000001", "108000000000002"),
    "action_device": ("iphone", "android_smartphone", "desktop"),
    "action_carousel_card_id": ("600000000000001", "600000000000002", "600000000000003"),
    "action_carousel_card_name": ("Card 1", "Card 2", "Card 3"),
    "action_canvas_component_name": ("Component 1", "Component 2"),
    "action_reaction": ("like", "love", "haha"),
    "action_video_sound": ("sound_on",),
    "action_video_type": ("total",),
}
_SHARES = (0.5, 0.35)
"""Of the first labels of an action breakdown; the last one has the rest."""
ATTRIBUTION_SETTINGS = {"7d_click_1d_view_1d_ev": 1.0, "1d_click": ATTRIBUTION_SHARES["1d_click"]}
"""The setting of every ad set, and that of every account, with the share of the conversions that it counts."""
ADSET_SETTING, ACCOUNT_SETTING = ATTRIBUTION_SETTINGS
_ON_META_ONLY = frozenset({
    "action_target_id",
    "action_destination",
    "region",
    "product_id",
    "hourly_stats_aggregated_by_advertiser_time_zone",
    "hourly_stats_aggregated_by_audience_time_zone",
})
_OFF_META_ACTIONS = ("landing_page_view", "add_to_cart", "purchase", "contact", "lead")


@dataclass(frozen=True)
class Figures:
    """The numbers that rows are computed from.

    Attributes:
        totals: integers of shape (metric, row).
        reach: people by row.
    """

    totals: Days
    reach: Days

    @property
    def size(self) -> int:
        """The number of rows."""
        return len(self.reach)

    @property
    def impressions(self) -> Days:
        """Impressions."""
        return self._metric(Metric.IMPRESSIONS)

    @property
    def clicks(self) -> Days:
        """All clicks."""
        return self._metric(Metric.CLICKS)

    @property
    def links(self) -> Days:
        """Clicks on the link."""
        return self._metric(Metric.LINK_CLICKS)

    @property
    def outbound(self) -> Days:
        """Clicks on the link that led off the platform."""
        return self.links - self.links // 10

    @property
    def landings(self) -> Days:
        """Views of the landing page."""
        return self._metric(Metric.LANDINGS)

    @property
    def carts(self) -> Days:
        """Items added to carts."""
        return self._metric(Metric.CARTS)

    @property
    def purchases(self) -> Days:
        """Purchases."""
        return self._metric(Metric.PURCHASES)

    @property
    def leads(self) -> Days:
        """Leads."""
        return self._metric(Metric.LEADS)

    @property
    def views(self) -> Days:
        """Video plays."""
        return self.impressions * 3 // 10

    @property
    def spend(self) -> Floats:
        """Money spent, in units of the currency."""
        spend: Floats = self.totals[Metric.SPEND_CENTS] / 100
        return spend

    def unique(self, counts: Any) -> Any:
        """Return the number of people behind a count of actions; one in twelve actions is a repeat."""
        return np.minimum(counts - counts // _ACTIONS_PER_REPEAT, self.reach)

    def _metric(self, metric: int) -> Days:
        values: Days = self.totals[metric]
        return values


def ratio(numerator: Any, denominator: Any) -> Floats:
    """Return a ratio by row; 0 where the denominator is 0."""
    quotient: Floats = np.divide(
        numerator, denominator, out=np.zeros(np.shape(denominator)), where=np.asarray(denominator) > 0
    )
    return quotient


def write_ratio(value: float) -> str:
    """Return a ratio as the platform prints it: rounded to six decimals, half up, without zeros at the end."""
    return f"{value * _HALF_UP:.6f}".rstrip("0").rstrip(".")


COUNTS: dict[str, Callable[[Figures], Days]] = {
    "impressions": lambda f: f.impressions,
    "clicks": lambda f: f.clicks,
    "inline_link_clicks": lambda f: f.links,
    "reach": lambda f: f.reach,
    "unique_clicks": lambda f: f.unique(f.clicks),
    "unique_inline_link_clicks": lambda f: f.unique(f.links),
    "inline_post_engagement": lambda f: f.clicks,
    "full_view_impressions": lambda f: f.impressions * 3 // 5,
    "full_view_reach": lambda f: f.reach * 3 // 5,
    "estimated_ad_recallers": lambda f: f.reach // 20,
}
RATIOS: dict[str, Callable[[Figures], Floats]] = {
    "frequency": lambda f: ratio(f.impressions, f.reach),
    "ctr": lambda f: ratio(100 * f.clicks, f.impressions),
    "inline_link_click_ctr": lambda f: ratio(100 * f.links, f.impressions),
    "unique_ctr": lambda f: ratio(100 * f.unique(f.clicks), f.reach),
    "unique_inline_link_click_ctr": lambda f: ratio(100 * f.unique(f.links), f.reach),
    "unique_link_clicks_ctr": lambda f: ratio(100 * f.unique(f.links), f.reach),
    "cpm": lambda f: ratio(1000 * f.spend, f.impressions),
    "cpc": lambda f: ratio(f.spend, f.clicks),
    "cpp": lambda f: ratio(1000 * f.spend, f.reach),
    "cost_per_inline_link_click": lambda f: ratio(f.spend, f.links),
    "cost_per_inline_post_engagement": lambda f: ratio(f.spend, f.clicks),
    "cost_per_unique_click": lambda f: ratio(f.spend, f.unique(f.clicks)),
    "cost_per_unique_inline_link_click": lambda f: ratio(f.spend, f.unique(f.links)),
    "cost_per_estimated_ad_recallers": lambda f: ratio(f.spend, f.reach // 20),
}


class ValueFormat(StrEnum):
    """How the values of an action list are written."""

    COUNT = "count"
    MONEY = "money"
    RATIO = "ratio"
    AVERAGE = "average"
    CURVE = "curve"


_DIVIDED_FORMATS = frozenset({ValueFormat.COUNT, ValueFormat.MONEY})
Entries = tuple[tuple[str, Callable[[Figures], Values]], ...]


@dataclass(frozen=True)
class ActionList:
    """A field that is a list of actions: the format of its values, and the values of all rows by action type."""

    format: ValueFormat
    entries: Entries


@dataclass(frozen=True)
class ActionSplit:
    """How action lists are split: by attribution windows, and by action breakdowns.

    Attributes:
        labels: the action breakdowns but for the type.
        setting: the attribution setting by which the figures were counted.
        breakdowns: fields by which the rows are divided.
    """

    windows: Sequence[str] = ()
    labels: tuple[str, ...] = ()
    setting: str = ADSET_SETTING
    breakdowns: tuple[str, ...] = ()


def action_labels(params: Mapping[str, str], name: str = "action_breakdowns") -> tuple[str, ...]:
    """Return the action breakdowns but for the type, which every entry of a list has.

    Raises:
        GraphError: there is no such breakdown.
    """
    breakdowns = string_list(params.get(name, ""), name)
    for index, breakdown in enumerate(breakdowns):
        if breakdown not in _LABELS:
            values = ", ".join(_LABELS)
            raise bad_parameter(f"{name}[{index}] must be one of the following values: {values}")
    return tuple(breakdown for breakdown in breakdowns if breakdown != "action_type")


def action_lists(action_list: ActionList, figures: Figures, split: ActionSplit) -> list[list[Row] | None]:
    """Return the entries of a list field by row; None where there are none.

    With some breakdowns, the platform does not report actions on the advertiser's own site.
    """
    on_meta_only = not _ON_META_ONLY.isdisjoint({*split.labels, *split.breakdowns})
    entries = [(name, values) for name, values in action_list.entries if not (on_meta_only and _is_off_meta(name))]
    write = _WRITERS[action_list.format]
    shares = _shares(split.windows) if action_list.format in _DIVIDED_FORMATS else []
    parts = _parts(split.labels)
    is_whole = not shares and (len(parts) == 1 or action_list.format not in _DIVIDED_FORMATS)
    rows: list[list[Row]] = [[] for _ in range(figures.size)]
    written: dict[bytes, list[Any]] = {}
    for name, values in entries:
        column = values(figures)
        if is_whole:  # as in nearly every query; aliases of an action have the same values, which are written once
            key = column.tobytes()
            if key not in written:
                written[key] = [write(value) if value else None for value in column.tolist()]
            for row, text in zip(rows, written[key], strict=True):
                if text is not None:
                    row.append({"action_type": name, "value": text})
            continue
        for row, value in zip(rows, column.tolist(), strict=True):
            for labels, part in _divide(value, parts, action_list.format) if value else ():
                entry = {"action_type": name, **labels, "value": write(part)}
                if shares:
                    entry.update((window, write(part * share)) for window, share in shares if int(part * share))
                row.append(entry)
    return [row or None for row in rows]


def _parts(names: Sequence[str]) -> list[tuple[Row, float]]:
    """Return the labels of each part, with its share and those of the parts before it; a card has its id and name."""
    axes: dict[str, list[str]] = {}
    for name in names:
        axes.setdefault(name.removesuffix("_id").removesuffix("_name"), []).append(name)
    counts = [len(_LABELS[axis[0]]) for axis in axes.values()]
    shares = [[*_SHARES[: count - 1], 1 - sum(_SHARES[: count - 1])] for count in counts]
    choices = product(*map(range, counts))
    labels = [
        {name: _LABELS[name][i] for axis, i in zip(axes.values(), at, strict=True) for name in axis} for at in choices
    ]
    ends = accumulate(math.prod(cell) for cell in product(*shares))
    return [(row, round(end, 9)) for row, end in zip(labels, ends, strict=True)]


def _divide(value: float, parts: Sequence[tuple[Row, float]], written_as: ValueFormat) -> Iterator[tuple[Row, float]]:
    """Yield the parts of a count or an amount of money, which add up to it exactly; anything else is undivided."""
    if len(parts) == 1 or written_as not in _DIVIDED_FORMATS:
        yield parts[0][0], value
        return
    units = 1 if written_as is ValueFormat.COUNT else 100
    whole, before = round(value * units), 0
    for labels, until in parts:
        end = int(whole * until)
        if end > before:
            yield labels, (end - before) / units
        before = end


def results(name: str, figures: Figures, goals: Sequence[str | None]) -> list[list[Row] | None]:
    """Return the count or the cost of results by row: of the action that the goal of the row's object names.

    An object without results has the indicator without values, as on the platform; one with several goals has neither.
    """
    counts = {goal: count(figures).tolist() for goal, (_, count) in _RESULTS.items()}
    rows: list[list[Row] | None] = []
    for index, (goal, spend) in enumerate(zip(goals, figures.spend.tolist(), strict=True)):
        count = counts[goal][index] if goal else 0
        value = str(count) if name == "results" or not count else write_ratio(spend / count)
        values = {"values": [{"value": value, "attribution_windows": ["default"]}]} if count else {}
        rows.append([{"indicator": _RESULTS[goal][0], **values}] if goal else None)
    return rows


def _is_off_meta(name: str) -> bool:
    return any(part in name for part in _OFF_META_ACTIONS)


def _shares(windows: Sequence[str]) -> list[tuple[str, float]]:
    return [(name, ATTRIBUTION_SHARES[name]) for name in windows if name in ATTRIBUTION_SHARES]


def _curve(percent: float) -> list[int]:
    """Return the percentage of viewers that are left, second by second."""
    return [max(1, round(percent * 0.8**second)) for second in range(22)]


_WRITERS: dict[ValueFormat, Callable[[float], Any]] = {
    ValueFormat.COUNT: lambda value: str(int(value)),
    ValueFormat.MONEY: lambda value: f"{value:.2f}",
    ValueFormat.RATIO: write_ratio,
    ValueFormat.AVERAGE: lambda value: str(int(value)),
    ValueFormat.CURVE: _curve,
}


def _map(entries: Entries, change: Callable[[Figures, Values], Values]) -> Entries:
    def changed(values: Callable[[Figures], Values]) -> Callable[[Figures], Values]:
        return lambda figures: change(figures, values(figures))

    return tuple((name, changed(values)) for name, values in entries)


def _costs(entries: Entries) -> Entries:
    return _map(entries, lambda figures, counts: ratio(figures.spend, counts))


def _one(name: str, values: Callable[[Figures], Values]) -> Entries:
    return ((name, values),)


def _watched(percent: int) -> Entries:
    return _one("video_view", lambda f: f.views * percent // 100)


# A conversion appears under several aliases, as on the platform: purchase, omni_purchase, offsite_conversion...
_ACTIONS: Entries = (
    ("link_click", lambda f: f.links),
    ("landing_page_view", lambda f: f.landings),
    ("post_engagement", lambda f: f.clicks),
    ("page_engagement", lambda f: f.clicks),
    ("offsite_conversion.fb_pixel_add_to_cart", lambda f: f.carts),
    ("add_to_cart", lambda f: f.carts),
    ("offsite_conversion.fb_pixel_purchase", lambda f: f.purchases),
    ("purchase", lambda f: f.purchases),
    ("omni_purchase", lambda f: f.purchases),
    ("offsite_conversion.fb_pixel_lead", lambda f: f.leads),
    ("lead", lambda f: f.leads),
)
RESULT_FIELDS = frozenset({"results", "cost_per_result"})
_RESULTS: dict[str, tuple[str, Callable[[Figures], Days]]] = {
    "sales": ("actions:offsite_conversion.fb_pixel_purchase", lambda f: f.purchases),
    "leads": ("actions:offsite_conversion.fb_pixel_lead", lambda f: f.leads),
    "traffic": ("actions:link_click", lambda f: f.links),
}
"""The indicator and the number of results by goal."""
_PURCHASES = tuple(name for name, _ in _ACTIONS if "purchase" in name)
_CONTACTS: Entries = (("contact_total", lambda f: f.carts // 2), ("contact_website", lambda f: f.carts // 2))
_OUTBOUND = _one("outbound_click", lambda f: f.outbound)
_UNIQUE_OUTBOUND = _one("outbound_click", lambda f: f.unique(f.outbound))
_UNIQUE = _map(_ACTIONS, lambda figures, counts: figures.unique(counts))
_WATCHED_PERCENT = {
    "video_play_actions": 100,
    "video_continuous_2_sec_watched_actions": 62,
    "video_p25_watched_actions": 55,
    "video_p50_watched_actions": 33,
    "video_15_sec_watched_actions": 24,
    "video_thruplay_watched_actions": 24,
    "video_p75_watched_actions": 21,
    "video_p95_watched_actions": 15,
    "video_p100_watched_actions": 12,
    "video_30_sec_watched_actions": 10,
}
_COST_OF_WATCHED_PERCENT = {
    "cost_per_2_sec_continuous_video_view": 62,
    "cost_per_15_sec_video_view": 24,
    "cost_per_thruplay": 24,
}
_CURVES = (
    "video_play_curve_actions",
    "video_play_retention_0_to_15s_actions",
    "video_play_retention_20_to_60s_actions",
    "video_play_retention_graph_actions",
)
ACTION_LISTS: dict[str, ActionList] = {
    "actions": ActionList(ValueFormat.COUNT, _ACTIONS),
    "cost_per_action_type": ActionList(ValueFormat.RATIO, _costs(_ACTIONS)),
    "unique_actions": ActionList(ValueFormat.COUNT, _UNIQUE),
    "cost_per_unique_action_type": ActionList(ValueFormat.RATIO, _costs(_UNIQUE)),
    "action_values": ActionList(
        ValueFormat.MONEY, tuple((name, lambda f: f.purchases * _PURCHASE_PRICE) for name in _PURCHASES)
    ),
    "conversions": ActionList(ValueFormat.COUNT, _CONTACTS),
    "conversion_values": ActionList(ValueFormat.MONEY, _map(_CONTACTS, lambda _, counts: counts * _CONTACT_VALUE)),
    "cost_per_conversion": ActionList(ValueFormat.RATIO, _costs(_CONTACTS)),
    "outbound_clicks": ActionList(ValueFormat.COUNT, _OUTBOUND),
    "unique_outbound_clicks": ActionList(ValueFormat.COUNT, _UNIQUE_OUTBOUND),
    "outbound_clicks_ctr": ActionList(
        ValueFormat.RATIO, _map(_OUTBOUND, lambda f, counts: ratio(100 * counts, f.impressions))
    ),
    "unique_outbound_clicks_ctr": ActionList(
        ValueFormat.RATIO, _map(_UNIQUE_OUTBOUND, lambda f, counts: ratio(100 * counts, f.reach))
    ),
    "cost_per_outbound_click": ActionList(ValueFormat.RATIO, _costs(_OUTBOUND)),
    "cost_per_unique_outbound_click": ActionList(ValueFormat.RATIO, _costs(_UNIQUE_OUTBOUND)),
    "website_ctr": ActionList(ValueFormat.RATIO, _one("link_click", lambda f: ratio(100 * f.links, f.impressions))),
    "purchase_roas": ActionList(
        ValueFormat.RATIO, _one("omni_purchase", lambda f: ratio(f.purchases * _PURCHASE_PRICE, f.spend))
    ),
    "website_purchase_roas": ActionList(
        ValueFormat.RATIO,
        _one("offsite_conversion.fb_pixel_purchase", lambda f: ratio(f.purchases * _PURCHASE_PRICE, f.spend)),
    ),
    "video_avg_time_watched_actions": ActionList(
        ValueFormat.AVERAGE, _one("video_view", lambda f: (f.views > 0) * (4 + f.views % 9))
    ),
    "video_time_watched_actions": ActionList(ValueFormat.COUNT, _one("video_view", lambda f: f.views * 6)),
    **{name: ActionList(ValueFormat.COUNT, _watched(percent)) for name, percent in _WATCHED_PERCENT.items()},
    **{
        name: ActionList(ValueFormat.RATIO, _costs(_watched(percent)))
        for name, percent in _COST_OF_WATCHED_PERCENT.items()
    },
    **dict.fromkeys(_CURVES, ActionList(ValueFormat.CURVE, _one("video_view", lambda f: (f.views > 0) * 100))),
}
