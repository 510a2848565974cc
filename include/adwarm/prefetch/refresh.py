"""One refresh of an account's stale keys: plan, fetch, and publish days and entries as they become whole.

Everything is published under the fenced lease of the account's data. An error leaves what was published before it.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property

from adwarm.fetch_plan.planner import FetchPlan, combine_request, plan_fetch
from adwarm.fetch_plan.refetch_schedule import RefetchSchedule
from adwarm.foundation.errors import Corrupt
from adwarm.model import Account, EntryKey, QuerySpec, ReportKey, Row, Window
from adwarm.prefetch.context import FetchContext, platform_time
from adwarm.prefetch.entry_builder import Provenance, build_entry
from adwarm.prefetch.fetch_lease import FetchLease, LeaseLost
from adwarm.prefetch.fetcher import Fetcher
from adwarm.prefetch.gap_filling import describe_missing, fill_gaps, load_older_summaries
from adwarm.prefetch.range_summaries import RangeSummary, find_due_summaries, load_summaries, version_sum
from adwarm.prefetch.splitting import FetchResult, MissingData
from adwarm.sources.protocol import FetchUnit, Increment
from adwarm.store import entries, leases, partitions
from adwarm.store.database import write_transaction
from adwarm.store.entries import Entry
from adwarm.store.error_events import ErrorEvent, ErrorLog
from adwarm.store.partition_rows import DamagedObjects, check_not_emptied, content_hash, daily_rows, in_order, pack_rows
from adwarm.store.partitions import PartitionState

log = logging.getLogger(__name__)
_ROUNDS = 3
_OBJECT_ROWS = 5_000
"""Rows after which a large answer goes on in another object, so that it leaves memory bit by bit."""


def plan_refresh(
    context: FetchContext,
    account: Account,
    report: str,
    windows: Sequence[Window],
    history: Sequence[Window],
    now: datetime,
    page_rows: int,
) -> FetchPlan:
    """Return the fewest requests that make `windows` complete and fresh, and the days of `history` complete."""
    have = _get_states(context, account, report, [*windows, *history])
    calendar = RefetchSchedule.for_account(account, context.settings.freshness_rules)
    return plan_fetch(windows, have, calendar, now, history, page_rows)


def _get_states(
    context: FetchContext, account: Account, report: str, windows: Sequence[Window]
) -> dict[date, PartitionState]:
    hull = Window(min(window.since for window in windows), max(window.until for window in windows))
    return partitions.list_states(context.engine, account.id, context.settings.spec(report).hash, hull)


@dataclass
class AccountRefresh:
    """Makes keys of one account fresh. Used once, by the thread that holds the lease.

    Attributes:
        now: the moment by which windows were resolved.
        published: called with each entry as soon as it is stored.
    """

    context: FetchContext
    fetcher: Fetcher
    account: Account
    report: str
    lease: FetchLease
    now: datetime
    on_published: Callable[[EntryKey, Entry], None]
    _remaining: dict[EntryKey, ReportKey] = field(default_factory=dict)
    _states: dict[date, PartitionState] = field(default_factory=dict)
    _pending_days: set[date] = field(default_factory=set)
    _stored_summaries: dict[Window, RangeSummary] = field(default_factory=dict)
    _new_summaries: dict[Window, tuple[list[Row], str | None]] = field(default_factory=dict)

    def run(self, stale: Mapping[EntryKey, ReportKey], history: Sequence[Window]) -> None:
        """Publish an entry for every stale key, and complete the days of `history`.

        Stored days that turn out to be damaged are forgotten and fetched again.

        Raises:
            LeaseLost: the lease was lost; its new holder publishes.
            AdwarmError: as the upstream says; what was published before stays.
        """
        self._remaining = dict(stale)
        for _ in range(_ROUNDS):
            try:
                return self._run_once(history)
            except DamagedObjects as damaged:
                self._delete_damaged_days(damaged)
        raise Corrupt(f"{self.account.id}: its stored days are damaged again and again; run `adwarm verify --repair`")

    @cached_property
    def spec(self) -> QuerySpec:
        """The query of the report."""
        return self.context.settings.spec(self.report)

    @cached_property
    def _schedule(self) -> RefetchSchedule:
        return RefetchSchedule.for_account(self.account, self.context.settings.freshness_rules)

    def _run_once(self, history: Sequence[Window]) -> None:
        windows = [key.window for key in self._remaining]
        if not windows and not history:
            return
        page_rows = self.fetcher.source.capabilities.max_page_rows
        plan = plan_refresh(self.context, self.account, self.report, windows, history, self.now, page_rows)
        self._states = _get_states(self.context, self.account, self.report, [*windows, *history, *plan.spans])
        self._pending_days = {day for span in plan.spans for day in span.days()}
        lacking = {state.missing for state in self._states.values() if state.missing}
        self.fetcher.start([gap for text in sorted(lacking) for gap in MissingData.parse_objects(text)])
        self._stored_summaries = load_summaries(self.context.engine, self._remaining, self.context.settings.compression)
        self._publish_ready()
        for unit in self._first_units(plan):
            self._fetch(unit)
        due = [
            window for window in plan.summary_windows if self._summary(window) is None and self._is_requested(window)
        ]
        if due:
            for unit in self.fetcher.source.plan(self.account, due, Increment.RANGE, self.spec):
                self._fetch(unit)

    def _first_units(self, plan: FetchPlan) -> Iterator[FetchUnit]:
        """Yield the units of the days, along with the summaries that are due where one unit can hold both."""
        due = find_due_summaries(plan.summary_windows, self._stored_summaries, self._states, self._schedule, self.now)
        due = [window for window in due if self._is_requested(window)]
        rows = max((state.rows for state in self._states.values()), default=0)
        self.fetcher.rows_per_day = rows
        source = self.fetcher.source
        most = min(source.capabilities.max_page_rows, self.context.settings.source.report_rows)
        together = combine_request(plan.spans, due, source.capabilities, rows, most)
        if together:
            yield from source.plan(self.account, together, Increment.RANGE, self.spec)
            return
        for span in plan.spans:
            yield from source.plan(self.account, [span], Increment.DAY, self.spec)

    def _is_requested(self, window: Window) -> bool:
        return any(key.window == window for key in self._remaining)

    def _fetch(self, unit: FetchUnit) -> None:
        for part in self.fetcher.iter_results(unit):
            windows = part.windows or unit.windows
            if unit.increment is Increment.DAY:
                self._save_days(part, [day for window in windows for day in window.days()])
            else:
                self._save_days(
                    part,
                    [window.since for window in windows if window.since in self._pending_days and len(window) == 1],
                )
                self._collect_summaries(part, [window for window in windows if len(window) > 1])
            self._publish_ready()

    def _save_days(self, part: FetchResult, days: Sequence[date]) -> None:
        """Store the rows of days, and publish the days as partitions."""
        if not days:
            return
        older = self._load_older_rows(days) if part.missing else []
        stored = sum(self._states[day].rows for day in days if day in self._states)
        kept = len(fill_gaps([], part.missing, older, self.spec.level))
        check_not_emptied(self.account.id, stored, kept + sum(part.rows.count(Window(day, day)) for day in days))
        at = self._fetched_at(part)
        some: dict[date, list[Row]] = {}
        for day in days:
            rows = part.rows.take(Window(day, day))
            if part.missing:
                of_day = [row for row in older if row["date_start"] == day.isoformat()]
                rows = in_order(fill_gaps(rows, part.missing, of_day, self.spec.level))
            some[day] = rows
            if sum(map(len, some.values())) >= _OBJECT_ROWS:
                self._publish_days(some, part, at)
                some = {}
        self._publish_days(some, part, at)

    def _publish_days(self, days: Mapping[date, list[Row]], part: FetchResult, at: datetime) -> None:
        if not days:
            return
        digest = self.context.objects.put(pack_rows([row for rows in days.values() for row in rows]))
        states = [self._state(day, rows, digest, at, part.missing) for day, rows in days.items()]
        with write_transaction(self.context.engine) as connection:
            if not leases.is_current(connection, self.lease.record):
                raise LeaseLost(f"{self.account.id}: the lease was lost while fetching; its new holder publishes")
            partitions.publish(connection, self.account.id, self.spec.hash, states, self.lease.record.token)
        self._states.update({state.day: state for state in states})
        self._pending_days.difference_update(days)

    def _state(
        self, day: date, rows: list[Row], digest: str, at: datetime, gaps: Sequence[MissingData]
    ) -> PartitionState:
        before = self._states.get(day)
        content = content_hash(rows)
        version = 1 if before is None else before.data_version + (before.content_hash != content)
        settled, missing = self._schedule.is_final(day, at), describe_missing(gaps, Window(day, day))
        version_name = self.fetcher.api_version
        return PartitionState(day, digest, len(rows), content, at, True, settled, version, version_name, missing)

    def _fetched_at(self, part: FetchResult | None = None) -> datetime:
        """Return the age of fetched data, by the platform's clock where the local one is clearly wrong."""
        at = min(self.now, part.requested_at or self.now) if part else self.now
        return platform_time(at, self.fetcher.source.clock_offset_seconds)

    def _load_older_rows(self, days: Sequence[date]) -> list[Row]:
        """Return what is stored of days, when something has to be taken from there."""
        try:
            return daily_rows(self.context.objects, self._states, Window(min(days), max(days)))
        except DamagedObjects as damaged:
            self._delete_damaged_days(damaged)
            return []

    def _collect_summaries(self, part: FetchResult, windows: Sequence[Window]) -> None:
        """Keep the summaries of `windows` that were fetched; a window without a row had no delivery."""
        keys = [EntryKey(self.account.id, window, self.spec.hash) for window in windows if part.missing]
        older = load_older_summaries(self.context.engine, keys, self.context.settings.compression)
        for window in windows:
            rows = part.rows.take(window)
            if part.missing:
                of_window = [row for row in older if _window(row) == window]
                rows = in_order(fill_gaps(rows, part.missing, of_window, self.spec.level))
            self._new_summaries[window] = rows, describe_missing(part.missing, window)

    def _summary(self, window: Window) -> RangeSummary | None:
        """Return the summary of a window when it is as new as the window's days."""
        if window in self._new_summaries:
            rows, missing = self._new_summaries[window]
            return RangeSummary(rows, self._fetched_at(), version_sum(self._states, window), missing)
        if find_due_summaries([window], self._stored_summaries, self._states, self._schedule, self.now):
            return None
        return self._stored_summaries[window]

    def _publish_ready(self) -> None:
        """Build and publish the entries whose days and summary are there."""
        built: dict[EntryKey, tuple[Entry, bytes]] = {}
        for key, name in self._remaining.items():
            summary = self._summary(key.window) if len(key.window) > 1 else None
            if not self._pending_days.isdisjoint(key.window.days()) or (summary is None and len(key.window) > 1):
                continue
            origin = Provenance(self.fetcher.source.name, self.fetcher.api_version, self._fetched_at())
            built[key] = build_entry(
                name,
                key,
                self.spec,
                self.account,
                summary,
                self.context.objects,
                self._states,
                origin,
                self.context.settings.freshness_rules,
                self.context.settings.compression,
            )
        self._publish(built)

    def _publish(self, built: Mapping[EntryKey, tuple[Entry, bytes]]) -> None:
        if not built:
            return
        with write_transaction(self.context.engine) as connection:
            if not leases.is_current(connection, self.lease.record):
                raise LeaseLost(f"{self.account.id}: the lease was lost while fetching; its new holder publishes")
            entries.publish(connection, list(built.values()), self.lease.record.token, self.now)
        for key, (entry, _) in built.items():
            del self._remaining[key]
            self._new_summaries.pop(key.window, None)
            self.on_published(key, entry)

    def _delete_damaged_days(self, damaged: DamagedObjects) -> None:
        """Forget stored days whose objects are lost or damaged, so that they are fetched again."""
        log.warning("%s: %s; its days are fetched again", self.account.id, damaged)
        event = ErrorEvent(self.context.clock.now(), "store", "Corrupt", str(damaged), self.account.id)
        ErrorLog(self.context.engine).record(event)
        for digest in damaged.digests:
            partitions.delete_by_object(self.context.engine, digest)
        gone = set(damaged.digests)
        self._states = {day: state for day, state in self._states.items() if state.object_hash not in gone}


def _window(row: Row) -> Window:
    return Window(date.fromisoformat(str(row["date_start"])), date.fromisoformat(str(row["date_stop"])))
