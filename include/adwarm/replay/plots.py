"""The report's plots. The script comes out of the plotly wheel, once, and is written into the page."""

from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from adwarm.replay.policies import BOUNDS

_OURS, _BOUND = "#0b6bcb", "#9aa5b1"
_COLOURS = ("#d9480f", "#2b8a3e", "#862e9c", "#c2255c", "#e67700", "#5c940d", "#0c8599", "#495057", "#f06595")


def plot_script() -> str:
    """Return plotly's script."""
    return str(get_plotlyjs())


def curves_plot(policies: list[dict[str, Any]]) -> str:
    """Return the plot of first-open hit ratio over calls."""
    figure = go.Figure()
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


def savings_plot(document: dict[str, Any]) -> str:
    """Return the plot of achieved against aimed-at calls."""
    figure = go.Figure()
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


def calibration_plot(policies: list[dict[str, Any]]) -> str:
    """Return the reliability diagram."""
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="honest", line={"color": _BOUND, "dash": "dot"}, hoverinfo="skip"
    )
    for n, policy in enumerate(policies):
        bins = policy["probability"]["bins"]
        figure.add_scatter(
            x=[found["stated"] for found in bins],
            y=[found["came_true"] for found in bins],
            customdata=[found["cases"] for found in bins],
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
    return _OURS if name == "adwarm" else _COLOURS[number % len(_COLOURS)]


def _dash(name: str) -> str:
    return "dash" if name in BOUNDS else "solid"


def _html(figure: Any, height: int) -> str:
    figure.update_layout(
        height=height,
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
        template="plotly_white",
        legend={"orientation": "v"},
        font={"family": "system-ui, sans-serif", "size": 14},
    )
    # A name of its own for each plot, else equal replays would give unequal pages.
    number = f"plot-{height}"
    return str(figure.to_html(full_html=False, include_plotlyjs=False, div_id=number, config={"displaylogo": False}))
