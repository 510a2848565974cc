"""The demo's closing table, and the same figures as JSON."""

import resource
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from adwarm.model import Warm, WarmReason
from adwarm.patterns.load_slots import load_slots
from adwarm.patterns.opens import FIRST_OPEN_QUIET
from adwarm.planning.warm_outcomes import mark_warm_outcomes
from adwarm.runtime import Runtime
from adwarm.store import entries, scores, warms
from dev.history import ReplayDay
from dev.replay import Tally


@dataclass
class DemoReport:
    """Every figure of the demo. Equal logs and settings give equal reports; times are kept apart."""

    log: dict[str, Any]
    plan: dict[str, Any]
    examples: list[dict[str, Any]]
    upstream: dict[str, Any]
    stored: dict[str, Any]
    fatigue: dict[str, Any]
    served: dict[str, Any]
    problems: list[str] = field(default_factory=list)

    @classmethod
    def gather(
        cls, runtime: Runtime, day: ReplayDay, learned: dict[str, Any], calls: Any, tally: Tally, without: Tally
    ) -> "DemoReport":
        """Collect the figures from the store, the simulator and the replay."""
        trained = learned["train_forecast"]
        read = learned.get("adopt_shares") or learned["read_log"]
        zone = runtime.settings.default_zone
        slots = load_slots(runtime.engine, runtime.objects, day.start - FIRST_OPEN_QUIET, day.end, default_zone=zone)
        mark_warm_outcomes(runtime.engine, runtime.objects, day.end, known_until=day.end)
        counts = warms.count_by_status(runtime.engine)
        rows = warms.list_by_reason(runtime.engine, WarmReason.PREDICTED_OPEN)
        return cls(
            log={
                "opens_learned": trained["opens"],
                "first_opens_learned": trained["first_opens"],
                "keys": trained["keys"],
                "rejected_lines": read["rejected"],
                "rejected_by_reason": read["rejected_by_reason"],
                "replayed_day": day.day.isoformat(),
                "time_zone": day.zone,
                "opens_on_the_day": int(slots[slots["slot"] >= day.start]["opens"].sum()) if len(slots) else 0,
            },
            plan={
                "warms_planned": len(rows),
                "days_closed": len(warms.list_by_reason(runtime.engine, WarmReason.DAY_CLOSED)),
                "days_left_to_the_daily_run": warms.count_cut(runtime.engine, WarmReason.DAY_CLOSED),
                "strategy_warms": len(warms.list_by_reason(runtime.engine, WarmReason.STRATEGY)),
                "cut_by_the_budget": warms.count_cut(runtime.engine, WarmReason.PREDICTED_OPEN),
                "used": counts["used"],
                "wasted": counts["wasted"],
                "failed": counts.get("failed", 0),
            },
            examples=_examples(rows),
            upstream=_calls(calls),
            stored=entries.get_totals(runtime.engine),
            fatigue=scores.count_all_by_status(runtime.engine),
            served={
                "opens": tally.opens,
                "first_opens": tally.first_opens,
                "hit_ratio": _share(tally.hits, tally.opens),
                "first_open_hit_ratio": round(tally.ratio, 4),
                "first_open_hit_ratio_without_warming": round(without.ratio, 4),
                "calls_without_warming": without.opens - without.hits,
                "unanswered": len(tally.unanswered),
            },
            problems=tally.unanswered[:10],
        )

    def show(self, console: Console, seconds: float) -> None:
        """Print the table."""
        table = Table(title="What happened", show_header=False, title_justify="left", pad_edge=False)
        for name, value in self._lines(seconds):
            table.add_row(name, value)
        console.print(table)
        console.print("\n[bold]Why these were warmed[/bold] (three of the plan)")
        for example in self.examples:
            expected = f"open expected {example['predicted_open']}, confidence {example['confidence']:.2f}"
            console.print(f"  {example['key']}: {expected}\n    {example['why']}", highlight=False)

    def write(self, path: Path, seconds: float) -> None:
        """Write the same figures as JSON; `times` is the part that differs between runs."""
        times = {"wall_seconds": round(seconds, 1), "peak_memory_mb": peak_memory_mb()}
        path.write_bytes(orjson.dumps({**asdict(self), "times": times}, option=orjson.OPT_INDENT_2))

    def exit_code(self, console: Console) -> int:
        """Return 0 when every open was answered, and say what went wrong otherwise."""
        for text in self.problems:
            console.print(f"[red]{text}[/red]")
        return 1 if self.problems else 0

    def _lines(self, seconds: float) -> list[tuple[str, str]]:
        log, plan, stored, served = self.log, self.plan, self.stored, self.served
        ratio = stored["stored_bytes"] / stored["raw_bytes"] if stored["raw_bytes"] else 1.0
        return [
            (
                "opens in the log (learned from)",
                f"{log['opens_learned']:,} ({log['first_opens_learned']:,} first opens)",
            ),
            ("keys (account x date range)", f"{log['keys']:,}"),
            ("lines that could not be read", f"{log['rejected_lines']:,} {log['rejected_by_reason'] or ''}"),
            ("day replayed", f"{log['replayed_day']} ({log['time_zone']}), {served['opens']:,} opens"),
            (
                "warms planned by the forecast",
                f"{plan['warms_planned']:,}, {plan['cut_by_the_budget']:,} cut by the budget",
            ),
            (
                "accounts whose day was closed",
                f"{plan['days_closed']:,}, {plan['days_left_to_the_daily_run']:,} left to the daily run",
            ),
            ("warms by the strategy", f"{plan['strategy_warms']:,}"),
            ("warms used / wasted so far", f"{plan['used']:,} / {plan['wasted']:,}"),
            ("upstream requests", f"{self.upstream['insights']:,} insights, {self.upstream['total']:,} in all"),
            ("entries written", f"{stored['entries']:,}"),
            ("bytes before and after", f"{stored['raw_bytes']:,} -> {stored['stored_bytes']:,} ({ratio:.1%})"),
            ("fatigue scores by band", ", ".join(f"{name} {count:,}" for name, count in self.fatigue.items())),
            ("first opens that found a fresh report", _compared(served)),
            ("wall time, peak memory", f"{seconds:.0f} s, {peak_memory_mb():,} MB"),
        ]


def peak_memory_mb() -> int:
    """Return the most memory this process ever held, in MB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


def _examples(rows: list[Warm]) -> list[dict[str, Any]]:
    """Return three planned warms: the surest, the middle one and the least sure."""
    ranked = sorted(rows, key=lambda row: (-row.confidence, row.key.account_id, row.key.date_range, row.decided_at))
    places = sorted({0, len(ranked) // 2, len(ranked) - 1}) if ranked else []
    return [
        {
            "key": f"{row.key.account_id} {row.key.date_range}",
            "predicted_open": f"{row.predicted_open:%Y-%m-%d %H:%M} UTC",
            "warm_at": f"{row.warm_at:%Y-%m-%d %H:%M} UTC",
            "confidence": round(row.confidence, 4),
            "why": row.explanation.get("why", ""),
        }
        for row in (ranked[place] for place in places)
    ]


def _calls(calls: Any) -> dict[str, Any]:
    insights = sum(count for path, count in calls["paths"].items() if path.rstrip("/").endswith("insights"))
    return {"total": calls["total"], "insights": insights, "by_status": calls["statuses"]}


def _compared(served: dict[str, Any]) -> str:
    without = served["first_open_hit_ratio_without_warming"]
    return f"[bold green]{served['first_open_hit_ratio']:.1%}[/bold green] with warming, {without:.1%} without"


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
