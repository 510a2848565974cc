"""The simulated week as one HTML page that needs no network."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from adwarm.model import Priority

if TYPE_CHECKING:
    from .week import Step, WeekScenario

COLOURS = {
    Priority.CRITICAL: "#c92a2a",
    Priority.HIGH: "#e67700",
    Priority.NORMAL: "#1971c2",
    Priority.LOW: "#868e96",
}
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 1080px; margin: 0 auto; padding: 24px; }
h1 { font-size: 26px; margin-bottom: 4px; } h2 { font-size: 20px; margin: 36px 0 4px; } p { margin: 6px 0; }
table { border-collapse: collapse; font-size: 15px; } th, td { text-align: right; padding: 5px 12px; }
th { color: #52606d; font-weight: 600; } tr { border-bottom: 1px solid #e0e4e8; }
th:first-child, td:first-child { text-align: left; } .quiet { color: #616e7c; } .lead { font-size: 18px; }
"""


def week_page(summary: dict[str, Any], steps: Sequence["Step"], plan: "WeekScenario") -> str:
    """Return the page."""
    done = [step for step in steps if step.slots]
    parts = [_opening(summary), _table(summary)]
    for title, words, plot in _SECTIONS:
        parts.append(f"<h2>{title}</h2><p>{words}</p>{plot(done, plan)}")
    body = "\n".join(parts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A simulated week of back-pressure</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style>'
        f"<script>{get_plotlyjs()}</script></head><body>{body}</body></html>\n"
    )


def _opening(summary: dict[str, Any]) -> str:
    return (
        "<h1>One budget for every worker, for a week</h1>"
        f"<p class=quiet>Simulated: {summary['accounts']:,} accounts, one app with {summary['app_calls']:,} calls an "
        f"hour, {summary['deaths']} workers killed; seed {summary['seed']}, trace {summary['digest']}</p>"
        f"<p class=lead>{summary['calls']:,} calls: <b>{summary['over_limit']}</b> over a limit, "
        f"<b>{summary['early']}</b> to a parked account. Where the quota was short, "
        f"{summary['busy_usage']:.0f} % of it was in use on average; calls nobody waits for stop at 90 %.</p>"
    )


def _table(summary: dict[str, Any]) -> str:
    rows = []
    for name, found in summary["classes"].items():
        waits = found["waits"]
        cells = [
            found["asked"],
            found.get("completed", 0),
            found.get("expired", 0),
            found.get("shed", 0),
            found.get("failed", 0),
            found["refused"],
        ]
        spans = [_span(waits[len(waits) * q // 100]) if waits else "-" for q in (50, 95)]
        rows.append(
            f"<tr><td>{name}</td>{''.join(f'<td>{cell:,}</td>' for cell in cells)}"
            f"{''.join(f'<td>{span}</td>' for span in spans)}</tr>"
        )
    head = ("class", "asked for", "completed", "expired", "shed", "failed", "refused", "median wait", "p95 wait")
    return f"<table><tr>{''.join(f'<th>{word}</th>' for word in head)}</tr>{''.join(rows)}</table>"


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _concurrency(steps: Sequence["Step"], plan: "WeekScenario") -> str:
    figure = go.Figure()
    hours = [step.hours for step in steps]
    means = [sum(step.in_flight) / max(1, len(step.in_flight)) for step in steps]
    figure.add_scatter(x=hours, y=[step.limit for step in steps], name="limit", line={"color": "#adb5bd", "width": 1.5})
    figure.add_scatter(
        x=hours, y=[step.slots for step in steps], name="platform", line={"color": "#2b8a3e", "dash": "dot"}
    )
    figure.add_scatter(x=hours, y=means, name="in flight", line={"color": "#1971c2", "width": 2})
    figure.update_yaxes(title="calls", rangemode="tozero")
    return _html(figure, plan)


def _usage(steps: Sequence["Step"], plan: "WeekScenario") -> str:
    figure = go.Figure()
    figure.add_scatter(
        x=[step.hours for step in steps],
        y=[step.usage for step in steps],
        name="used",
        line={"color": "#1971c2"},
        fill="tozeroy",
        fillcolor="rgba(25, 113, 194, .12)",
        showlegend=False,
    )
    figure.add_hline(y=90, line={"color": "#c92a2a", "dash": "dash", "width": 1}, annotation_text="90 %")
    figure.update_yaxes(title="percent used", range=[0, 104])
    return _html(figure, plan)


def _waits(steps: Sequence["Step"], plan: "WeekScenario", steps_an_hour: int = 6) -> str:
    figure = go.Figure()
    for priority in Priority:
        hours, values = [], []
        for first in range(0, len(steps) - steps_an_hour + 1, steps_an_hour):
            part = steps[first : first + steps_an_hour]
            waits = sorted(wait for step in part for wait in step.waits[priority])
            hours.append(part[0].hours)
            values.append(max(0.1, waits[int(0.95 * (len(waits) - 1))]) if waits else None)
        figure.add_scatter(x=hours, y=values, name=priority.name.lower(), line={"color": COLOURS[priority], "width": 2})
    figure.update_yaxes(
        title="p95 wait",
        type="log",
        tickvals=[0.1, 1, 10, 60, 600],
        ticktext=["0.1 s", "1 s", "10 s", "1 min", "10 min"],
    )
    return _html(figure, plan)


def _queue(steps: Sequence["Step"], plan: "WeekScenario") -> str:
    figure = go.Figure()
    for priority in reversed(Priority):
        figure.add_scatter(
            x=[step.hours for step in steps],
            y=[step.pending.get(priority, 0) for step in steps],
            stackgroup="one",
            name=priority.name.lower(),
            line={"color": COLOURS[priority], "width": 0.5},
        )
    figure.update_yaxes(title="pending", rangemode="tozero")
    return _html(figure, plan)


def _html(figure: go.Figure, plan: "WeekScenario") -> str:
    stretches = (
        (plan.outage, "outage", "#c92a2a"),
        (plan.slow, "half as fast", "#e67700"),
        (plan.backfill, "backfill", "#868e96"),
    )
    for (start, end), name, colour in stretches:
        if start < plan.days * 86_400:
            figure.add_vrect(
                x0=start / 3_600,
                x1=end / 3_600,
                fillcolor=colour,
                opacity=0.13,
                line_width=0,
                annotation_text=name,
                annotation_position="top left",
                annotation_font_size=12,
            )
    days = range(max(1, int(plan.days)))
    figure.update_xaxes(
        tickvals=[24 * day for day in days], ticktext=[DAYS[day % 7] for day in days], range=[0, 24 * plan.days]
    )
    figure.update_layout(
        height=340,
        margin={"l": 70, "r": 20, "t": 30, "b": 30},
        template="plotly_white",
        hovermode="x unified",
        legend={"orientation": "h", "y": 1.12, "x": 1, "xanchor": "right"},
    )
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config={"displayModeBar": False}))


_SECTIONS = (
    (
        "Calls in flight",
        (
            "Mean of each ten minutes, under the fleet's adaptive limit, and what the platform can work on. The "
            "limit gives way where the platform gets slow."
        ),
        _concurrency,
    ),
    (
        "Use of the app's quota",
        (
            "Percent of the rolling hour, as the platform's headers tell it. Above 75 % the rate is chosen so that the "
            "quota lasts; calls nobody waits for stop at 90 %."
        ),
        _usage,
    ),
    (
        "Waits by class",
        (
            "From the request to its call, 95th percentile of each hour. The urgent never wait behind the patient, "
            "also while a backfill fills the queue."
        ),
        _waits,
    ),
    ("The queue", "Requests that wait, by class. When it is full the lowest class makes room.", _queue),
)
