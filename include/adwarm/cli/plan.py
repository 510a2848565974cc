"""`adwarm plan`: the plan that the next decision would make."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from adwarm.cli.options import AtOption, JsonOption, clock_at
from adwarm.cli.output import print_json, print_table

if TYPE_CHECKING:
    from adwarm.planning.recommendation import Recommendation


def plan(
    *,
    at: AtOption = None,
    limit: Annotated[int, typer.Option(help="Rows to show of the planned keys, and of the cut ones.", min=1)] = 30,
    as_json: JsonOption = False,
) -> None:
    """Show what the next decision would warm, why, what it is worth, and what it costs in upstream calls.

    Keys that the budget cuts come last, each with the reason. Fetches nothing and writes nothing.
    """
    from adwarm.foundation.clock import floor_to
    from adwarm.planning.decide import StoreView, build_forecast_plan
    from adwarm.runtime import Runtime

    runtime = Runtime(clock=clock_at(at))
    decided_at = floor_to(runtime.clock.now(), runtime.settings.step)
    view = StoreView(runtime.engine, runtime.settings, decided_at, runtime.request_costs)
    forecast_plan = build_forecast_plan(runtime.engine, runtime.objects, runtime.settings, decided_at, view=view)
    items = [*forecast_plan.recommendations[:limit], *forecast_plan.cut[:limit]]
    if as_json:
        print_json({
            "decided_at": decided_at,
            "considered": forecast_plan.considered,
            "planned": len(forecast_plan.recommendations),
            "cut": forecast_plan.cut_total,
            "fresh": forecast_plan.fresh_total,
            "items": [_item_fields(item) for item in items],
        })
        return
    print_table(
        f"Plan at {decided_at:%Y-%m-%d %H:%M} UTC: {len(forecast_plan.recommendations):,} of "
        f"{forecast_plan.considered:,} keys, {forecast_plan.fresh_total:,} fresh already, "
        f"{forecast_plan.cut_total:,} cut",
        ("key", "expected", "p", "worth", "price", "warm at", "why"),
        [
            (str(x.key), x.predicted_open, x.confidence, x.benefit, x.price, x.warm_at, _reason(x.explanation))
            for x in items
        ],
        "no open is expected before the next decision",
    )


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


def _reason(explanation: dict[str, Any]) -> str:
    return str(explanation.get("cut") or explanation.get("why") or "-")
