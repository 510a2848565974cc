"""The simulated week as one HTML page that needs no network."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from adwarm.foundation.charts import Axis, Curve, Point, make_axis, xy_chart
from adwarm.model import Priority

if TYPE_CHECKING:
    from .week import Step, WeekScenario

KINDS = {Priority.CRITICAL: "c1", Priority.HIGH: "c5", Priority.NORMAL: "c2", Priority.LOW: "c6"}
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 1080px; margin: 0 auto; padding: 24px; }
h1 { font-size: 26px; margin-bottom: 4px; } h2 { font-size: 20px; margin: 36px 0 4px; } p { margin: 6px 0; }
table { border-collapse: collapse; font-size: 15px; } th, td { text-align: right; padding: 5px 12px; }
th { color: #52606d; font-weight: 600; } tr { border-bottom: 1px solid #e0e4e8; }
th:first-child, td:first-child { text-align: left; } .quiet { color: #616e7c; } .lead { font-size: 18px; }
.chart { display: block; width: 100%; } .chart text { fill: #52606d; font-size: 12px; }
.chart .end { text-anchor: end; } .chart .middle { text-anchor: middle; } .chart .grid { stroke: #e0e4e8; }
.chart .line { fill: none; stroke: var(--color); stroke-width: 1.5; } .chart .dashed { stroke-dasharray: 6 5; }
.chart .thick { stroke-width: 6; } .legend { display: flex; gap: 20px; list-style: none; padding: 0; }
.key { display: inline-block; width: 12px; height: 12px; margin-right: 6px; background: var(--color); }
.c1 { --color: #c92a2a; } .c2 { --color: #1971c2; } .c3 { --color: #2b8a3e; } .c5 { --color: #e67700; }
.c6 { --color: #868e96; }
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
        f"</head><body>{body}</body></html>\n"
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


def _curve(name: str, steps: Sequence["Step"], values: Iterable[float], kind: str) -> Curve:
    return Curve(name, [Point(step.hours, value) for step, value in zip(steps, values, strict=True)], kind)


def _concurrency(steps: Sequence["Step"], plan: "WeekScenario") -> str:
    means = [sum(step.in_flight) / max(1, len(step.in_flight)) for step in steps]
    curves = [
        _curve("limit", steps, [step.limit for step in steps], "c6"),
        _curve("platform", steps, [step.slots for step in steps], "c3 dashed"),
        _curve("in flight", steps, means, "c2"),
    ]
    return _draw(curves, make_axis("calls", max(point.y for curve in curves for point in curve.points)), plan)


def _usage(steps: Sequence["Step"], plan: "WeekScenario") -> str:
    limit = _curve("90 %", steps, [90] * len(steps), "c1 dashed")
    used = _curve("used", steps, [step.usage for step in steps], "c2")
    return _draw([limit, used], make_axis("percent used", 100), plan)


def _waits(steps: Sequence["Step"], plan: "WeekScenario", steps_an_hour: int = 6) -> str:
    """Return the waits on a logarithmic axis; an hour in which nothing waited has no point."""
    curves = []
    for priority in Priority:
        points = []
        for first in range(0, len(steps) - steps_an_hour + 1, steps_an_hour):
            part = steps[first : first + steps_an_hour]
            waits = sorted(wait for step in part for wait in step.waits[priority])
            if waits:
                points.append(Point(part[0].hours, math.log10(max(0.1, waits[int(0.95 * (len(waits) - 1))]))))
        curves.append(Curve(priority.name.lower(), points, KINDS[priority]))
    marks = ((0.1, "0.1 s"), (1, "1 s"), (10, "10 s"), (60, "1 min"), (600, "10 min"), (7200, "2 h"))
    return _draw(curves, Axis("p95 wait", [(math.log10(seconds), text) for seconds, text in marks]), plan)


def _queue(steps: Sequence["Step"], plan: "WeekScenario") -> str:
    curves, sums = [], [0.0] * len(steps)
    for priority in reversed(Priority):
        sums = [total + step.pending.get(priority, 0) for total, step in zip(sums, steps, strict=True)]
        curves.append(_curve(priority.name.lower(), steps, sums, KINDS[priority]))
    return _draw(curves, make_axis("pending, each class upon those below", max(sums, default=0)), plan)


def _draw(curves: Sequence[Curve], y: Axis, plan: "WeekScenario") -> str:
    """Return curves over the days; what the scenario does is a bar along the top."""
    spans = ((plan.outage, "outage", "c1"), (plan.slow, "half as fast", "c5"), (plan.backfill, "backfill", "c6"))
    top, bars = y.ends[1], []
    for (start, end), name, kind in spans:
        if start < plan.days * 86_400:
            bars.append(Curve(name, [Point(start / 3_600, top), Point(end / 3_600, top)], f"{kind} thick"))
    days = math.ceil(plan.days)
    x = Axis("", [*((24 * day, DAYS[day % 7]) for day in range(days)), (24 * plan.days, "")])
    return str(xy_chart([*bars, *curves], x, y, y.label, size=(1000, 320)))


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
    (
        "The queue",
        "Requests that wait, each class upon those below it. When it is full the lowest class makes room.",
        _queue,
    ),
)
