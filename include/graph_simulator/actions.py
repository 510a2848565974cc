"""Lists of actions: entries by type, split by attribution windows, and labeled by action breakdowns.

A list is a form (how its values are written) and, for each type of action, the values of all rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy.typing as npt

from graph_simulator.errors import bad_parameter
from graph_simulator.figures import Figures, over
from graph_simulator.parameter_values import word_list

Row = dict[str, Any]
Values = npt.NDArray[Any]
Entries = tuple[tuple[str, Callable[[Figures], Values]], ...]
ATTRIBUTION_SHARES = {"1d_click": 0.72, "7d_click": 0.94, "28d_click": 1.0, "1d_view": 0.06, "1d_ev": 0.03}
RETIRED_WINDOWS = frozenset({"7d_view", "28d_view", "inline", "default", "dda", "incrementality"})
_LABELS = {
    "action_type": "",
    "action_target_id": "108000000000001",
    "action_destination": "108000000000001",
    "action_device": "iphone",
    "action_reaction": "like",
    "action_video_sound": "sound_on",
    "action_video_type": "total",
}
_OFF_SITE = frozenset({"action_target_id", "action_destination"})
_ON_THE_SITE = ("landing_page_view", "add_to_cart", "purchase", "contact")
_PRICE, _CONTACT = 49.90, 12.0


class Form(StrEnum):
    """How the values of a list are written."""

    COUNT = "count"
    MONEY = "money"
    RATIO = "ratio"
    AVERAGE = "average"
    CURVE = "curve"


@dataclass(frozen=True)
class Listing:
    """One field that is a list of actions."""

    form: Form
    entries: Entries


@dataclass(frozen=True)
class Split:
    """How the entries of lists are split: by attribution windows, and labeled by action breakdowns."""

    windows: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


def labels_of(params: Mapping[str, str], name: str = "action_breakdowns") -> dict[str, str]:
    """Return what the action breakdowns of a question add to each entry.

    Raises:
        GraphError: there is no such breakdown.
    """
    wanted = word_list(params.get(name, ""), name)
    for place, word in enumerate(wanted):
        if word not in _LABELS:
            raise bad_parameter(f"{name}[{place}] must be one of the following values: {', '.join(_LABELS)}")
    return {word: _LABELS[word] for word in wanted if word != "action_type"}


def listed(listing: Listing, figures: Figures, split: Split) -> list[list[Row] | None]:
    """Return the list of each row; None where it would be empty.

    Broken down by target or destination, what happens on the advertiser's own site is not reported.
    """
    narrow = not _OFF_SITE.isdisjoint(split.labels)
    chosen = [(name, values) for name, values in listing.entries if not (narrow and _is_on_the_site(name))]
    write = _WRITERS[listing.form]
    shares = _shares(split.windows) if listing.form in {Form.COUNT, Form.MONEY} else []
    rows: list[list[Row]] = [[] for _ in range(figures.size)]
    for name, values in chosen:
        for row, value in zip(rows, values(figures).tolist(), strict=True):
            if value:
                entry = {"action_type": name, **split.labels, "value": write(value)}
                if shares:
                    entry.update((window, write(value * share)) for window, share in shares if int(value * share))
                row.append(entry)
    return [row or None for row in rows]


def _is_on_the_site(name: str) -> bool:
    return any(part in name for part in _ON_THE_SITE)


def _shares(windows: Sequence[str]) -> list[tuple[str, float]]:
    return [(name, ATTRIBUTION_SHARES[name]) for name in windows if name in ATTRIBUTION_SHARES]


def _curve(percent: float) -> list[int]:
    """Return how many percent are still watching, second by second."""
    return [max(1, round(percent * 0.8**second)) for second in range(22)]


_WRITERS: dict[Form, Callable[[float], Any]] = {
    Form.COUNT: lambda value: str(int(value)),
    Form.MONEY: lambda value: f"{value:.2f}",
    Form.RATIO: lambda value: f"{value:.6f}",
    Form.AVERAGE: lambda value: str(int(value)),
    Form.CURVE: _curve,
}
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
)
_PURCHASES = tuple(name for name, _ in _ACTIONS if "purchase" in name)
_CONTACTS: Entries = (("contact_total", lambda f: f.carts // 2), ("contact_website", lambda f: f.carts // 2))


def _each(entries: Entries, change: Callable[[Figures, Values], Values]) -> Entries:
    def changed(values: Callable[[Figures], Values]) -> Callable[[Figures], Values]:
        return lambda figures: change(figures, values(figures))

    return tuple((name, changed(values)) for name, values in entries)


def _costs(entries: Entries) -> Entries:
    return _each(entries, lambda figures, counts: over(figures.spend, counts))


def _one(name: str, values: Callable[[Figures], Values]) -> Entries:
    return ((name, values),)


def _watched(percent: int) -> Entries:
    return _one("video_view", lambda f: f.views * percent // 100)


_OUTBOUND, _UNIQUE_OUTBOUND = (
    _one("outbound_click", lambda f: f.outbound),
    _one("outbound_click", lambda f: f.unique(f.outbound)),
)
_UNIQUE = _each(_ACTIONS, lambda figures, counts: figures.unique(counts))
_WATCHED = {
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
_COSTS_OF_VIEWS = {
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
LISTINGS: dict[str, Listing] = {
    "actions": Listing(Form.COUNT, _ACTIONS),
    "cost_per_action_type": Listing(Form.RATIO, _costs(_ACTIONS)),
    "unique_actions": Listing(Form.COUNT, _UNIQUE),
    "cost_per_unique_action_type": Listing(Form.RATIO, _costs(_UNIQUE)),
    "action_values": Listing(Form.MONEY, tuple((name, lambda f: f.purchases * _PRICE) for name in _PURCHASES)),
    "conversions": Listing(Form.COUNT, _CONTACTS),
    "conversion_values": Listing(Form.MONEY, _each(_CONTACTS, lambda _, counts: counts * _CONTACT)),
    "cost_per_conversion": Listing(Form.RATIO, _costs(_CONTACTS)),
    "outbound_clicks": Listing(Form.COUNT, _OUTBOUND),
    "unique_outbound_clicks": Listing(Form.COUNT, _UNIQUE_OUTBOUND),
    "outbound_clicks_ctr": Listing(Form.RATIO, _each(_OUTBOUND, lambda f, n: over(100 * n, f.impressions))),
    "unique_outbound_clicks_ctr": Listing(Form.RATIO, _each(_UNIQUE_OUTBOUND, lambda f, n: over(100 * n, f.reach))),
    "cost_per_outbound_click": Listing(Form.RATIO, _costs(_OUTBOUND)),
    "cost_per_unique_outbound_click": Listing(Form.RATIO, _costs(_UNIQUE_OUTBOUND)),
    "website_ctr": Listing(Form.RATIO, _one("link_click", lambda f: over(100 * f.links, f.impressions))),
    "purchase_roas": Listing(Form.RATIO, _one("omni_purchase", lambda f: over(f.purchases * _PRICE, f.spend))),
    "website_purchase_roas": Listing(
        Form.RATIO, _one("offsite_conversion.fb_pixel_purchase", lambda f: over(f.purchases * _PRICE, f.spend))
    ),
    "video_avg_time_watched_actions": Listing(
        Form.AVERAGE, _one("video_view", lambda f: (f.views > 0) * (4 + f.views % 9))
    ),
    "video_time_watched_actions": Listing(Form.COUNT, _one("video_view", lambda f: f.views * 6)),
    **{name: Listing(Form.COUNT, _watched(percent)) for name, percent in _WATCHED.items()},
    **{name: Listing(Form.RATIO, _costs(_watched(percent))) for name, percent in _COSTS_OF_VIEWS.items()},
    **dict.fromkeys(_CURVES, Listing(Form.CURVE, _one("video_view", lambda f: (f.views > 0) * 100))),
}
