"""What the measurement of live impact says: its state, the newest estimate, and what to do next.

Apart from the measurement, because the status reads it, and measuring loads the log.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from adwarm.foundation.clock import utc
from adwarm.model import ImpactDesign
from adwarm.store import Context, impact
from adwarm.store.aggregates import LATE
from adwarm.store.impact import StoredEstimate

EARLIEST, LATEST = timedelta(hours=-14), timedelta(hours=12)
"""When a day begins in the easternmost zone, and ends in the westernmost, against UTC."""
WEEK: Final = timedelta(days=7)


def report_impact(context: Context, now: datetime) -> dict[str, Any]:
    """Return the live impact as JSON values: state, newest estimate, and what to do next.

    One or two statements.
    """
    settings = context.settings.impact
    stored = impact.find_newest_estimate(context.engine)
    design = stored.design if stored else impact.find_newest_design(context.engine)
    fields: dict[str, Any] = {"enabled": settings.enabled, "share": settings.share, "next": ""}
    if design is not None:
        fields |= {"since": design.since, "share": design.share, "ended_at": design.ended_at}
    if stored is not None:
        fields |= {"week": stored.week, "measured_at": stored.at, "designs": stored.designs, **stored.figures}
    return {**fields, "next": _explain_next(context, design, stored, now)}


def _explain_next(context: Context, design: ImpactDesign | None, stored: StoredEstimate | None, now: datetime) -> str:
    if not context.settings.impact.enabled:
        return "not measured; ADWARM_IMPACT__ENABLED=true holds out a share of the accounts each week, and measures it"
    if design is None:
        return "the first run of adwarm_intelligent_warming begins the measurement"
    if stored is None:
        due = begin(find_first_week(design.since) + WEEK) + LATEST + LATE
        when = f"at {due:%Y-%m-%d %H:%M} UTC" if due > now else "at the next maintenance, when the log is read that far"
        return f"the first whole week is measured {when}"
    left = stored.figures["weeks_left"]
    if left == 0:
        return "useful now: act on it"
    if left is None:
        return "no end is in sight at this share of held-out accounts"
    return f"useful in about {left} {'week' if left == 1 else 'weeks'}"


def find_first_week(since: datetime) -> date:
    """Return the Monday of the first week that begins after `since` in every zone."""
    day = utc(since).date()
    week = day - timedelta(days=day.weekday())
    while begin(week) + EARLIEST < since:
        week += WEEK
    return week


def begin(week: date) -> datetime:
    """Return when a week begins in UTC."""
    return datetime.combine(week, time.min, UTC)
