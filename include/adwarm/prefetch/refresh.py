"""One refresh of an account's stale keys: plans, fetches, and publishes days and entries as they become complete.

| step                                   | publishes, in one transaction                                     |
|----------------------------------------|-------------------------------------------------------------------|
| before any call                        | entries whose days and summary are stored already                 |
| after each fetched result              | its days, with the entries that are complete with them            |
| within a result of many rows           | some of its days                                                  |
| when a stored day turns out damaged    | the fetched days; the damaged day is deleted, and all starts over |

Everything is published under the fenced lease of the account's data. What was published before an error stays.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cached_property

from sqlalchemy import Connection

from adwarm.compression.document import WindowTable
from adwarm.fetch_plan import (
    REPORT_ROWS,
    FetchPlan,
    RefetchSchedule,
    combine_request,
    expect_rows,
    list_similar,
    plan_fetch,
)
from adwarm.foundation.errors import Corrupt
from adwarm.model import Account, ColumnTable, EntryKey, QuerySpec, ReportKey, Row, Window
from adwarm.model.keys import name_report
from adwarm.prefetch.batch import platform_time
from adwarm.prefetch.batch_result import Published
from adwarm.prefetch.entry_builder import (
    EntryQuery,
    Provenance,
    RangeSummary,
    build_entry,
    find_due_summaries,
    load_summaries,
    load_summary_rows,
    version_sum,
)
from adwarm.prefetch.fetch_lease import FetchLease
from adwarm.prefetch.fetch_result import FetchResult
from adwarm.prefetch.fetcher import Fetcher
from adwarm.prefetch.gap_filling import MissingData, describe_missing, fill_gaps
from adwarm.prefetch.group_sums import ComparedDay, GroupCheck, record_days, restate_short
from adwarm.recovery import Call
from adwarm.recovery.call import STORED_DATA
from adwarm.sources.protocol import FetchUnit, Increment
from adwarm.sources.units import LEVELS
from adwarm.store import Context, entries, entry_versions, partitions, quarantine
from adwarm.store.fetch_state import FetchState
from adwarm.store.partition_rows import (
    DamagedObjects,
    check_not_emptied,
    daily_rows,
    daily_table,
    hash_in_order,
    in_order,
    pack_table,
    to_table,
)
from adwarm.store.partitions import PartitionState
from adwarm.store.quarantine import DamagedItem

log = logging.getLogger(__name__)
_ROUNDS = 3
_OBJECT_ROWS = 5_000
"""Rows of an object, about; a large result is written in several, so that its rows leave memory one after another."""


def load_states(
    context: Context, account_id: str, spec: QuerySpec, windows: Sequence[Window]
) -> dict[date, PartitionState]:
    """Return the stored partitions of an account, by day, from the first to the last day of `windows`."""
    hull = Window(min(window.since for window in windows), max(window.until for window in windows))
    return partitions.list_states(context.engine, account_id, spec.hash, hull)


@dataclass
class AccountRefresh:
    """Makes keys of one account fresh. Used once, by the thread that holds the lease.

    Attributes:
        now: the moment at which windows were resolved, UTC.
        publishing: opens the transaction that publishes entries, under the fenced lease of the account's data;
            `is_last` says whether all that was requested is published then.
        stored: the state of the account under the lease: its entries, and whether data of it is damaged.
        until: when the keys are still to be fresh; see `plan_fetch`.
    """

    fetcher: Fetcher
    account: Account
    spec: QuerySpec
    lease: FetchLease
    now: datetime
    publishing: Callable[..., AbstractContextManager[Connection]]
    stored: FetchState
    until: datetime | None = None
    _has_damage: bool = False
    _written: dict[str, ColumnTable] = field(default_factory=dict)
    _remaining: dict[EntryKey, ReportKey] = field(default_factory=dict)
    _states: dict[date, PartitionState] = field(default_factory=dict)
    _pending_days: set[date] = field(default_factory=set)
    _stored_summaries: dict[Window, RangeSummary] = field(default_factory=dict)
    _new_summaries: dict[Window, tuple[list[Row], str | None]] = field(default_factory=dict)
    _compared: list[ComparedDay] = field(default_factory=list)
    _added: list[date] = field(default_factory=list)

    def run(self, stale: Mapping[EntryKey, ReportKey], history: Sequence[Window]) -> None:
        """Publish an entry for every stale key, and complete the days of `history`.

        Stored days that turn out to be damaged are set aside and fetched again.

        Raises:
            LeaseLost: the lease was lost; its new holder publishes.
            Corrupt: stored days are damaged again and again.
            AdwarmError: raised by the source; what was published before stays.
        """
        self._remaining = dict(stale)
        for _ in range(_ROUNDS):
            try:
                return self._run_once(history)
            except DamagedObjects as damaged:
                self._set_damaged_days_aside(damaged)
            finally:
                self._record_groups(next(iter(stale.values())))
        raise Corrupt(
            f"{self.account.id}: its stored days are damaged again and again; run `adwarm maintain --verify --repair`"
        )

    @property
    def context(self) -> Context:
        """Database, objects and settings."""
        return self.fetcher.context.context

    @cached_property
    def _schedule(self) -> RefetchSchedule:
        return RefetchSchedule.for_account(self.account, self.context.settings.freshness_rules)

    def _record_groups(self, key: ReportKey) -> None:
        """Store which days have groups that do not add up, and compare groups with plain rows that came after them."""
        prefetch, source, check = self.fetcher.context, self.fetcher.source.name, self._check_groups(self.now)
        compared, added, self._compared, self._added = self._compared, self._added, [], []
        if self.spec.breakdowns:
            record_days(prefetch, source, check, report=name_report(key.report), days=compared)
        elif added:
            restate_short(check, added)

    def _check_groups(self, at: datetime, missing: Sequence[MissingData] = ()) -> GroupCheck:
        """Return the comparison of groups that were read at a moment, of the fields that could be read."""
        lost = {gap.id for gap in missing if gap.level == "field"}
        spec = (
            replace(self.spec, fields=tuple(name for name in self.spec.fields if name not in lost))
            if lost
            else self.spec
        )
        return GroupCheck(self.context, self.account.id, spec, self._schedule, at)

    def _run_once(self, history: Sequence[Window]) -> None:
        windows = [key.window for key in self._remaining]
        if not windows and not history:
            return
        page_rows = self.fetcher.source.capabilities.max_page_rows
        self._states = load_states(self.context, self.account.id, self.spec, [*windows, *history])
        plan = plan_fetch(
            windows, self._states, self._schedule, self.now, history=history, page_rows=page_rows, until=self.until
        )
        self._pending_days = {day for span in plan.spans for day in span.days()}
        descriptions = {state.missing for state in self._states.values() if state.missing}
        self.fetcher.start([gap for text in sorted(descriptions) for gap in MissingData.parse_objects(text)])
        stored = self._remaining.keys() & self.stored.lifetimes.keys()
        self._stored_summaries = load_summaries(self.context, stored)
        self._publish_ready([])
        for unit in self._first_units(plan):
            self._fetch(unit)
        due = [
            window for window in plan.summary_windows if self._summary(window) is None and self._is_requested(window)
        ]
        if due:
            for unit in self.fetcher.source.plan(self.account, due, Increment.RANGE, self.spec):
                self._fetch(unit)

    def _first_units(self, plan: FetchPlan) -> Iterator[FetchUnit]:
        """Yield the units of the days, together with the due summaries where one request can cover both."""
        due = find_due_summaries(plan.summary_windows, self._stored_summaries, self._states, self._schedule, self.now)
        due = [window for window in due if self._is_requested(window)]
        rows = self._expect_rows(plan)
        self.fetcher.rows_per_day = rows
        source = self.fetcher.source
        max_rows = min(source.capabilities.max_page_rows, REPORT_ROWS)
        combined = combine_request(plan.spans, due, source.capabilities, rows, max_rows)
        if combined:
            yield from source.plan(self.account, combined, Increment.RANGE, self.spec)
            return
        for span in plan.spans:
            yield from source.plan(self.account, [span], Increment.DAY, self.spec)

    def _expect_rows(self, plan: FetchPlan) -> int:
        """Return the most rows that a day is expected to have; 0 for a plain report of which nothing is stored."""
        rows = max((state.rows for state in self._states.values()), default=0)
        if self._states or not self.spec.breakdowns or not plan.spans:
            return rows
        similar = (
            (other.level, max((state.rows for state in states.values()), default=None))
            for other in list_similar(self.spec, self.context.settings)
            if (states := load_states(self.context, self.account.id, other, plan.spans))
        )
        return math.ceil(expect_rows(self.spec, None, similar))

    def _is_requested(self, window: Window) -> bool:
        return any(key.window == window for key in self._remaining)

    def _fetch(self, unit: FetchUnit) -> None:
        for result in self.fetcher.iter_results(unit):
            windows = result.windows or unit.windows
            if unit.increment is Increment.DAY:
                states = self._save_days(result, [day for window in windows for day in window.days()])
            else:
                single_days = [window.since for window in windows if len(window) == 1]
                states = self._save_days(result, [day for day in single_days if day in self._pending_days])
                self._collect_summaries(result, [window for window in windows if len(window) > 1])
            self._publish_ready(states)

    def _save_days(self, result: FetchResult, days: Sequence[date]) -> list[PartitionState]:
        """Store the rows of days, publish some of the days if they are many, and return the others."""
        if not days:
            return []
        older = self._load_older_rows(days) if result.missing else []
        rows_before = sum(self._states[day].rows for day in days if day in self._states)
        filled = len(fill_gaps([], result.missing, older, self.spec.identity))
        rows_now = filled + sum(result.rows.count(Window(day, day)) for day in days)
        check_not_emptied(self.account.id, rows_before, rows_now)
        at = self._fetched_at(result)
        group: dict[date, list[Row]] = {}
        for day in days:
            rows = result.rows.take(Window(day, day))
            if result.missing:
                of_day = [row for row in older if row["date_start"] == day.isoformat()]
                rows = in_order(fill_gaps(rows, result.missing, of_day, self.spec.identity))
            group[day] = rows
            if sum(map(len, group.values())) >= _OBJECT_ROWS:
                self._publish(self._put(group, result, at), {})
                group = {}
        return self._put(group, result, at)

    def _put(self, days: Mapping[date, list[Row]], result: FetchResult, at: datetime) -> list[PartitionState]:
        """Store the rows of days as an object, and return the days as they are to be published."""
        if not days:
            return []
        table = to_table([row for rows in days.values() for row in rows])
        digest = self.context.objects.put(pack_table(table))
        self._written = {digest: table}  # one object at most, so that memory stays small
        short = self._find_short(days, result, at)
        return [
            self._state(day, rows, digest, at, (*result.missing, *short.get(day, ()))) for day, rows in days.items()
        ]

    def _find_short(
        self, days: Mapping[date, list[Row]], result: FetchResult, at: datetime
    ) -> dict[date, list[MissingData]]:
        """Return what groups lack beside the plain rows, by day; days that lack an object are said to do so already."""
        if not self.spec.breakdowns:
            self._added += [day for day in days if day not in self._states and self._schedule.is_final(day, at)]
        if not self.spec.breakdowns or any(gap.level in LEVELS for gap in result.missing):
            return {}
        compared = self._check_groups(at, result.missing).compare(days)
        self._compared += compared
        return {item.day: [item.gap] for item in compared if item.is_short}

    def _state(
        self, day: date, rows: list[Row], digest: str, at: datetime, gaps: Sequence[MissingData]
    ) -> PartitionState:
        before = self._states.get(day)
        content = hash_in_order(rows)
        # The version grows only when the rows differ: that tells summaries whether a day was restated.
        version = 1 if before is None else before.data_version + (before.content_hash != content)
        version_name = self.fetcher.api_version
        state = PartitionState(
            day=day,
            object_hash=digest,
            rows=len(rows),
            content_hash=content,
            fetched_at=at,
            complete=True,
            settled=self._schedule.is_final(day, at),
            data_version=version,
            api_version=version_name,
            missing=describe_missing(gaps, Window(day, day)),
        )
        return replace(state, settled=False) if state.is_short else state

    def _fetched_at(self, result: FetchResult | None = None) -> datetime:
        """Return when data was fetched, by the platform's clock where the local one is clearly wrong."""
        at = min(self.now, result.requested_at or self.now) if result else self.now
        return platform_time(at, self.fetcher.source.clock_offset_seconds)

    def _load_older_rows(self, days: Sequence[date]) -> list[Row]:
        """Return the stored rows of days, which fill gaps; none when they are damaged."""
        try:
            return daily_rows(self.context.objects, self._states, Window(min(days), max(days)))
        except DamagedObjects as damaged:
            self._set_damaged_days_aside(damaged)
            return []

    def _collect_summaries(self, result: FetchResult, windows: Sequence[Window]) -> None:
        """Keep the fetched summaries of `windows`; a window without a row had no delivery."""
        keys = [EntryKey(self.account.id, window, self.spec.hash) for window in windows if result.missing]
        older = load_summary_rows(self.context, keys)
        for window in windows:
            rows = result.rows.take(window)
            if result.missing:
                of_window = [row for row in older if _window(row) == window]
                rows = in_order(fill_gaps(rows, result.missing, of_window, self.spec.identity))
            self._new_summaries[window] = rows, describe_missing(result.missing, window)

    def _summary(self, window: Window) -> RangeSummary | None:
        """Return the summary of a window if it is as new as the window's days."""
        if window in self._new_summaries:
            rows, missing = self._new_summaries[window]
            return RangeSummary(rows, self._fetched_at(), version_sum(self._states, window), missing)
        if find_due_summaries([window], self._stored_summaries, self._states, self._schedule, self.now):
            return None
        return self._stored_summaries[window]

    def _publish_ready(self, states: Sequence[PartitionState]) -> None:
        """Publish days, with the entries whose days and summary are complete."""
        self._pending_days.difference_update(state.day for state in states)
        before, self._states = self._states, self._states | {state.day: state for state in states}
        try:
            built = self._build_ready()
        except Exception:
            self._states = before
            self._publish(states, {})
            raise
        self._publish(states, built)

    def _build_ready(self) -> dict[EntryKey, Published]:
        """Build the entries whose days and summary are complete. A window within another one shares its rows."""
        built: dict[EntryKey, Published] = {}
        covered, table = None, WindowTable.of(ColumnTable(0, {}))
        for entry_key, key in sorted(self._remaining.items(), key=lambda item: -len(item[0].window)):
            window = entry_key.window
            summary = self._summary(window) if len(window) > 1 else None
            if not self._pending_days.isdisjoint(window.days()) or (summary is None and len(window) > 1):
                continue
            query = EntryQuery(key, entry_key, self.spec, self.account)
            provenance = Provenance(self.fetcher.source.name, self.fetcher.api_version, self._fetched_at())
            if covered is None or window.since not in covered or window.until not in covered:
                rows_of_days = daily_table(self.context.objects, self._states, window, self._written)
                covered, table = window, WindowTable.of(rows_of_days)
            daily = table.take_window(window)
            entry, sealed = build_entry(self.context, query, self._states, summary, provenance, daily=daily)
            rows = sum(self._states[day].rows for day in window.days() if day in self._states)
            built[entry_key] = Published(entry, sealed, rows, provenance.built_at)
        return built

    def _publish(self, states: Sequence[PartitionState], built: Mapping[EntryKey, Published]) -> None:
        if not states and not built:
            return
        days = {state.day for state in states}
        is_last = built.keys() == self._remaining.keys() and self._pending_days <= days
        token, items = self.lease.record.token, [(item.entry, item.sealed) for item in built.values()]
        with self.publishing(built, is_last=is_last) as connection:
            partitions.publish(connection, self.account.id, self.spec.hash, states, token)
            entries.publish(connection, items, token, self.now)
            entry_versions.save(connection, [entry.key for entry, _ in items], self.now)
        self._states.update({state.day: state for state in states})
        self._pending_days -= days
        for key, item in built.items():
            del self._remaining[key]
            self._new_summaries.pop(key.window, None)
            log.debug("stored %s of %s: %d rows", key.window, key.account_id, item.rows)
        if self._has_damage or self.stored.has_damage:
            quarantine.mark_days_healed(self.context.engine, self.account.id, self.spec.hash, days, self.now)
            quarantine.mark_entries_healed(self.context.engine, [self.account.id], self.now)

    def _set_damaged_days_aside(self, damaged: DamagedObjects) -> None:
        """Set stored days aside whose objects are lost or damaged, so that they are fetched again."""
        # The healer does it and keeps a record. Where none runs, or the same object is damaged again within its cool-
        # down, it is done here, because the days cannot be read in any case.
        log.warning("%s: %s; fetching its days again", self.account.id, damaged)
        damaged.refetched_by_reader = self._has_damage = True
        context = self.fetcher.context
        context.pipeline.heal(damaged, call=Call(STORED_DATA, account_id=self.account.id))
        at = context.clock.now()
        for digest in damaged.digests:
            if partitions.list_spans_of_object(self.context.engine, digest):
                quarantine.set_aside(self.context, DamagedItem("partition", digest, self.account.id, str(damaged), at))
        damaged_hashes = set(damaged.digests)
        self._states = {day: state for day, state in self._states.items() if state.object_hash not in damaged_hashes}


def _window(row: Row) -> Window:
    return Window(date.fromisoformat(str(row["date_start"])), date.fromisoformat(str(row["date_stop"])))
