"""Makes the wanted keys of one account fresh: plan, fetch, store, and publish under a fenced lease.

A job that has to wait for a report leaves with `ReportRunning`; run again under its lease it goes on from there.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property

from sqlalchemy import Engine

from adwarm.errors import Transient
from adwarm.model import Account, EntryKey, FreshnessRules, QuerySpec, Window, local_day, resolve_key
from adwarm.prefetch.assembly import Provenance, build_entry, daily_rows
from adwarm.prefetch.calendar import SettleCalendar
from adwarm.prefetch.dividing import Fetched, Gap, joined
from adwarm.prefetch.fetching import Fetcher
from adwarm.prefetch.holding import HeldLease, hold
from adwarm.prefetch.keeping import missing_text, older_summaries, with_older
from adwarm.prefetch.outcome import KeyOutcome, KeyStatus, Wanted
from adwarm.prefetch.planner import FetchPlan, combined, plan_fetch
from adwarm.prefetch.reporting import ReportNotes
from adwarm.prefetch.rows import by_day, check_not_emptied, content_hash, pack_rows, without_duplicates
from adwarm.prefetch.summaries import Summary, due_summaries, kept_summaries, version_sum
from adwarm.settings import Settings
from adwarm.sources.protocol import Increment, Row
from adwarm.store import entries, leases, partitions
from adwarm.store.engine import writing
from adwarm.store.entries import Entry
from adwarm.store.objects import ObjectStore
from adwarm.store.partitions import PartitionState

TOO_LARGE_FOR = timedelta(hours=1)
"""A question that was too large is not asked again for so long; figures grow, and platforms have better hours."""


@dataclass
class AccountJob:
    """One account's share of a batch. Used by one thread at a time.

    Attributes:
        held: the lease, once the job has one; whoever runs the job releases it when there is an end to it.
    """

    engine: Engine
    objects: ObjectStore
    settings: Settings
    fetcher: Fetcher
    account: Account
    report: str
    owner: str
    held: HeldLease | None = None
    _started: float = field(default_factory=time.monotonic)
    _at: datetime | None = None
    _api_version: str = ""
    _too_large: dict[str, str] = field(default_factory=dict)

    def run(self, wanted: Sequence[Wanted]) -> list[KeyOutcome]:
        """Return one outcome per wanted key, in order.

        Raises:
            ReportRunning: a report has to be waited for; run again when it has landed.
            AdwarmError: the upstream's verdict on the account as a whole; nothing was published.
        """
        now = self._at or self.fetcher.clock.now()
        resolved, refused = self._resolve(wanted, now)
        published: dict[EntryKey, Entry] = {}
        if self.held or self._stale(resolved, now):
            self.held = self.held or self._hold()
            self._at = self._at or self.fetcher.clock.now()
            stale = self._stale(resolved, self._at)  # another worker may have fetched while the lease was awaited
            published = self._refresh(stale, self.held, self._at) if stale else {}
        payer = next(iter(published), None)
        outcomes = []
        for item in wanted:
            key = resolved.get(item)
            if key is None:
                outcomes.append(KeyOutcome(item, KeyStatus.FAILED, reason=refused[item]))
            elif key not in published:
                outcomes.append(KeyOutcome(item, KeyStatus.FRESH))
            else:
                outcomes.append(self._outcome(item, published[key], key == payer))
                payer = None if key == payer else payer
        return outcomes

    def _resolve(self, wanted: Sequence[Wanted], now: datetime) -> tuple[dict[Wanted, EntryKey], dict[Wanted, str]]:
        """Return the entry key of each item, and why for those whose window the source does not keep."""
        today = local_day(now, self.account.data_zone)
        oldest = self.fetcher.source.caps.oldest_day(today)
        resolved: dict[Wanted, EntryKey] = {}
        refused: dict[Wanted, str] = {}
        for item in wanted:
            key = resolve_key(item.key, self.account, self._spec, now)
            if oldest <= key.window.since <= today:
                resolved[item] = key
            else:
                refused[item] = f"{key.window} is outside the days {oldest}..{today} that the source keeps"
        return resolved, refused

    @property
    def _spec(self) -> QuerySpec:
        return self.settings.spec(self.report)

    @property
    def _rules(self) -> FreshnessRules:
        return self.settings.freshness_rules

    @cached_property
    def _calendar(self) -> SettleCalendar:
        return SettleCalendar.of(self.account, self._rules)

    def _stale(self, resolved: dict[Wanted, EntryKey], now: datetime) -> dict[Wanted, EntryKey]:
        """Return the items whose entry is absent, or not fresh for as long as they ask, or whose history has gaps."""
        fresh_until = entries.expiries(self.engine, resolved.values())
        return {
            item: key
            for item, key in resolved.items()
            if key not in fresh_until
            or fresh_until[key] <= max(now, item.fresh_until or now)
            or (self._history([item], now) and self._plan({item: key}, now).spans)
        }

    def _plan(self, stale: dict[Wanted, EntryKey], now: datetime) -> FetchPlan:
        windows, history = [key.window for key in stale.values()], self._history(stale, now)
        have = self._states([*windows, *history])
        return plan_fetch(windows, have, self._calendar, now, history, self.fetcher.source.caps.page_max)

    def _history(self, items: Iterable[Wanted], now: datetime) -> list[Window]:
        yesterday = local_day(now, self.account.data_zone) - timedelta(days=1)
        behind = (item.days_behind(self.settings.planning.history_days, yesterday) for item in items)
        return [window for window in behind if window is not None]

    def _states(self, windows: Sequence[Window]) -> dict[date, PartitionState]:
        hull = Window(min(window.since for window in windows), max(window.until for window in windows))
        return partitions.states(self.engine, self.account.id, self._spec.hash, hull)

    def _refresh(self, stale: dict[Wanted, EntryKey], held: HeldLease, now: datetime) -> dict[EntryKey, Entry]:
        plan = self._plan(stale, now)
        states = self._states([*(key.window for key in stale.values()), *plan.spans])
        lacking = {state.missing for state in states.values() if state.missing}
        self.fetcher.start_over([gap for text in sorted(lacking) for gap in Gap.named_in(text)])
        summaries = kept_summaries(self.engine, stale.values(), self.settings.compression)
        due = due_summaries(plan.ranges, summaries, states, self._calendar, now)
        daily, early = self._fetch_days(plan.spans, due, states, now)
        states.update({state.day: state for state in daily})
        summaries.update(self._summaries(early, due, states, now) if early else {})
        due = due_summaries(plan.ranges, summaries, states, self._calendar, now)
        if due:
            summaries.update(self._summaries(self._fetch(due, Increment.RANGE), due, states, now))
        origin = Provenance(self.fetcher.source.name, self._api_version, now)
        built = {
            key: build_entry(
                item.key, key, self._spec, self.account, summaries.get(key.window), self.objects, states, origin,
                self._rules, self.settings.compression,
            )
            for item, key in stale.items()
        }  # fmt: skip
        with writing(self.engine) as connection:
            if not leases.is_current(connection, held.lease):
                raise Transient(f"{self.account.id}: the lease was lost while fetching; its new holder publishes")
            partitions.publish(connection, self.account.id, self._spec.hash, daily, held.lease.token)
            entries.publish(connection, list(built.values()), held.lease.token, now)
        return {key: entry for key, (entry, _) in built.items()}

    def _fetch_days(
        self, spans: Sequence[Window], due: Sequence[Window], before: dict[date, PartitionState], now: datetime
    ) -> tuple[list[PartitionState], Fetched | None]:
        """Fetch days, along with the summaries that are due in any case where one request can hold both."""
        self.fetcher.rows_per_day = max((state.rows for state in before.values()), default=0)
        caps, rows = self.fetcher.source.caps, self.fetcher.rows_per_day
        together = combined(spans, due, caps, rows, min(caps.page_max, self.settings.source.report_rows))
        if together:
            fetched = self._fetch(together, Increment.RANGE)
            return [state for span in spans for state in self._kept(span, fetched, before, now)], fetched
        apart = ((span, self._fetch([span], Increment.DAY)) for span in spans)
        return [state for span, fetched in apart for state in self._kept(span, fetched, before, now)], None

    def _kept(
        self, span: Window, fetched: Fetched, before: dict[date, PartitionState], now: datetime
    ) -> list[PartitionState]:
        """Put the daily rows of a span into the object store, and return what is known of each of its days."""
        older = daily_rows(self.objects, before, span) if fetched.gaps else []
        fresh = [row for row in fetched.rows if row["date_start"] == row["date_stop"] and _day(row) in span]
        rows = with_older(without_duplicates(fresh), fetched.gaps, older)
        check_not_emptied(self.account.id, sum(before[day].rows for day in span.days() if day in before), len(rows))
        digest = self.objects.put(pack_rows(rows))
        groups, at = by_day(rows), min(now, fetched.asked_at or now)
        return [
            self._state(
                day, groups.get(day, []), digest, before.get(day), at, missing_text(fetched.gaps, Window(day, day))
            )
            for day in span.days()
        ]

    def _state(
        self, day: date, rows: list[Row], digest: str, before: PartitionState | None, at: datetime, missing: str | None
    ) -> PartitionState:
        content = content_hash(rows)
        version = 1 if before is None else before.data_version + (before.content_hash != content)
        settled = self._calendar.is_final(day, at)
        return PartitionState(day, digest, len(rows), content, at, True, settled, version, self._api_version, missing)

    def _summaries(
        self, fetched: Fetched, windows: Sequence[Window], states: dict[date, PartitionState], now: datetime
    ) -> dict[Window, Summary]:
        """Return the summaries of `windows` that were fetched; a window without a row had no delivery."""
        found: dict[Window, list[Row]] = {window: [] for window in windows}
        older = self._older_ranges(windows, fetched.gaps)
        for row in with_older(without_duplicates(fetched.rows), fetched.gaps, older):
            window = Window(_day(row), date.fromisoformat(str(row["date_stop"])))
            if window in found:
                found[window].append(row)
        return {
            window: Summary(rows, now, version_sum(states, window), missing_text(fetched.gaps, window))
            for window, rows in found.items()
        }

    def _older_ranges(self, windows: Sequence[Window], gaps: Sequence[Gap]) -> list[Row]:
        """Return what is stored of the same windows, when something has to be taken from there."""
        keys = [EntryKey(self.account.id, window, self._spec.hash) for window in windows if gaps]
        return older_summaries(self.engine, keys, self.settings.compression)

    def _fetch(self, windows: Sequence[Window], increment: Increment) -> Fetched:
        units = self.fetcher.source.plan(self.account, windows, increment, self._spec)
        fetched = joined(self.fetcher.fetch(unit) for unit in units)
        self._api_version = fetched.api_version or self._api_version
        return fetched

    def _hold(self) -> HeldLease:
        held = hold(self.engine, f"fetch:{self.account.id}:{self._spec.hash}", self.owner, self.fetcher)
        self.fetcher.notes = ReportNotes(
            self.engine, held.lease, self.fetcher.clock, self.fetcher.source.name,
            self.settings.source.report_max_seconds,
        )  # fmt: skip
        self._too_large = leases.too_large(self.engine, held.lease, self.fetcher.clock.now() - TOO_LARGE_FOR)
        self.fetcher.too_large = dict(self._too_large)
        return held

    def release(self, *, done: bool) -> None:
        """Give the lease back, if it is held. What was too large is noted in it, unless the job is done."""
        if self.held:
            too_large = {} if done else self.fetcher.too_large
            if too_large != self._too_large:
                leases.keep_too_large(self.engine, self.held.lease, too_large, self.fetcher.clock.now())
            self.held.release()
            self.held = None

    def _outcome(self, item: Wanted, entry: Entry, pays: bool) -> KeyOutcome:
        """Return a fetched key's outcome; the account's requests are booked on its first key."""
        return KeyOutcome(
            item,
            KeyStatus.FETCHED,
            requests=self.fetcher.requests if pays else 0,
            fetched_at=entry.fetched_at,
            expires_at=entry.expires_at,
            raw_bytes=entry.raw_bytes,
            stored_bytes=entry.stored_bytes,
            reason=entry.degraded_reason,
            seconds=time.monotonic() - self._started,
        )


def _day(row: Row) -> date:
    return date.fromisoformat(str(row["date_start"]))
