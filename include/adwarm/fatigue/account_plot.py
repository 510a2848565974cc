"""The page of an account: which ads to act on, how each got there, and the account over time. One HTML file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from markupsafe import Markup

from adwarm.fatigue import plot_style as style
from adwarm.fatigue.recommendation import describe_flags, recommend
from adwarm.fatigue.report import (
    DRIVER_WORDS,
    AccountSummary,
    AdChange,
    describe_time_to_critical,
    is_fatigued,
)
from adwarm.foundation.plotting import load_plotly
from adwarm.foundation.wording import format_count
from adwarm.model import FatigueScore
from adwarm.settings import FatigueSettings
from adwarm.store.score_queries import DaySums
from adwarm.store.scores import StoredScore

PLOT_DAYS: Final = 60
SMALL_PLOTS: Final = 12
_RANKED: Final = 20
_TODO: Final = 5
_COLUMNS: Final = 3


@dataclass(frozen=True, slots=True)
class AccountFigures:
    """What the page of an account shows.

    Attributes:
        title: the account's name or id.
        currency: of its amounts; empty when unknown.
        summary: the account on the day.
        scores: its ads to show, what needs an action first.
        totals: by ad and day, of the first `SMALL_PLOTS` ads that are not simply healthy; of others when all are.
        days: sums of each day.
        changes: what changed since the day before.
        settings: weights and minimums.
    """

    title: str
    currency: str
    summary: AccountSummary
    scores: Sequence[StoredScore]
    totals: Mapping[str, Mapping[date, float | None]]
    days: Sequence[DaySums]
    changes: Sequence[AdChange]
    settings: FatigueSettings


def render_account(figures: AccountFigures) -> str:
    """Return the page of an account."""
    scores = [item.score for item in figures.scores]
    ranked = [score for score in scores if score.total is not None][:_RANKED]
    urgent = [score for score in scores if is_fatigued(score)]
    return style.render(
        "account.html",
        figures=figures,
        heading=_heading(figures, len(urgent)),
        urgent=[(score, recommend(score, figures.settings)) for score in urgent[:_TODO]],
        more_urgent=max(0, len(urgent) - _TODO),
        ranking=_ranking(ranked) if ranked else None,
        ranked=len(ranked),
        small=_small_plots(figures) if figures.totals else None,
        over_time=_over_time(figures) if len(figures.days) > 1 else None,
        rows=[_row(score, figures.settings) for score in scores],
    )


def _heading(figures: AccountFigures, urgent: int) -> str:
    if urgent:
        return f"Act on {format_count(urgent, 'ad')} of {figures.title}"
    warnings = figures.summary.statuses["warning"]
    if warnings:
        return f"Nothing is urgent in {figures.title}; plan new creatives for {format_count(warnings, 'ad')}"
    return f"Nothing to do in {figures.title}"


def _row(score: FatigueScore, settings: FatigueSettings) -> dict[str, Any]:
    return {
        "score": score,
        "driver": DRIVER_WORDS.get(score.driver or "", "–"),
        "critical": describe_time_to_critical(score) or "–",
        "recommendation": recommend(score, settings),
        "flags": ", ".join(describe_flags(score)),
    }


def _ranking(scores: Sequence[FatigueScore]) -> Markup:
    """Return bars of the highest scores, in the order of the table; an alarm is written at the bar."""
    figure = load_plotly().graph_objects.Figure()
    places = [f"{number}" for number in range(len(scores))]
    for status in ("critical", "warning", "healthy"):
        chosen = [(place, score) for place, score in zip(places, scores, strict=True) if score.status == status]
        if not chosen:
            continue
        figure.add_bar(
            y=[place for place, _ in chosen],
            x=[score.total for _, score in chosen],
            orientation="h",
            name=status,
            marker={"color": style.STATUS_COLORS[status]},
            text=[_bar_text(score) for _, score in chosen],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{text}<extra></extra>",
        )
    names = [style.label(score.ad_name, score.ad_id) for score in scores]
    figure.update_yaxes(
        tickmode="array", tickvals=places, ticktext=names, categoryorder="array", categoryarray=places[::-1]
    )
    figure.update_xaxes(title="score, 0 fresh to 100 fatigued", range=[0, 150], tickvals=[0, 30, 60, 100])
    figure.update_layout(bargap=0.35)
    return style.to_html(figure, "ranking", 110 + 30 * len(scores))


def _bar_text(score: FatigueScore) -> str:
    parts = [f"{score.total:.0f}"]
    parts += ["ALARM"] if score.alarm == "alarm" else ["watch"] if score.alarm == "watch" else []
    parts += [DRIVER_WORDS[score.driver]] if score.driver else []
    return " · ".join(parts)


def _small_plots(figures: AccountFigures) -> Markup:
    """Return the score of each ad over time, all with the same axes."""
    by_id = {item.score.ad_id: item.score for item in figures.scores}
    ads = [by_id[ad_id] for ad_id in figures.totals]
    rows = -(-len(ads) // _COLUMNS)
    plots = load_plotly().subplots.make_subplots(
        rows,
        _COLUMNS,
        shared_xaxes=True,
        shared_yaxes=True,
        subplot_titles=[style.label(ad.ad_name, ad.ad_id) for ad in ads],
        vertical_spacing=0.26 / rows,
        horizontal_spacing=0.03,
    )
    end = figures.summary.as_of
    span = [end - timedelta(days=back) for back in range(PLOT_DAYS - 1, -1, -1)]
    for number, ad in enumerate(ads):
        row, column = number // _COLUMNS + 1, number % _COLUMNS + 1
        totals = [figures.totals[ad.ad_id].get(day) for day in span]
        plots.add_scatter(
            x=span,
            y=totals,
            mode="lines",
            line={"color": style.LINE, "width": 2},
            hovertemplate="%{x|%b %d}: %{y:.0f}<extra></extra>",
            row=row,
            col=column,
        )
        style.add_bands(plots, row=row, col=column)
        for day, color in ((ad.onset, style.ONSET), (ad.alarm_since, style.ALARM)):
            if day is not None and day >= span[0]:
                plots.add_vline(day, line={"color": color, "width": 2, "dash": "dot"}, row=row, col=column)
    plots.update_yaxes(range=[0, 100], tickvals=[0, 30, 60, 100])
    plots.update_xaxes(range=[span[0], span[-1]], nticks=4, tickformat="%b %d")
    plots.update_annotations(font={"size": 13})
    return style.to_html(plots, "small-plots", 60 + 170 * rows, legend=False)


def _over_time(figures: AccountFigures) -> Markup:
    """Return the account's score, and the share of its spend in fatigued ads, by day."""
    plots = load_plotly().subplots.make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.12)
    days = [item.day for item in figures.days]
    plots.add_scatter(
        x=days,
        y=[item.score for item in figures.days],
        name="score of the account, weighted by spend",
        mode="lines+markers",
        line={"color": style.LINE, "width": 2},
        marker={"size": 4},
        hovertemplate="%{y:.0f}",
        row=1,
        col=1,
    )
    style.add_bands(plots, row=1, col=1)
    plots.add_scatter(
        x=days,
        y=[item.fatigued_share for item in figures.days],
        name="share of spend in fatigued ads",
        mode="lines+markers",
        line={"color": style.STATUS_COLORS["critical"], "width": 2},
        marker={"size": 4},
        customdata=[[item.fatigued, item.ads] for item in figures.days],
        hovertemplate="%{y:.0%}, %{customdata[0]} of %{customdata[1]} ads",
        row=2,
        col=1,
    )
    plots.update_yaxes(title="score", range=[0, 100], tickvals=[0, 30, 60, 100], row=1, col=1)
    plots.update_yaxes(title="share of spend", rangemode="tozero", tickformat=".0%", row=2, col=1)
    plots.update_xaxes(tickformat="%b %d")
    return style.to_html(plots, "over-time", 430)
