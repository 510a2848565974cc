"""The part of `adwarm status` about live impact: what warming gains, and how sure that is."""

from collections.abc import Mapping
from typing import Any

from adwarm.cli.output import print_fields


def print_impact(report: Mapping[str, Any]) -> None:
    """Print the estimate with its interval, its width, and how long until it is useful."""
    print_fields("Live impact", get_impact_fields(report))


def get_impact_fields(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return names and values for people; `report` comes from `adwarm.planning.impact_measurement.report_impact`."""
    if "gain_per_call" not in report:
        return {"state": report["next"]}
    return {
        "hits_gained_per_call": _format_gain(report),
        "interval": _format_interval(report),
        "usefulness": f"{report['next']}; {report['why']}",
        "warmed": _format_group(report["treated"]),
        "held_out": _format_group(report["held_out"]),
        "weeks": f"{report['weeks']} whole weeks until the one of {report['week']}",
        "measurements_begun": report["designs"],
    }


def _format_gain(report: Mapping[str, Any]) -> str:
    gain = report["gain_per_call"]
    return "not known yet" if gain is None else f"{gain:.3f}"


def _format_interval(report: Mapping[str, Any]) -> str:
    if report["low"] is None:
        return "none yet"
    level = f"{report['confidence']:.4g}"
    return f"{report['low']:.3f} to {report['high']:.3f} (confidence {level}, {report['half_width']:.3f} to each side)"


def _format_group(group: Mapping[str, Any]) -> str:
    rate = "-" if group["hit_rate"] is None else f"{group['hit_rate']:.1%}"
    return f"{rate} of {group['first_opens']:,} first opens found a fresh report, in {group['units']:,} account weeks"
