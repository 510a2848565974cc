"""Switches a report to a changed query once enough of it is warm, so that readers do not miss everything at once.

While a query is prepared, each plan warms the reports that are likely to be opened under the new query too, with the
calls that are left after everything else. When the share of the expected opens that would find a fresh answer of the
new query reaches `SWITCH_COVERAGE`, or after `PREPARE_FOR`, readers and warms use it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import pandas as pd

from adwarm.foundation.wording import format_some
from adwarm.model import Priority, ReportKey, WarmReason
from adwarm.model.keys import MAX_NEXT_NAME, name_next, name_report
from adwarm.planning.plan import LikelyKeys, PlanningView, find_expected_keys, select_expected_keys
from adwarm.planning.price import CallQuota
from adwarm.planning.recommendation import Recommendation
from adwarm.settings import Settings
from adwarm.store import Context, report_versions
from adwarm.store.report_versions import ReportVersion, VersionState

log = logging.getLogger(__name__)
SWITCH_COVERAGE = 0.95
"""Share of the opens of the next day that have to find the new query warm; the last reports are rarely opened."""


def list_preparing(context: Context, now: datetime) -> list[ReportVersion]:
    """Return the queries that this process prepares: those that its own settings have. Abandoned ones are deleted."""
    for item in report_versions.drop_abandoned(context.engine, now):
        log.info("the new query of report %s is dropped: no process is configured with it any more", item.report)
    return [
        item
        for item in report_versions.list_versions(context.engine)
        if item.state is VersionState.PREPARING and _is_configured(context.settings, item)
    ]


def _is_configured(settings: Settings, item: ReportVersion) -> bool:
    return item.report in settings.reports and settings.configured_spec(item.report).hash == item.spec.hash


def can_be_warmed(item: ReportVersion) -> bool:
    """Whether the database has room for the internal name; a report with a very long one waits for the deadline."""
    return len(name_next(item.report)) <= MAX_NEXT_NAME


@dataclass(frozen=True)
class SwitchPlan:
    """What preparing the queries takes.

    Attributes:
        coverage: by report, the share of the expected opens that would find a fresh answer of the new query.
        planned: what to warm under the new queries.
    """

    coverage: dict[str, float] = field(default_factory=dict)
    planned: tuple[Recommendation, ...] = ()


def plan_switch(
    versions: Sequence[ReportVersion], probabilities: pd.DataFrame, at: datetime, view: PlanningView, quota: CallQuota
) -> SwitchPlan:
    """Return the coverage of queries that are prepared, and the warms that raise it.

    Args:
        versions: the queries.
        probabilities: returned by `Forecast.predict`, without the keys that are never likely enough.
        at: the decision time, UTC.
        view: reads the store as of then.
        quota: the calls that are left.
    """
    reports = {item.report for item in versions if can_be_warmed(item)}
    some = probabilities[probabilities["report"].isin(list(reports))].reset_index(drop=True)

    def accept(key: ReportKey) -> ReportKey:
        return replace(key, report=name_next(key.report))

    expected = find_expected_keys(some, at, view, accept)
    worth = expected.take((expected.chance * quota.open_value > 1.0).nonzero()[0])
    ends = view.get_fresh_until(worth.keys, worth.warm_at)
    fresh = np.array([end is not None and end > at for end in ends], bool)
    chosen, _ = select_expected_keys(worth.take(np.flatnonzero(~fresh)), view, quota)
    return SwitchPlan(_measure(worth, fresh), tuple(map(_explain, chosen)))


def _measure(worth: LikelyKeys, fresh: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> dict[str, float]:
    """Return the share of the chances whose key is fresh, by report."""
    reports = np.array([name_report(key.report) for key in worth.keys], dtype=object)
    return {
        str(name): float(worth.chance[(reports == name) & fresh].sum() / worth.chance[reports == name].sum())
        for name in np.unique(reports)
    }


def _explain(item: Recommendation) -> Recommendation:
    why = f"the query of report {name_report(item.key.report)} has changed; {item.explanation['why']}"
    return replace(
        item, reason=WarmReason.SPEC_CHANGED, priority=Priority.LOW, explanation={**item.explanation, "why": why}
    )


def switch_covered(
    context: Context, versions: Sequence[ReportVersion], coverage: dict[str, float], now: datetime
) -> list[str]:
    """Save the coverage, switch the reports whose new query is covered enough, and return these.

    A report of which no open is expected is switched at once: nobody would notice.
    """
    switched = []
    for item in versions:
        if not can_be_warmed(item):
            continue
        share = coverage.get(item.report, 1.0)
        report_versions.save_coverage(context.engine, item.report, item.spec.hash, share)
        if share >= SWITCH_COVERAGE:
            report_versions.switch(context.engine, item.report, now)
            switched.append(item.report)
    if switched:
        reports = list(context.settings.reports)
        context.settings.use_specs(report_versions.load_specs(context.engine, reports))
        log.info("switched to the new query of %s", format_some(switched, 5))
    return switched
