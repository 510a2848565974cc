"""Reconciles sampled accounts with the platform: the same figures, read in two ways, must agree.

Each day takes other accounts, and all have their turn. Of each, one window of final days and one of recent days are
compared. The calls have low priority, and nothing that is read is published.

| comparison | the reference                | is compared with                        |
|------------|------------------------------|-----------------------------------------|
| `levels`   | the account's own total      | the sum of its ads                      |
| `async`    | the answer of a plain request| the answer of the same async report     |
| `stored`   | the sum of its ads           | the sum of the stored days              |
| `groups`   | the account's own total      | the sum of the groups of a breakdown    |

The last one is of a report with breakdowns, another one each time that the account has its turn, which is also compared
in the two ways above it. By product it is compared in these alone: an ad without a catalog has no product, and an
impression may show several.

Only figures that add up are compared, as exact decimals: delivery, purchases and leads by action type, and the ads' own
results by indicator. The platform rounds the money of each ad to cents and estimates conversions, so half a cent for
each row and one conversion count as rounding as well.

A source whose totals list no actions or no results is not compared by them, nor an account by results that its own row
does not state, nor by a field that the platform refuses.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import AdwarmError, BadRequest, NoCapacity, Refused
from adwarm.foundation.local_time import local_day
from adwarm.maintenance.platform_calls import PlatformCalls
from adwarm.maintenance.runner import Step, StepBudget, StepResult
from adwarm.model import Account, QuerySpec, Row, Window
from adwarm.model.breakdowns import adds_up
from adwarm.prefetch.async_reports import LONGEST_REPORT_SECONDS, POLL_SECONDS
from adwarm.prefetch.group_sums import TOLERANCE, add_up, differ
from adwarm.prefetch.refused_fields import find_refused
from adwarm.recovery import RecoveryPipeline
from adwarm.sources.formats import ADDITIVE_FIELDS
from adwarm.sources.protocol import (
    AsyncReportHandle,
    AsyncReportState,
    FetchUnit,
    Increment,
    InsightsSource,
)
from adwarm.sources.units import PageTrail
from adwarm.store import accounts, partitions
from adwarm.store.denials import list_refused_fields
from adwarm.store.partition_rows import daily_rows
from adwarm.store.reconciliations import ComparedFigure, describe, describe_all, insert_figures

log = logging.getLogger(__name__)
RECENT_DAYS = 3
SETTLED_DAYS = 7
_LISTS = ("actions", "results")
_ACTIONS = (
    *("actions:purchase", "actions:omni_purchase", "actions:offsite_conversion.fb_pixel_purchase"),
    *("actions:lead", "actions:onsite_conversion.lead_grouped", "actions:offsite_conversion.fb_pixel_lead"),
)
_SEED = "reconciliation"
_ENDED = (AsyncReportState.READY, AsyncReportState.FAILED, AsyncReportState.EXPIRED)


@dataclass(frozen=True, slots=True)
class Sums:
    """The sums over `rows` rows: of additive figures, and of the items of lists by list and kind of item."""

    by_metric: dict[str, Decimal]
    rows: int

    @classmethod
    def of(cls, rows: Sequence[Row], metrics: Sequence[str]) -> "Sums":
        """Return the sums of `metrics` and of what the rows' lists count; a missing figure is zero."""
        total = {name: add_up(row.get(name) for row in rows) for name in metrics}
        for row in rows:
            for name, value in _list_conversions(row):
                total[name] = total.get(name, Decimal(0)) + value
        return cls(total, len(rows))

    @classmethod
    def load(cls, stored: dict[str, Any]) -> "Sums":
        """Return sums that a cursor keeps."""
        return cls({name: Decimal(value) for name, value in stored["sums"].items()}, int(stored["rows"]))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"sums": {name: str(value) for name, value in self.by_metric.items()}, "rows": self.rows}


def _list_conversions(row: Row) -> Iterator[tuple[str, Decimal]]:
    """Yield the counts of a row's lists, such as `actions:lead`; all of `_ACTIONS` are zero in a list without them."""
    actions, results = ([item for item in row.get(name) or () if isinstance(item, dict)] for name in _LISTS)
    if actions:
        yield from ((name, Decimal(0)) for name in _ACTIONS)
    for action in actions:
        if (name := f"actions:{action.get('action_type')}") in _ACTIONS:
            yield name, Decimal(str(action.get("value", 0)))
    for result in results:
        values = result.get("values") or [{}]
        name = str(result.get("indicator")).removeprefix("actions:")
        yield f"results:{name}", Decimal(str(values[0].get("value", 0)))


def _list_metrics(comparison: str, expected: Sums, actual: Sums) -> list[str]:
    """Return the counts of lists to compare: of the lists that the totals of the ads have, all that are not zero."""
    totals = actual if comparison == "levels" else expected
    lists = {name.partition(":")[0] for name in totals.by_metric if ":" in name}
    counted = {name for sums in (expected, actual) for name, value in sums.by_metric.items() if value and ":" in name}
    if comparison == "levels":
        counted = {name for name in counted if name.startswith("actions:") or name in expected.by_metric}
    return sorted(name for name in counted if name.partition(":")[0] in lists)


def choose_pairs(ids: Sequence[str], reports: Sequence[str], day: date, count: int) -> list[tuple[str, str | None]]:
    """Return the accounts of a day, each with the report with breakdowns that it is compared by.

    Consecutive days take consecutive accounts of a fixed random order. Each time that an account has its turn it gets
    the next report, and neighbors have others, so that every pair comes.

    Args:
        reports: those with breakdowns; without any, accounts have none.
        count: accounts a day.
    """
    order = sorted(ids, key=lambda id_: hashlib.sha256(f"{_SEED}:{id_}".encode()).digest())
    chosen = min(count, len(order))
    turns = (divmod(day.toordinal() * chosen + offset, len(order)) for offset in range(chosen))
    return [(order[place], reports[(turn + place) % len(reports)] if reports else None) for turn, place in turns]


def make_reconcile(calls: PlatformCalls, pipeline: RecoveryPipeline, clock: Clock) -> Step:
    """Return the step `reconcile`."""

    def step(cursor: Any, budget: StepBudget) -> StepResult:
        count = calls.context.settings.maintenance.reconcile_accounts
        if not count:
            return StepResult(skipped="reconciliation is switched off (ADWARM_MAINTENANCE__RECONCILE_ACCOUNTS=0)")
        today = clock.now().date().isoformat()
        state = cursor if cursor and cursor["day"] == today else {"day": today, "next": 0, "report": None}
        return _Run(calls, pipeline, clock, budget).reconcile(state, count)

    return step


@dataclass
class _Case:
    """One account and window."""

    account: Account
    source: InsightsSource
    window: Window
    is_settled: bool
    report: str
    spec: QuerySpec
    metrics: tuple[str, ...]
    lists: tuple[str, ...]

    @property
    def details(self) -> FetchUnit:
        """The request for the rows of the report over the window, with the figures to compare only."""
        return self._unit(self.spec)

    @property
    def whole(self) -> FetchUnit | None:
        """The request for the account's own total; None where it is the same as `details`, or nothing adds up to it."""
        is_same = self.spec.level == "account" and not self.spec.breakdowns
        is_partial = not adds_up(self.spec.breakdowns) or "account" not in self.source.capabilities.levels
        if is_same or is_partial:
            return None
        return self._unit(replace(self.spec, level="account", breakdowns=(), action_breakdowns=()))

    def _unit(self, spec: QuerySpec) -> FetchUnit:
        spec = replace(spec, fields=self.metrics + self.lists)
        return FetchUnit(self.account.id, (self.window,), Increment.RANGE, spec)


@dataclass
class _Run:
    """One run of the step."""

    calls: PlatformCalls
    pipeline: RecoveryPipeline
    clock: Clock
    budget: StepBudget
    result: StepResult = field(default_factory=StepResult)
    failure: AdwarmError | None = None

    def reconcile(self, state: dict[str, Any], count: int) -> StepResult:
        """Compare the cases of the day from the state's position on.

        Raises:
            AdwarmError: no case could be compared; the error of the first one.
        """
        engine, now = self.calls.context.engine, self.clock.now()
        active = [item for item in accounts.list_as_of(engine, now).values() if item.status == "active"]
        settings = self.calls.context.settings
        divided = sorted(name for name in settings.reports if settings.spec(name).breakdowns)
        pairs = choose_pairs([item.id for item in active], divided, now.date(), count)
        if not pairs:
            return StepResult(skipped="no active account is known")
        try:
            self.calls.factories()
        except BadRequest as error:
            return StepResult(skipped=f"there is no platform to compare with: {error}")
        by_id = {item.id: item for item in active}
        reports = [(by_id[id_], name) for id_, other in pairs for name in ("default", other) if name]
        cases = [(account, name, is_settled) for account, name in reports for is_settled in (True, False)]
        for position, (account, report, is_settled) in list(enumerate(cases))[int(state["next"]) :]:
            state["next"] = position
            if self.budget.is_used_up or not self._reconcile_case(account, report, state, is_settled=is_settled):
                self.result.cursor = state
                return self.result
            state["report"] = None
        if self.failure is not None and not self.result.counts.get("compared"):
            raise self.failure  # nothing could be compared, as with a wrong token: that is not a success
        return self.result

    def _reconcile_case(self, account: Account, report: str, state: dict[str, Any], *, is_settled: bool) -> bool:
        """Compare one account and window; False when an async report is not ready within the time."""
        try:
            case = self._make_case(account, report, is_settled=is_settled)
            if case.spec.breakdowns and not case.source.capabilities.has_breakdowns:
                return True
            details = self._load_or_compare(case, state)
            return details is None or self._compare_async(case, details, state)
        except (NoCapacity, Refused) as error:
            self.result.problems.append(f"{account.id}: {error}; the next run goes on")
            return False
        except AdwarmError as error:
            self._count("failed")
            self.failure = self.failure or error
            self.result.problems.append(f"{account.id}: not compared: {error}")
            return True

    def _make_case(self, account: Account, report: str, *, is_settled: bool) -> _Case:
        settings = self.calls.context.settings
        spec, yesterday = settings.spec(report), local_day(self.clock.now(), account.data_zone) - timedelta(days=1)
        days = SETTLED_DAYS if is_settled else RECENT_DAYS
        until = yesterday - timedelta(days=settings.freshness.settle_days + 1 if is_settled else 0)
        window = Window(until - timedelta(days=days - 1), until)
        source = self.calls.get_source(account.connection)
        gates = list_refused_fields(self.calls.context.engine, self.clock.now())
        fields = set(spec.fields) - find_refused(source, account.id, gates).keys()
        return _Case(
            account=account,
            source=source,
            window=window,
            is_settled=is_settled,
            report=report,
            spec=spec,
            metrics=tuple(name for name in ADDITIVE_FIELDS if name in fields),
            # Groups lack the actions off the platform.
            lists=() if spec.breakdowns else tuple(name for name in _LISTS if name in fields),
        )

    def _load_or_compare(self, case: _Case, state: dict[str, Any]) -> Sums | None:
        """Return the sums of the ads; compare them with account and stored days, unless an earlier run has."""
        if state["report"] is not None:
            return Sums.load(state["report"])
        details = self._fetch_sums(case, case.details)
        figures: list[ComparedFigure] = []
        if case.whole is not None:
            comparison = "groups" if case.spec.breakdowns else "levels"
            figures += self._compare(case, comparison, self._fetch_sums(case, case.whole), details)
        stored = self._sum_stored_days(case)
        if stored is not None:
            figures += self._compare(case, "stored", details, stored)
        self._report(case, figures)
        return details if case.source.capabilities.has_async_reports else None

    def _compare_async(self, case: _Case, details: Sums, state: dict[str, Any]) -> bool:
        unit = case.details
        if state["report"] is None:
            handle = self.calls.call(case.source, case.account.id, lambda: case.source.submit_async(unit))
            state["report"] = {"id": handle.id, "requested_at": self.clock.now().timestamp(), **details.to_dict()}
        handle = AsyncReportHandle(str(state["report"]["id"]), unit)
        if not self._wait(case, handle, float(state["report"]["requested_at"])):
            return False
        self._report(case, self._compare(case, "async", details, self._fetch_sums(case, handle)))
        return True

    def _wait(self, case: _Case, handle: AsyncReportHandle, requested_at: float) -> bool:
        """Poll a report until it is ready; False when time is used up."""
        while True:
            progress = self.calls.call(case.source, case.account.id, lambda: case.source.poll([handle])[handle])
            if progress.state is AsyncReportState.READY:
                return True
            age = self.clock.now().timestamp() - requested_at
            if progress.state in _ENDED or age > LONGEST_REPORT_SECONDS:
                raise progress.error or AdwarmError(f"the async report {handle.id} ended as {progress.state}")
            if self.budget.is_used_up:
                return False
            self.clock.sleep(POLL_SECONDS)

    def _fetch_sums(self, case: _Case, target: FetchUnit | AsyncReportHandle) -> Sums:
        """Return the sums over every page of a request or report."""
        rows: list[Row] = []
        trail = PageTrail(case.account.id)
        while trail.count == 0 or trail.cursor is not None:
            page = self.calls.call(case.source, case.account.id, partial(case.source.read, target, trail.cursor))
            rows += page.rows
            filled = len(page.rows) / case.source.capabilities.max_page_rows
            trail.add(page.next_cursor, len(page.rows), filled, page.size_bytes)
        return Sums.of(rows, case.metrics)

    def _sum_stored_days(self, case: _Case) -> Sums | None:
        """Return the sums of the stored days; None unless every day of the window is stored as a whole."""
        context = self.calls.context
        states = partitions.list_states(context.engine, case.account.id, case.spec.hash, case.window)
        whole = [state for state in states.values() if state.complete and state.missing is None]
        if len(whole) < len(case.window):
            return None
        return Sums.of(daily_rows(context.objects, states, case.window), case.metrics)

    def _compare(self, case: _Case, comparison: str, expected: Sums, actual: Sums) -> list[ComparedFigure]:
        at = self.clock.now()
        rows = max(expected.rows, actual.rows)
        names = [*case.metrics, *_list_metrics(comparison, expected, actual)]
        pairs = [
            (name, expected.by_metric.get(name, Decimal(0)), actual.by_metric.get(name, Decimal(0))) for name in names
        ]
        return [
            ComparedFigure(
                at=at,
                account_id=case.account.id,
                comparison=comparison,
                since=case.window.since,
                until=case.window.until,
                metric=name if case.report == "default" else f"{name} ({case.report})",
                expected=float(first),
                actual=float(second),
                differs=differ(name, first, second, TOLERANCE, rows),
            )
            for name, first, second in pairs
        ]

    def _report(self, case: _Case, figures: Sequence[ComparedFigure]) -> None:
        """Store figures, and alert about those that differ."""
        insert_figures(self.calls.context.engine, figures)
        self._count("compared", len(figures))
        differing = [figure for figure in figures if figure.differs]
        self._count("differing", len(differing))
        # Recent days that were stored before the platform restated them are no error; they are fetched again.
        alarming = [figure for figure in differing if case.is_settled or figure.comparison != "stored"]
        for figure in differing:
            log.warning("%s", describe(figure))
        if alarming:
            message = describe_all(alarming)
            self.result.problems.append(message)
            self.pipeline.alert(case.source.name, "Reconciliation", message)

    def _count(self, name: str, count: int = 1) -> None:
        self.result.counts[name] = self.result.counts.get(name, 0) + count
