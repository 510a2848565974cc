"""A strategy as the commands print it."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.markup import escape

if TYPE_CHECKING:
    from adwarm.planning.strategy_use import StrategyReport

COLUMNS = ("name", "status", "schedule", "fresh", "oldest", "used", "wasted", "calls", "next run", "note")
"""Columns of the table of strategies; used, wasted and calls are those of the last 30 days."""
_HOUR_SECONDS = 3600


def report_fields(report: "StrategyReport", at: datetime) -> dict[str, Any]:
    """Return a strategy with its definition and figures as values for JSON."""
    usage, coverage = report.usage, report.coverage
    return {
        "name": report.stored.name,
        "status": report.status,
        "note": report.note,
        "about": report.about,
        "keys": coverage.keys if coverage else None,
        "fresh": coverage.fresh if coverage else None,
        "oldest_seconds": (at - coverage.oldest_at).total_seconds() if coverage and coverage.oldest_at else None,
        "used_30d": usage.used if usage else 0,
        "wasted_30d": usage.wasted if usage else 0,
        "open_30d": usage.open if usage else 0,
        "calls_30d": usage.calls if usage else 0,
        "runs_30d": usage.runs if usage else 0,
        "last_run": usage.last_at if usage else None,
        "next_run": report.next_run,
        "definition": definition_fields(report),
    }


def definition_fields(report: "StrategyReport") -> dict[str, Any]:
    """Return what the user has defined; of a row that is not valid what it holds."""
    strategy = report.stored.strategy
    values = asdict(strategy) if strategy is not None else dict(report.stored.values)
    return {name: value for name, value in values.items() if name != "name"}


def table_row(report: "StrategyReport", at: datetime) -> Sequence[Any]:
    """Return the cells of a strategy in the order of `COLUMNS`."""
    fields, definition = report_fields(report, at), definition_fields(report)
    seconds, keys = fields["oldest_seconds"], fields["keys"]
    return (
        escape(fields["name"]),
        fields["status"],
        f"{definition.get('cron')} {definition.get('time_zone')}",
        "-" if keys is None else f"{fields['fresh']:,} of {keys:,}",
        "-" if seconds is None else f"{seconds / _HOUR_SECONDS:,.1f} h",
        fields["used_30d"],
        fields["wasted_30d"],
        fields["calls_30d"],
        "due now" if fields["next_run"] == at else fields["next_run"],
        fields["note"] or fields["about"],
    )
