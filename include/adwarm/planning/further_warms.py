"""The warms of a run beside its predicted opens and closed days: arrived data, then changed queries.

Switches a report to a changed query once enough of it is warm, so that readers do not miss everything at once.

While a query is prepared, each plan warms the reports that are likely to be opened under the new query too, with the
calls that are left after everything else. When the share of the expected opens that would find a fresh answer of the
new query reaches `SWITCH_COVERAGE`, or after `PREPARE_FOR`, readers and warms use it.

Both share what those leave of the hour's calls, and one further prediction, made only when there is something to plan.
"""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd

from adwarm.foundation.clock import utc
from adwarm.foundation.errors import Corrupt, NotFound
from adwarm.foundation.local_time import local_day, local_midnight
from adwarm.foundation.wording import format_some
from adwarm.model import Account, Mode, Priority, ReportKey, WarmReason
from adwarm.model.keys import MAX_NEXT_NAME, name_next, name_report
from adwarm.planning.data_arrival import KEEP_TRYING, ArrivalPlan, ArrivalPlanner
from adwarm.planning.plan import LikelyKeys, PlanningView, find_expected_keys, select_expected_keys
from adwarm.planning.price import CallQuota
from adwarm.planning.recommendation import Recommendation
from adwarm.settings import Settings
from adwarm.store import Context, data_arrivals, report_versions
from adwarm.store.report_versions import ReportVersion, VersionState

CLOSE_AFTER_MINUTES = 30
"""Minutes from an account's midnight to closing its day: the platform is still counting the last ones before."""
SPREAD_MINUTES = 150
"""Minutes over which a zone's accounts are spread, so that the closing of days leaves the quota to readers."""
_DAY = timedelta(days=1)
log = logging.getLogger(__name__)
SWITCH_COVERAGE = 0.95
"""Share of the opens of the next day that have to find the new query warm; the last reports are rarely opened."""


def get_close_time(account: Account, day: date) -> datetime:
    """Return the moment (UTC) at which `day` of the account is closed.

    That is the account's midnight after `day`, plus `CLOSE_AFTER_MINUTES`, plus an offset below
    `SPREAD_MINUTES` that depends only on the account's id.
    """
    digest = hashlib.sha256(account.id.encode()).digest()
    spread = int.from_bytes(digest[:8], "big") % (SPREAD_MINUTES * 60)
    delay = timedelta(minutes=CLOSE_AFTER_MINUTES, seconds=spread)
    return local_midnight(day + _DAY, account.data_zone) + delay


def find_closing_accounts(accounts: Iterable[Account], since: datetime, until: datetime) -> list[tuple[Account, date]]:
    """Return the active accounts and their days that close in `[since, until)`, ordered by closing time.

    Adjacent intervals return each account and day exactly once.
    """
    since, until = utc(since), utc(until)
    latest = timedelta(minutes=CLOSE_AFTER_MINUTES + SPREAD_MINUTES)
    closing = []
    for account in accounts:
        if account.status != "active":
            continue
        day = local_day(since - latest, account.data_zone) - _DAY
        last = local_day(until, account.data_zone)
        while day < last:
            close_time = get_close_time(account, day)
            if since <= close_time < until:
                closing.append((close_time, account.id, account, day))
            day += _DAY
    return [(account, day) for _, _, account, day in sorted(closing, key=lambda item: item[:2])]


def recommend_day_close(
    account: Account, day: date, decided_at: datetime, *, with_week_summary: bool = True
) -> Recommendation:
    """Return the warm that completes an account's closed day: the summary of its week and the score's history.

    Without the week no summary is fetched, so the score has no audience component, and stored days of the block cost
    nothing.
    """
    since = day - timedelta(days=6) if with_week_summary else day
    return Recommendation(
        ReportKey(account.id, f"{since}..{day}"),
        predicted_open=decided_at,
        confidence=1.0,
        warm_at=decided_at,
        reason=WarmReason.DAY_CLOSED,
        benefit=1.0,
        price=2.0,
        explanation={"why": f"{day} has ended in {account.data_zone}: complete and score it"},
        priority=Priority.LOW,
        calls=2.0,
    )


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
    """

    coverage: dict[str, float] = field(default_factory=dict)
    planned: tuple[Recommendation, ...] = ()


def plan_switch(
    versions: Sequence[ReportVersion], probabilities: pd.DataFrame, at: datetime, view: PlanningView, quota: CallQuota
) -> SwitchPlan:
    """Return the coverage of queries that are prepared, and the warms that raise it.

    Args:
        probabilities: returned by `Forecast.predict`, without the keys that are never likely enough.
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


@dataclass(frozen=True)
class FurtherWarms:
    """The further warms of a run."""

    arrivals: ArrivalPlan = field(default_factory=ArrivalPlan)
    switch: SwitchPlan = field(default_factory=SwitchPlan)
    versions: tuple[ReportVersion, ...] = ()

    @property
    def planned(self) -> list[Recommendation]:
        """All warms, those of arrived data first."""
        return [*self.arrivals.planned, *self.switch.planned]


@dataclass(frozen=True)
class PlanState:
    """What a run has decided so far."""

    at: datetime
    chosen: Sequence[Recommendation]
    quota: CallQuota
    get_account: Callable[[str], Account]
    view: PlanningView


def plan_further(context: Context, state: PlanState, predict: Callable[[], pd.DataFrame]) -> FurtherWarms:
    """Return the further warms of a run; none without a forecast, and then all of them wait."""
    arrivals = data_arrivals.list_pending(context.engine, state.at - KEEP_TRYING)
    versions = list_preparing(context, state.at)
    if not arrivals and not versions:
        return FurtherWarms()
    data_arrivals.mark_again(context.engine, arrivals)
    try:
        probabilities = predict()
    except (NotFound, Corrupt):
        return FurtherWarms()
    planner = ArrivalPlanner(
        arrivals,
        state.at,
        state.view,
        lambda name: state.get_account(name).data_zone,
        frozenset(item.key for item in state.chosen),
    )
    quota = add_spent(state.quota, state.chosen)
    arrival_plan = planner.plan(probabilities, quota, context.settings.planning.min_confidence)
    quota = add_spent(quota, arrival_plan.planned)
    switch = plan_switch(versions, probabilities, state.at, state.view, quota)
    return FurtherWarms(arrival_plan, switch, tuple(versions))


def finish_further(context: Context, further: FurtherWarms, run_id: str, at: datetime, mode: Mode) -> None:
    """Note what a stored plan has settled; a shadow plan settles nothing."""
    if mode is Mode.SHADOW:
        return
    data_arrivals.mark_planned(context.engine, further.arrivals.done, run_id, at)
    if further.versions:
        switch_covered(context, further.versions, further.switch.coverage, at)


def add_spent(quota: CallQuota, items: Sequence[Recommendation]) -> CallQuota:
    """Return the quota after the calls of `items`."""
    calls: dict[str, float] = defaultdict(float)
    for item in items:
        calls[item.key.account_id] += item.calls
    by_account = {**quota.spent_by_account}
    for name, count in calls.items():
        by_account[name] = by_account.get(name, 0) + round(count)
    return replace(quota, spent=quota.spent + round(sum(calls.values())), spent_by_account=by_account)
