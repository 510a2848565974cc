"""Measures live impact week by week: what the readers of each account found, warmed or held out.

Which accounts are held out in which weeks: drawn by a hash, so that nobody chooses and every process agrees.

A unit is one account in one ISO week of its readers' zone. Only warms with the reason `predicted_open` are withheld
from a held-out unit: strategies, requests, arrivals of data and the closing of days go on as ever.

A withheld warm keeps its place in the plan and in the hourly budget, as if it had been fetched. Otherwise the warmed
accounts would get calls that they would not get without the measurement, and would look better than warming is.

Whether a first open found a fresh report comes from one of two sources, the same one for every account of a week:

- the reads that `adwarm serve` counted, when it saw nearly all first opens of the log;
- otherwise the log: each first open is compared with what was fetched before it. A fetch by any warm counts until its
  entry expires, and an open that finds nothing fresh is taken to fetch the report, as the cache does on demand.

A week is measured once, when it has ended in every time zone and late events of the log can no longer arrive.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import numpy as np

from adwarm.fetch_plan import RequestCost
from adwarm.foundation.arrow_arrays import Ints
from adwarm.foundation.local_time import local_day
from adwarm.model import Account, ImpactDesign, ImpactUnit, OpenSource, ReportKey, WarmReason
from adwarm.patterns.open_history import load_opens
from adwarm.patterns.opens import Opens
from adwarm.planning.impact import ImpactEstimate, ImpactRules, estimate_impact
from adwarm.planning.impact_report import EARLIEST, LATEST, WEEK, begin, find_first_week
from adwarm.planning.plan import PlanningView
from adwarm.planning.recommendation import Recommendation, WarmPlan
from adwarm.planning.store_view import NEVER, useful_until
from adwarm.store import Context, accounts, impact, read_traffic
from adwarm.store.aggregates import LATE, find_log_end

_HASH_BYTES = 8
_HASHES = 1 << 8 * _HASH_BYTES


def get_week(moment: datetime, zone_name: str) -> date:
    """Return the Monday of the ISO week of `moment` in a zone."""
    day = local_day(moment, zone_name)
    return day - timedelta(days=day.weekday())


def is_held_out(account_id: str, week: date, design: ImpactDesign) -> bool:
    """Return whether an account is held out in the week that begins on the Monday `week`.

    Depends on nothing else, so it is the same in every process, for every key and whatever is asked before.
    """
    year, number, _ = week.isocalendar()
    text = f"{design.salt}\n{account_id}\n{year}-W{number:02d}".encode()
    drawn = int.from_bytes(hashlib.sha256(text).digest()[:_HASH_BYTES], "big")
    return drawn < design.share * _HASHES


@dataclass(frozen=True)
class HoldOut:
    """The draw as a plan applies it.

    Attributes:
        withheld_until: by key, when the entry of its latest withheld warm would have expired, UTC.
    """

    design: ImpactDesign
    get_zone: Callable[[str], str]
    withheld_until: dict[ReportKey, datetime]

    def is_withheld(self, key: ReportKey, moment: datetime) -> bool:
        """Return whether a predicted warm of `key` for an open at `moment` is withheld."""
        return is_held_out(key.account_id, get_week(moment, self.get_zone(key.account_id)), self.design)

    def withhold(self, plan: WarmPlan) -> WarmPlan:
        """Return the plan with the recommendations for held-out units apart, each with the reason."""
        remaining: list[Recommendation] = []
        withheld: list[Recommendation] = []
        for item in plan.recommendations:
            if item.reason is WarmReason.PREDICTED_OPEN and self.is_withheld(item.key, item.predicted_open):
                withheld.append(self._explain(item))
            else:
                remaining.append(item)
        return replace(plan, recommendations=tuple(remaining), held_out=tuple(withheld))

    def _explain(self, item: Recommendation) -> Recommendation:
        week = get_week(item.predicted_open, self.get_zone(item.key.account_id))
        year, number, _ = week.isocalendar()
        text = (
            f"held out to measure what warming gains: no predicted warm of this account in week {number} of {year}; "
            f"each account has a chance of {self.design.share:.0%} in each week"
        )
        return replace(item, status="held_out", explanation={**item.explanation, "held_out": text})


class HoldOutView:
    """A view of the store in which withheld warms were fetched, so that a plan withholds each of them once.

    When an account is warmed again, in a later week, what was withheld before counts no longer.
    """

    def __init__(self, view: PlanningView, hold_out: HoldOut) -> None:
        self._view = view
        self._hold_out = hold_out

    def get_expiries(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> Sequence[datetime]:
        """Return when an entry fetched then would stop answering its key, UTC."""
        return self._view.get_expiries(keys, moments)

    def get_fresh_until(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[datetime | None]:
        """Return when the entry of each key stops being fresh, stored or withheld, UTC; None when there is neither."""
        stored = self._view.get_fresh_until(keys, moments)
        return [self._extend(*each) for each in zip(keys, moments, stored, strict=True)]

    def get_request_costs(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> Sequence[RequestCost]:
        """Return which requests a fetch of each key would take, given what is really stored."""
        return self._view.get_request_costs(keys, moments)

    def _extend(self, key: ReportKey, moment: datetime, stored: datetime | None) -> datetime | None:
        withheld = self._hold_out.withheld_until.get(key)
        if withheld is None or not self._hold_out.is_withheld(key, moment):
            return stored
        return withheld if stored is None else max(stored, withheld)


LEAST_COUNTED: Final = 0.9
"""Share of the log's first opens that `adwarm serve` must have counted for its counts to be used."""
_BEFORE: Final = timedelta(days=8)
"""Fetches and opens this long before a week are read for what is fresh when it begins."""
HitCounts = Counter[str]
FreshUntil = Callable[[ReportKey, datetime], datetime]


def list_due_weeks(context: Context, now: datetime) -> list[date]:
    """Return the Mondays of the weeks of the newest design that have ended and are not measured, oldest first."""
    design = impact.find_newest_design(context.engine)
    if design is None:
        return []
    log_end = find_log_end(context.engine)
    known_until = min(now, log_end) if log_end else now
    end = known_until - LATE
    end = min(end, design.ended_at) if design.ended_at else end
    newest = impact.find_newest_week(context.engine, design.id)
    week = find_first_week(design.since) if newest is None else newest + WEEK
    weeks = []
    while begin(week + WEEK) + LATEST <= end:
        weeks.append(week)
        week += WEEK
    return weeks


def measure_week(context: Context, week: date, now: datetime) -> ImpactEstimate:
    """Measure the units of the week that begins on the Monday `week`, store them, and return the new estimate.

    Idempotent: measuring a week again replaces what was stored for it.

    Raises:
        ValueError: nothing was ever measured; call it with a week of `list_due_weeks`.
    """
    design = impact.find_newest_design(context.engine)
    if design is None:
        raise ValueError("no measurement was begun")
    units = _measure_units(context, design, week)
    impact.save_units(context.engine, design.id, units)
    counted = [unit for unit in impact.list_units(context.engine, design.id) if unit.week <= week]
    seed = int.from_bytes(hashlib.sha256(design.salt.encode()).digest()[:8], "big")
    estimate = estimate_impact(counted, ImpactRules(seed=seed))
    since = min(unit.week for unit in counted) if counted else week
    exempt = impact.count_exempt(context.engine, begin(since), begin(week + WEEK))
    impact.save_estimate(context.engine, design.id, week, now, describe_estimate(estimate, counted, exempt))
    return estimate


def describe_estimate(
    estimate: ImpactEstimate, units: Sequence[ImpactUnit], exempt: Mapping[str, dict[str, int]]
) -> dict[str, Any]:
    """Return an estimate as JSON values, as they are stored."""
    sources = {unit.week: str(unit.source) for unit in units}
    return {
        **asdict(estimate),
        "treated": {**asdict(estimate.treated), "hit_rate": estimate.treated.hit_rate},
        "held_out": {**asdict(estimate.held_out), "hit_rate": estimate.held_out.hit_rate},
        "half_width": estimate.half_width,
        "is_useful": estimate.is_useful,
        "withheld": sum(unit.withheld for unit in units),
        "weeks_by_source": dict(sorted(Counter(sources.values()).items())),
        "exempt": exempt,
    }


def _measure_units(context: Context, design: ImpactDesign, week: date) -> list[ImpactUnit]:
    since, until = begin(week) + EARLIEST, begin(week + WEEK) + LATEST
    stored = accounts.list_as_of(context.engine, until)
    default = context.settings.default_zone

    def get_account(account_id: str) -> Account:
        return stored.get(account_id) or Account(account_id, default, default)

    def is_within(account_id: str, moment: datetime) -> bool:
        return get_week(moment, get_account(account_id).reader_zone) == week

    calls, withheld = _count_warms(context, (since - timedelta(days=2), until), is_within)
    source, first_opens, first_hits = _count_opens(context, (since, until), is_within, get_account)
    return [
        ImpactUnit(
            account_id=name,
            week=week,
            is_held_out=is_held_out(name, week, design),
            first_opens=first_opens[name],
            first_hits=first_hits[name],
            calls=calls[name],
            withheld=withheld[name],
            source=source,
        )
        for name in sorted({*calls, *withheld, *first_opens})
    ]


def _count_warms(
    context: Context, span: tuple[datetime, datetime], is_within: Callable[[str, datetime], bool]
) -> tuple[HitCounts, HitCounts]:
    """Return, by account, the calls of predicted warms that were fetched, and how many were withheld."""
    calls: HitCounts = Counter()
    withheld: HitCounts = Counter()
    for item in impact.iter_predicted(context.engine, *span):
        if not is_within(item.account_id, item.predicted_open):
            continue
        if item.is_withheld:
            withheld[item.account_id] += 1
        else:
            calls[item.account_id] += item.calls
    return calls, withheld


def _count_opens(
    context: Context,
    span: tuple[datetime, datetime],
    is_within: Callable[[str, datetime], bool],
    get_account: Callable[[str], Account],
) -> tuple[OpenSource, HitCounts, HitCounts]:
    """Return the source of the counts, and by account the first opens and those that found a fresh report."""
    counted: HitCounts = Counter()
    counted_hits: HitCounts = Counter()
    for account_id, hour, first_opens, hits in read_traffic.iter_first_opens(context.engine, *span):
        if is_within(account_id, hour):
            counted[account_id] += first_opens
            counted_hits[account_id] += hits
    since, until = span
    rules = context.settings.freshness_rules

    def get_fresh_until(key: ReportKey, at: datetime) -> datetime:
        return useful_until(key, get_account(key.account_id), at, rules)

    opens = load_opens(context, since - _BEFORE, until)
    fetched = impact.list_fetched_spans(context.engine, since - _BEFORE, until)
    logged, logged_hits = Counter[str](), Counter[str]()
    for account_id, at, is_hit in replay_first_opens(opens, fetched, get_fresh_until):
        if at >= since and is_within(account_id, at):
            logged[account_id] += 1
            logged_hits[account_id] += is_hit
    if counted.total() and counted.total() >= LEAST_COUNTED * logged.total():
        return OpenSource.READ_API, counted, counted_hits
    return OpenSource.LOG, logged, logged_hits


def replay_first_opens(
    opens: Opens, fetched: Iterable[tuple[ReportKey, datetime, datetime | None]], get_fresh_until: FreshUntil
) -> Iterator[tuple[str, datetime, bool]]:
    """Yield account, time (UTC) and whether a fresh report was there, for each first open.

    Args:
        fetched: key, fetch and expiry of the warms that were fetched, oldest first.
        get_fresh_until: returns until when a fetch of a key at a moment answers it, UTC.
    """
    fetches: dict[ReportKey, list[tuple[datetime, datetime]]] = defaultdict(list)
    for key, at, expires in fetched:
        fetches[key].append((at, min(expires or NEVER, get_fresh_until(key, at))))
    order = np.argsort(opens.key, kind="stable")
    starts: Ints = np.flatnonzero(np.diff(opens.key[order], prepend=-1))
    for rows in np.split(order, starts[1:]) if len(order) else ():
        key = opens.report_key(int(opens.key[rows[0]]))
        pending = iter(fetches.get(key, ()))
        fetch = next(pending, None)
        fresh_until: datetime | None = None
        for row in rows.tolist():
            at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(opens.ts[row]))
            while fetch is not None and fetch[0] <= at:
                fresh_until = fetch[1] if fresh_until is None else max(fresh_until, fetch[1])
                fetch = next(pending, None)
            is_hit = fresh_until is not None and at < fresh_until
            if not is_hit:
                fresh_until = get_fresh_until(key, at)
            if opens.first[row]:
                yield key.account_id, at, is_hit
