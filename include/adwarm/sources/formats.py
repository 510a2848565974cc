"""Values of any type in the platform's text form."""

import math
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import orjson

from adwarm.errors import BadRequest

ADDITIVE = ("impressions", "clicks", "inline_link_clicks", "spend")
_COUNTS = frozenset({"impressions", "clicks", "inline_link_clicks", "reach"})
_RATIOS = frozenset({
    "frequency", "ctr", "cpm", "cpc", "cpp", "inline_link_click_ctr", "cost_per_inline_link_click",
})  # fmt: skip
_RATIO_PARTS = {
    "ctr": (100, "clicks", "impressions"),
    "inline_link_click_ctr": (100, "inline_link_clicks", "impressions"),
    "cpm": (1000, "spend", "impressions"),
    "cpc": (1, "spend", "clicks"),
    "cost_per_inline_link_click": (1, "spend", "inline_link_clicks"),
}


def as_number(name: str, value: Any) -> Any:
    """Return a field's value as the platform prints it: text, or a list of actions; None for an absent one.

    Raises:
        BadRequest: a metric is not a number.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)) or value == "":
        return None
    if name not in _COUNTS and name not in _RATIOS and name != "spend":
        return _listed(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise BadRequest(f"column {name} holds {str(value)[:40]!r}, which is not a number") from None
    if name in _COUNTS:
        return str(round(number))
    return f"{number:.2f}" if name == "spend" else f"{number:.6f}"


def as_text(value: Any) -> str:
    """Return an id as text; a whole number read as a float loses its fraction."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def as_day(value: Any) -> str:
    """Return a day as YYYY-MM-DD.

    Raises:
        BadRequest: it is not a day.
    """
    if isinstance(value, datetime):
        return value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    try:
        return date.fromisoformat(str(value)[:10]).isoformat()
    except ValueError:
        raise BadRequest(f"the day column holds {str(value)[:40]!r}; write days as YYYY-MM-DD") from None


def ratios(sums: Mapping[str, float]) -> dict[str, str]:
    """Return the ratios that follow from sums, as the platform prints them."""
    found = {}
    for name, (times, above, below) in _RATIO_PARTS.items():
        if sums.get(below, 0.0) > 0 and sums.get(above, 0.0) > 0:
            found[name] = f"{times * sums[above] / sums[below]:.6f}"
    return found


def _listed(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("["):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value if isinstance(value, list) else as_text(value)
