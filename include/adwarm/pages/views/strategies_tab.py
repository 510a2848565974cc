"""The tab *Strategies*: what is kept warm on a schedule, and whether anybody uses it."""

from collections.abc import Mapping
from typing import Any, Final

from adwarm.foundation.cron import describe_cron
from adwarm.foundation.local_time import zone, zone_or_default
from adwarm.foundation.wording import format_count, format_some
from adwarm.pages.tab import Tab, Tile, TileRequest
from adwarm.planning.strategy_use import StrategyReport, report_strategies

_SHOWN_NAMES: Final = 3


def _load_list(request: TileRequest) -> Mapping[str, Any]:
    reports = report_strategies(request.services.context, request.now, is_brief=True)
    return {"rows": [_show(request, report) for report in reports]}


def _show(request: TileRequest, report: StrategyReport) -> Mapping[str, Any]:
    fields = report.stored.values
    local = zone(zone_or_default(fields.get("time_zone"), "UTC"))
    return {
        "report": report,
        "fields": fields,
        "schedule": describe_cron(str(fields.get("cron"))),
        "next_due": report.next_run and report.next_run.astimezone(local),
        "is_due": report.next_run == request.now,
        "reports": _describe_reports(fields),
    }


def _describe_reports(values: Mapping[str, Any]) -> str:
    ranges = format_some(_list_texts(values.get("date_ranges")), _SHOWN_NAMES)
    named = values.get("accounts")
    accounts = "every account" if named is None else format_some(_list_texts(named), _SHOWN_NAMES)
    excluded = _list_texts(values.get("excluded_accounts"))
    left_out = f" except {format_count(len(excluded), 'account')}" if excluded else ""
    report = values.get("report")
    left_out += ", if somebody opened it lately" if values.get("opened_only") else ""
    return f"{ranges} of {accounts}{left_out}" + ("" if report == "default" else f", report {report}")


def _list_texts(value: object) -> list[str]:
    """Return the texts of a stored list; a row that was edited by hand may hold anything."""
    return [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)] if value else []


TABS: Final = (
    Tab(
        "strategies",
        "Strategies",
        (Tile("list", "Strategies", _load_list, is_wide=True),),
    ),
)
