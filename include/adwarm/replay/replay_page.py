"""Renders a replay's or a review's document as one HTML file that needs no network.

The templates are in `templates/`; plotly's script comes from its wheel and is written into the page. Without plotly the
page has a sentence in the place of each plot that says what to install.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from adwarm.foundation.html_templates import load_templates
from adwarm.foundation.plotting import NO_PLOTLY, has_plotly, load_plotly
from adwarm.replay.headline import HEADLINE_MULTIPLE
from adwarm.replay.policies import BOUNDS

_OURS, _BOUND = "#0b6bcb", "#9aa5b1"
_COLORS = ("#d9480f", "#2b8a3e", "#862e9c", "#c2255c", "#e67700", "#5c940d", "#0c8599", "#495057", "#f06595")
_REVIEW_RESULTS = {
    "kept": "The live kind stays",
    "fell_back": "The population profile takes over at once",
    "proposed": "A better kind is proposed",
}


def render_page(document: dict[str, Any]) -> str:
    """Return the page for the document of a replay (see `adwarm.replay.replay_run.ReplayResult`) or of a review.

    A review's document is a replay's with the key `review` (see `adwarm.replay.review.review_log`).
    """
    policies, review = document["policies"], document.get("review")
    with_probability = [policy for policy in policies if policy["probability"]]
    return (
        _environment()
        .get_template("replay.html")
        .render(
            **{name: document[name] for name in ("log", "rules", "policies", "compared")},
            plot_script=_load_script(),
            headline=document["headline"],
            plans=[policy for policy in policies if policy["as_deployed"]],
            review=review,
            review_result=_REVIEW_RESULTS[review["verdict"]] if review else "",
            curves_plot=_draw(curves_plot, policies),
            savings_plot=_draw(savings_plot, document),
            calibration_plot=_draw(calibration_plot, with_probability) if with_probability else None,
            best=_best_ratios(policies),
            differences=_differences(document["compared"]),
            bounds=BOUNDS,
            is_reference=lambda policy: bool(document["compared"]) and document["compared"]["policy"] == policy["name"],
        )
    )


def _load_script() -> Markup:
    script = load_plotly().offline.get_plotlyjs() if has_plotly() else ""
    return Markup(script)  # noqa: S704 - the script of the plotly wheel


def _draw(plot: Callable[[Any], Markup], data: Any) -> Markup:
    if not has_plotly():
        return Markup("<p><em>{}</em></p>").format(f"Not drawn: {NO_PLOTLY}.")
    return plot(data)


@cache
def _environment() -> Environment:
    environment = load_templates("adwarm.replay")
    environment.filters["number"] = _format_number
    return environment


def _format_number(value: float | None, spec: str, unit: str = "") -> str:
    """Return `value` by a format spec with its unit; a dash for None."""
    return "–" if value is None else f"{value:{spec}}{unit}"


def _row_at_headline(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return next((row for row in rows if row["multiple"] == HEADLINE_MULTIPLE), rows[0])


def _best_ratios(policies: list[dict[str, Any]]) -> list[float]:
    """Return, per multiple, the ratio from which a cell is bold: the best of all policies but the bounds."""
    curves = [policy["read_off_curve"] for policy in policies if policy["name"] not in BOUNDS]
    columns = range(len(policies[0]["read_off_curve"]))
    return [max((curve[n]["first_open_hit_ratio"] for curve in curves), default=1.0) - 1e-12 for n in columns]


def _differences(compared: dict[str, Any] | None) -> list[tuple[str, dict[str, Any]]]:
    """Return each compared policy with the reference policy's advantage over it at twice the calls."""
    against = compared["against"] if compared else {}
    return [(name, _row_at_headline(rows)) for name, rows in against.items() if name not in BOUNDS]


def curves_plot(policies: list[dict[str, Any]]) -> Markup:
    """Return the plot of the first-open hit ratio over calls."""
    figure = load_plotly().graph_objects.Figure()
    for n, policy in enumerate(policies):
        name = policy["name"]
        points = [row for row in policy["curve"] if row["multiple"] <= 8] or policy["curve"][:1]
        few = len(points) < 3
        figure.add_scatter(
            x=[row["multiple"] for row in points],
            y=[row["first_open_hit_ratio"] for row in points],
            name=name,
            mode="lines+markers" if few else "lines",
            line={"color": _color(name, n), "width": 4 if name == "adwarm" else 2, "dash": _dash(name)},
            hovertemplate="%{y:.3f} at %{x:.2f}x<extra>" + name + "</extra>",
        )
    figure.update_xaxes(title="calls, as multiples of warming nothing", range=[0.9, 5.0], ticksuffix="x")
    figure.update_yaxes(title="first-open hit ratio", range=[0, 1.02])
    return _html(figure, 520)


def savings_plot(document: dict[str, Any]) -> Markup:
    """Return the plot of calls made over calls aimed at."""
    figure = load_plotly().graph_objects.Figure()
    targets = document["rules"]["targets"]
    figure.add_scatter(
        x=targets, y=targets, mode="lines", name="as aimed", line={"color": _BOUND, "dash": "dot"}, hoverinfo="skip"
    )
    for n, policy in enumerate(document["policies"]):
        name = policy["name"]
        if name in BOUNDS:
            continue
        figure.add_scatter(
            x=[row["target"] for row in policy["targets"]],
            y=[row["multiple"] for row in policy["targets"]],
            text=[f"{row['first_open_hit_ratio']:.3f}" for row in policy["targets"]],
            name=name,
            mode="lines+markers",
            line={"color": _color(name, n), "width": 3 if name == "adwarm" else 1.5},
            hovertemplate="aimed at %{x:g}x, came to %{y:.2f}x, hit ratio %{text}<extra>" + name + "</extra>",
        )
    figure.update_xaxes(title="calls aimed at", ticksuffix="x")
    figure.update_yaxes(title="calls made", ticksuffix="x", rangemode="tozero")
    return _html(figure, 380)


def calibration_plot(policies: list[dict[str, Any]]) -> Markup:
    """Return the reliability diagram."""
    figure = load_plotly().graph_objects.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="honest", line={"color": _BOUND, "dash": "dot"}, hoverinfo="skip"
    )
    for n, policy in enumerate(policies):
        bins = policy["probability"]["bins"]
        figure.add_scatter(
            x=[row["stated"] for row in bins],
            y=[row["came_true"] for row in bins],
            customdata=[row["cases"] for row in bins],
            name=policy["name"],
            mode="lines+markers",
            line={"color": _color(policy["name"], n)},
            hovertemplate="said %{x:.1%}, came true %{y:.1%} of %{customdata:,} cases<extra></extra>",
        )
    figure.update_xaxes(title="probability stated", range=[0, 1], tickformat=".0%")
    figure.update_yaxes(title="share that came true", range=[0, 1], tickformat=".0%")
    return _html(figure, 440)


def _color(name: str, number: int) -> str:
    if name in BOUNDS:
        return _BOUND
    return _OURS if name == "adwarm" else _COLORS[number % len(_COLORS)]


def _dash(name: str) -> str:
    return "dash" if name in BOUNDS else "solid"


def _html(figure: Any, height: int) -> Markup:
    figure.update_layout(
        height=height,
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
        template="plotly_white",
        legend={"orientation": "v"},
        font={"family": "system-ui, sans-serif", "size": 14},
    )
    # A fixed id for each plot: with plotly's random ids equal replays would give unequal pages.
    number = f"plot-{height}"
    html = figure.to_html(full_html=False, include_plotlyjs=False, div_id=number, config={"displaylogo": False})
    return Markup(html)  # noqa: S704 - plotly escapes names itself
