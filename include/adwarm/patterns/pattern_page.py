"""Renders access patterns as one HTML page that needs no network and runs no script. The template escapes all names."""

from functools import cache
from typing import Any

from jinja2 import Environment

from adwarm.foundation.html_templates import load_templates
from adwarm.model import ALL_ACCOUNTS, WEEKDAYS
from adwarm.patterns.hour_ranges import SHORT_DAYS, format_time
from adwarm.patterns.pattern_document import describe_title, describe_zones, heat_levels

LEVELS = 8
_LEFT, _TOP, _WIDTH, _HEIGHT = 46, 22, 34, 30
_DARK_TEXT_LEVEL = 5
"""Cells of this level and above are dark on a light page, so that their marks are light."""


def render_page(document: dict[str, Any]) -> str:
    """Return the page for a document of `pattern_document.describe_profiles`."""
    return (
        _environment()
        .get_template("patterns.html")
        .render(
            document=document,
            title=describe_title(document),
            is_fleet=document["account_id"] == ALL_ACCOUNTS,
            zones=describe_zones(document["time_zones"], limit=12),
            cells=_cells(document),
            weekdays=WEEKDAYS,
            short_days=SHORT_DAYS,
            rates=[document["rate"][day * 24 : day * 24 + 24] for day in range(7)],
            geometry={"left": _LEFT, "top": _TOP, "width": _WIDTH, "height": _HEIGHT},
            levels=LEVELS,
        )
    )


@cache
def _environment() -> Environment:
    environment = load_templates("adwarm.patterns")
    environment.filters["number"] = lambda value, spec=",": f"{value:{spec}}"
    return environment


def _cells(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return position, level, mark and description of each cell of the heat map."""
    busy, peak, quiet = (set(document[name]) for name in ("busy_hours", "peak_hours", "quiet_hours"))
    levels = heat_levels(document["rate"], LEVELS)
    cells = []
    for hour, rate in enumerate(document["rate"]):
        kind = "peak" if hour in peak else "quiet" if hour in quiet else "busy" if hour in busy else ""
        weeks = f"in {document['active_weeks'][hour]} of {document['observed'][hour]:.0f} weeks"
        cells.append({
            "x": _LEFT + hour % 24 * _WIDTH,
            "y": _TOP + hour // 24 * _HEIGHT,
            "level": levels[hour],
            "mark": {"peak": "\u25cf", "quiet": "\u00b7"}.get(kind, ""),
            "is_dark": levels[hour] >= _DARK_TEXT_LEVEL,
            "text": f"{WEEKDAYS[hour // 24]} {format_time(hour)}: {rate:,.3g} first opens per hour, {weeks}"
            + (f", {kind} hour" if kind else ""),
        })
    return cells
