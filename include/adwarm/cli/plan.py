"""`adwarm plan`: the plan that the next decision would make, and why a report was not warm."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adwarm.cli.terminal import JsonOption, ReportOption, clock_at, print_json, print_lines
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.wording import format_count

if TYPE_CHECKING:
    from datetime import datetime

    from adwarm.planning.recommendation import Recommendation, WarmPlan
    from adwarm.planning.why_not_warm import Explanation
    from adwarm.store.snapshots import PlanHour

_MAX_KEY_WIDTH = 34
"""The longest key that leaves room for the figures on a line of 80 columns."""
_WIDTHS = (11, 11, 8, 8, 8)
"""Columns of the figures: expected, warm at, chance, worth, price."""


def plan(
    account: Annotated[
        str | None, typer.Argument(help="With DATE_RANGE: why this account's report was or will be warm, or not.")
    ] = None,
    date_range: Annotated[
        str | None, typer.Argument(help="A preset such as last_7d, or YYYY-MM-DD..YYYY-MM-DD.")
    ] = None,
    *,
    report: ReportOption = "default",
    at: Annotated[
        str | None,
        typer.Option("--at", help="Decide at this time (ISO 8601); of a report also 9:00, in its readers' zone."),
    ] = None,
    limit: Annotated[int, typer.Option(help="Rows to show of the planned keys, and of the cut ones.", min=1)] = 30,
    as_json: JsonOption = False,
) -> None:
    """Show what the next decision would warm, why, what it is worth, and what it costs in upstream calls.

    Keys that the budget cuts come last, each with the reason. With ACCOUNT and DATE_RANGE, say why that report was not
    warm at a moment, or whether it will be: each decision that led there. Fetches nothing and writes nothing.
    """
    if account is None:
        _print_plan(at, limit, as_json=as_json)
    elif date_range is None:
        raise BadRequest("name the date range, too, as in `adwarm plan act_1234 last_7d`")
    else:
        _explain((account, date_range, report), at, as_json=as_json)


def _print_plan(at: str | None, limit: int, *, as_json: bool) -> None:
    from adwarm.foundation.clock import floor_to
    from adwarm.planning.decide import build_forecast_plan, find_next_due
    from adwarm.runtime import Runtime

    runtime = Runtime(clock=clock_at(at))
    decided_at = floor_to(runtime.clock.now(), runtime.settings.step)
    forecast_plan = build_forecast_plan(runtime.context, decided_at)
    upcoming = None if forecast_plan.recommendations else find_next_due(runtime.context, decided_at)
    items = [*forecast_plan.recommendations[:limit], *forecast_plan.cut[:limit]]
    if as_json:
        print_json({
            "decided_at": decided_at,
            "considered": forecast_plan.considered,
            "planned": len(forecast_plan.recommendations),
            "cut": forecast_plan.cut_total,
            "expiring": forecast_plan.expiring_total,
            "fresh": forecast_plan.fresh_total,
            "next_due": upcoming and {"hour": upcoming.hour, "warms": upcoming.due_warms},
            "items": [_item_fields(item) for item in items],
        })
        return
    print_lines(_lines(forecast_plan, decided_at, limit, upcoming))


def _explain(words: tuple[str, str, str], at: str | None, *, as_json: bool) -> None:
    from adwarm.runtime import Runtime

    runtime = Runtime()
    now, key = runtime.clock.now(), runtime.key_explainer.read_key(*words)
    moment = runtime.key_explainer.read_moment(key.account_id, at, now) if at else now
    explanation = runtime.key_explainer.explain(key, moment, now)
    if as_json:
        print_json(explanation.to_dict())
    else:
        print_lines(_explanation_lines(explanation))


def _explanation_lines(explanation: "Explanation") -> Iterator[tuple[int, str]]:
    """Yield the answer, what to do, and the steps with their results."""
    yield 0, f"{explanation.headline} {explanation.because}."
    yield 0, f"What to do: {explanation.advice}"
    for number, step in enumerate(explanation.steps, 1):
        yield 5, f"{number}. {step.title} ({step.status}): {step.text}"


def _lines(
    plan: "WarmPlan", decided_at: "datetime", limit: int, upcoming: "PlanHour | None" = None
) -> Iterator[tuple[int, str]]:
    """Yield the lines of the page, each with the indent of its wrapped parts: title, planned and cut."""
    # A row of figures is at most 80 columns wide; every sentence has a line of its own.
    yield (
        0,
        (
            f"Plan at {decided_at:%Y-%m-%d %H:%M} UTC: {len(plan.recommendations):,} of {plan.considered:,} keys, "
            f"{plan.fresh_total:,} fresh already, {plan.cut_total:,} cut"
            + (f", {plan.expiring_total:,} expire too soon" if plan.expiring_total else "")
        ),
    )
    if not plan.recommendations and not plan.cut:
        yield 0, "no open is expected before the next decision"
        if upcoming is not None:
            count, at = format_count(upcoming.due_warms, "warm"), f"{upcoming.hour:%Y-%m-%dT%H:%M}"
            day = f"{upcoming.hour:%A, %Y-%m-%d %H:%M} UTC"
            yield 0, f"next: about {count} due from {day} on; `adwarm plan --at {at}` shows what is due then"
        return
    planned, cut = plan.recommendations[:limit], plan.cut[:limit]
    shown = [str(item.key) for item in (*planned, *cut)]
    width = max((len(key) for key in shown if len(key) <= _MAX_KEY_WIDTH), default=3)
    yield 0, _row("key", ("expected", "warm at", "chance", "worth", "price"), width)
    for item in planned:
        yield from _item_lines(item, decided_at, width)
    if len(planned) < len(plan.recommendations):
        yield 0, f"{len(plan.recommendations) - len(planned):,} more are planned; --limit shows more of them"
    if cut:
        yield 0, f"Cut, {len(cut):,} of {plan.cut_total + plan.expiring_total:,}, the best first:"
    for item in cut:
        yield from _item_lines(item, decided_at, width)


def _item_lines(item: "Recommendation", decided_at: "datetime", width: int) -> Iterator[tuple[int, str]]:
    """Yield an item's figures, why it is left out, and why it is likely; a long key has its own line above them."""
    from adwarm.planning.explanations import format_amount

    key = str(item.key)
    if len(key) > width:
        yield 0, key
        key = ""
    times = (_format_time(moment, decided_at) for moment in (item.predicted_open, item.warm_at))
    figures = (*times, *(format_amount(value) for value in (item.confidence, item.benefit, item.price)))
    yield 0, _row(key, figures, width)
    for name in ("cut", "why"):
        sentence = item.explanation.get(name)
        if sentence:
            yield 2, f"  {sentence}"


def _row(key: str, figures: Sequence[str], width: int) -> str:
    return f"{key:{width}}" + "".join(f"{text:>{size}}" for text, size in zip(figures, _WIDTHS, strict=True))


def _format_time(moment: "datetime", decided_at: "datetime") -> str:
    """Return the time of day in UTC, with the days that lie between it and the decision if there are any."""
    days = (moment.date() - decided_at.date()).days
    return f"{moment:%H:%M} +{days}d" if days else f"{moment:%H:%M}"


def _item_fields(item: "Recommendation") -> dict[str, Any]:
    return {
        "account_id": item.key.account_id,
        "date_range": item.key.date_range,
        "report": item.key.report,
        "status": item.status,
        "predicted_open": item.predicted_open,
        "confidence": item.confidence,
        "warm_at": item.warm_at,
        "worth": item.benefit,
        "price": item.price,
        **item.explanation,
    }
