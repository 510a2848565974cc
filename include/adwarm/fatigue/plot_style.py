"""What the plots of fatigue share: colors, the shape of a figure, and the page around it, which needs no network."""

import html
from functools import cache
from typing import Any, Final

from jinja2 import Environment
from markupsafe import Markup

from adwarm.fatigue.score import HEALTHY_UP_TO, WARNING_UP_TO
from adwarm.foundation.html_templates import load_templates
from adwarm.foundation.plotting import load_plotly

STATUS_COLORS: Final = {"healthy": "#2b8a3e", "warning": "#e67700", "critical": "#c92a2a", "pending": "#868e96"}
COMPONENT_COLORS: Final = {"creative": "#1971c2", "audience": "#9c36b5", "algorithm": "#5c940d"}
LINE, USUAL, INTERVAL, ALARM, ONSET = "#1f2933", "#1971c2", "rgba(25,113,194,.14)", "#c92a2a", "#e67700"
_BANDS: Final = (
    (0, HEALTHY_UP_TO, "rgba(43,138,62,.07)"),
    (HEALTHY_UP_TO, WARNING_UP_TO, "rgba(230,119,0,.08)"),
    (WARNING_UP_TO, 100, "rgba(201,42,42,.08)"),
)
_NAME_LENGTH: Final = 34


def render(template: str, **values: Any) -> str:
    """Return a page of the folder `templates`, with plotly's script inside.

    Raises:
        BadRequest: plotly is not installed.
    """
    script = Markup(load_plotly().offline.get_plotlyjs())  # noqa: S704 - the script of the plotly wheel
    return _environment().get_template(template).render(plot_script=script, **values)


@cache
def _environment() -> Environment:
    environment = load_templates("adwarm.fatigue")
    environment.filters["number"] = format_number
    return environment


def format_number(value: float | None, spec: str, unit: str = "") -> str:
    """Return `value` by a format spec with its unit; a dash for None."""
    return "–" if value is None else f"{value:{spec}}{unit}"


def label(name: str, ad_id: str) -> str:
    """Return a name of an ad as plotly shows it: on one line, without markup of its own, a long one without its middle.

    Names of the ads of an account often differ at their end only.
    """
    text = " ".join(name.split()) or ad_id
    half = _NAME_LENGTH // 2
    short = text if len(text) <= _NAME_LENGTH else f"{text[:half]}…{text[-half:]}"
    return html.escape(short, quote=False)


def add_bands(figure: Any, **position: Any) -> None:
    """Color the bands of the statuses behind a plot of scores."""
    for low, high, color in _BANDS:
        figure.add_hrect(low, high, fillcolor=color, line_width=0, layer="below", **position)


def to_html(figure: Any, name: str, height: int, *, legend: bool = True) -> Markup:
    """Return a figure for a page; `name` is its id, which is fixed so that equal data gives an equal page."""
    figure.update_layout(
        height=height,
        margin={"l": 60, "r": 20, "t": 30, "b": 40},
        template="plotly_white",
        showlegend=legend,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        font={"family": "system-ui, sans-serif", "size": 14, "color": LINE},
        hovermode="x unified" if legend else "closest",
    )
    text = figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config={"displaylogo": False})
    return Markup(text)  # noqa: S704 - plotly escapes the data; names are escaped by `label`
