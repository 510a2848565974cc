"""The page of an ad: what to do, and the daily figures behind it. One HTML file."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from markupsafe import Markup

from adwarm.fatigue import plot_style as style
from adwarm.fatigue.ad_days import AdDay
from adwarm.fatigue.recommendation import describe_flags, recommend
from adwarm.fatigue.report import describe_time_to_critical
from adwarm.foundation.plotting import load_plotly
from adwarm.model import FatigueScore
from adwarm.settings import FatigueSettings
from adwarm.store.scores import StoredScore

_COMPONENTS: Final = ("creative", "audience", "algorithm")
_MEANINGS: Final = {
    "creative": "lost click-through rate",
    "audience": "how often one person saw it",
    "algorithm": "increased price",
}


@dataclass(frozen=True, slots=True)
class AdFigures:
    """What the page of an ad shows.

    Attributes:
        title: the account's name or id.
        currency: of its amounts; empty when unknown.
        history: its scores, oldest first; at least one.
        days: its stored days, oldest first.
        settings: weights and minimums.
    """

    title: str
    currency: str
    history: Sequence[StoredScore]
    days: Sequence[AdDay]
    settings: FatigueSettings


@dataclass(frozen=True, slots=True)
class _Day:
    """A row of the table: a day's delivery with the score as of that day, where there is one."""

    day: date
    delivery: AdDay | None
    score: FatigueScore | None


def render_ad(figures: AdFigures) -> str:
    """Return the page of an ad."""
    newest = figures.history[-1].score
    days = _merge(figures)
    return style.render(
        "ad.html",
        figures=figures,
        score=newest,
        stored=figures.history[-1],
        heading=recommend(newest, figures.settings),
        critical=describe_time_to_critical(newest),
        flags=describe_flags(newest),
        components=[(name, getattr(newest, name), _MEANINGS[name]) for name in _COMPONENTS],
        clicks_plot=_clicks_plot(days, newest),
        score_plot=_score_plot(days, newest),
        delivery_plot=_delivery_plot(days, figures.currency),
        days=days[::-1],
    )


def _merge(figures: AdFigures) -> list[_Day]:
    delivered = {item.day: item for item in figures.days}
    scored = {item.score.as_of: item.score for item in figures.history}
    return [_Day(day, delivered.get(day), scored.get(day)) for day in sorted({*delivered, *scored})]


def _mark(figure: Any, score: FatigueScore, row: int = 1, *, text: bool = True) -> None:
    """Draw the onset and the alarm as vertical lines; their texts stand above the plot, left and right of the lines."""
    marks = (
        (score.onset, style.ONSET, "decline began about here", "top left"),
        (score.alarm_since, style.ALARM, "alarm", "top right"),
    )
    for day, color, words, position in marks:
        if day is not None:
            note = {"annotation_text": words, "annotation_position": position} if text else {}
            line = {"color": color, "width": 2, "dash": "dot"}
            figure.add_vline(f"{day}", line=line, row=row, col=1, **note)


def _set_span(figure: Any, days: Sequence[_Day]) -> None:
    """Let every plot of the page show the same days, so that they can be compared."""
    margin = timedelta(days=1)
    figure.update_xaxes(tickformat="%b %d", range=[days[0].day - margin, days[-1].day + margin])


def _clicks_plot(days: Sequence[_Day], score: FatigueScore) -> Markup:
    figure = load_plotly().subplots.make_subplots(1, 1)
    delivered = [item.delivery for item in days if item.delivery is not None]
    with_interval = [(item.day, item.interval) for item in delivered if item.interval is not None]
    for edge, fill in ((1, None), (0, "tonexty")):
        figure.add_scatter(
            x=[day for day, _ in with_interval],
            y=[interval[edge] for _, interval in with_interval],
            mode="lines",
            line={"width": 0},
            fill=fill,
            fillcolor=style.INTERVAL,
            name="range of 95 in 100 healthy days",
            showlegend=edge == 0,
            hoverinfo="skip",
        )
    figure.add_scatter(
        x=[item.day for item in delivered],
        y=[item.expected for item in delivered],
        name="expected of the healthy ad",
        mode="lines",
        line={"color": style.USUAL, "width": 2},
        hovertemplate="%{y:.2%}",
    )
    figure.add_scatter(
        x=[item.day for item in delivered],
        y=[item.ctr for item in delivered],
        name="click-through rate of the day",
        mode="lines+markers",
        line={"color": style.LINE, "width": 1},
        marker={"size": 6, "color": style.LINE},
        hovertemplate="%{y:.2%}",
    )
    _mark(figure, score)
    figure.update_yaxes(title="click-through rate", rangemode="tozero", tickformat=".2~%")
    _set_span(figure, days)
    return style.to_html(figure, "clicks", 400)


def _score_plot(days: Sequence[_Day], score: FatigueScore) -> Markup:
    figure = load_plotly().subplots.make_subplots(1, 1)
    scored = [item.score for item in days if item.score is not None]
    x = [item.as_of for item in scored]
    for name, dash in zip(_COMPONENTS, ("dash", "dot", "dashdot"), strict=True):
        figure.add_scatter(
            x=x,
            y=[getattr(item, name) for item in scored],
            name=f"{name} ({_MEANINGS[name]})",
            mode="lines",
            line={"color": style.COMPONENT_COLORS[name], "width": 1.5, "dash": dash},
            hovertemplate="%{y:.0f}",
        )
    figure.add_scatter(
        x=x,
        y=[item.total for item in scored],
        name="score",
        mode="lines+markers",
        line={"color": style.LINE, "width": 3},
        marker={"size": 5},
        hovertemplate="%{y:.0f}",
    )
    style.add_bands(figure, row=1, col=1)
    _mark(figure, score, text=False)
    for level, name in ((15, "healthy"), (45, "warning"), (80, "critical")):
        figure.add_annotation(
            x=1, xref="paper", xanchor="right", y=level, text=name, showarrow=False,
            font={"color": style.STATUS_COLORS[name], "size": 12},
        )  # fmt: skip
    figure.update_yaxes(title="0 fresh, 100 fatigued", range=[0, 102], tickvals=[0, 30, 60, 100])
    _set_span(figure, days)
    return style.to_html(figure, "score", 380)


def _delivery_plot(days: Sequence[_Day], currency: str) -> Markup:
    figure = load_plotly().subplots.make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.1)
    x = [item.day for item in days]
    series: tuple[tuple[str, list[Any], str, str], ...] = (
        (
            "times one person saw it in seven days",
            [None if item.score is None else item.score.baseline.get("frequency") for item in days],
            style.COMPONENT_COLORS["audience"],
            "%{y:.1f}",
        ),
        (
            f"price of a thousand impressions{f' ({currency})' if currency else ''}",
            [None if item.delivery is None else item.delivery.cpm for item in days],
            style.COMPONENT_COLORS["algorithm"],
            "%{y:,.2f}",
        ),
    )
    for number, (name, values, color, pattern) in enumerate(series, 1):
        figure.add_scatter(
            x=x,
            y=values,
            name=name,
            mode="lines+markers",
            line={"color": color, "width": 2},
            marker={"size": 4},
            hovertemplate=pattern,
            row=number,
            col=1,
        )
        figure.update_yaxes(title=("frequency", "price")[number - 1], rangemode="tozero", row=number, col=1)
    _set_span(figure, days)
    return style.to_html(figure, "delivery", 430)
