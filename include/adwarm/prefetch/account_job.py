"""Makes the wanted keys of one account fresh: plan, fetch, store, and publish under a fenced lease."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from sqlalchemy import Engine

from adwarm.errors import Transient
from adwarm.model import Account, EntryKey, FreshnessRules, QuerySpec, Window, is_settled, local_day, resolve_key
from adwarm.prefetch.assembly import Provenance, build_entry
from adwarm.prefetch.fetching import Fetcher
from adwarm.prefetch.holding import HeldLease, held_lease
from adwarm.prefetch.outcome import KeyOutcome, KeyStatus, Wanted
from adwarm.prefetch.planner import FetchPlan, closing_windows, plan_fetch
from adwarm.prefetch.rows import by_day, content_hash, pack_rows, without_duplicates
from adwarm.settings import Settings
from adwarm.sources.protocol import Increment, Row
from adwarm.store import entries, leases, partitions
from adwarm.store.engine import writing
from adwarm.store.entries import Entry
from adwarm.store.objects import ObjectStore
from adwarm.store.partitions import PartitionState


@dataclass
class AccountJob:
    """One account's share of a batch. Used once, by one thread."""

    engine: Engine
    objects: ObjectStore
    settings: Settings
    fetcher: Fetcher
    account: Account
    report: str
    owner: str

    def run(self, wanted: Sequence[Wanted]) -> list[KeyOutcome]:
        """Return one outcome per wanted key, in order.

        Raises:
            AdwarmError: the upstream's verdict on the account as a whole; nothing was published.
        """
        self._started = time.monotonic()
        now = self.fetcher.clock.now()
        resolved, refused = self._resolve(wanted, now)
        published: dict[EntryKey, Entry] = {}
        if self._stale(resolved, now):
            with self._held() as held:
                now = self.fetcher.clock.now()
                stale = self._stale(resolved, now)  # another worker may have fetched while the lease was awaited
                published = self._refresh(stale, held, now) if stale else {}
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
        oldest = today - timedelta(days=self.fetcher.source.caps.retention_days)
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

    def _stale(self, resolved: dict[Wanted, EntryKey], now: datetime) -> dict[Wanted, EntryKey]:
        """Return the items whose entry is absent, or not fresh for as long as they ask, or whose history has gaps."""
        fresh_until = entries.expiries(self.engine, resolved.values())
        return {
            item: key
            for item, key in resolved.items()
            if key not in fresh_until
            or fresh_until[key] <= max(now, item.fresh_until or now)
            or (item.close_day is not None and self._plan({item: key}, now, with_entries=False).daily is not None)
        }

    def _plan(self, stale: dict[Wanted, EntryKey], now: datetime, *, with_entries: bool = True) -> FetchPlan:
        windows = [key.window for key in stale.values()]
        history = self._history([item.close_day for item in stale if item.close_day], now)
        spans = [*windows, *([history] if history else [])]
        hull = Window(min(span.since for span in spans), max(span.until for span in spans))
        have = partitions.states(self.engine, self.account.id, self._spec.hash, hull)
        plan = plan_fetch(windows, have, self.account.data_zone, now, self._rules, history)
        return plan if with_entries else replace(plan, ranges=())

    def _history(self, closing: list[date], now: datetime) -> Window | None:
        if not closing:
            return None
        yesterday = local_day(now, self.account.data_zone) - timedelta(days=1)
        windows = [closing_windows(day, self.settings.planning.history_days, yesterday)[1] for day in closing]
        return Window(min(window.since for window in windows), max(window.until for window in windows))

    def _refresh(self, stale: dict[Wanted, EntryKey], held: HeldLease, now: datetime) -> dict[EntryKey, Entry]:
        plan = self._plan(stale, now)
        daily = self._fetch_daily(plan.daily, now) if plan.daily else []
        ranges = self._fetch_ranges(plan.ranges) if plan.ranges else {}
        hull = Window(min(k.window.since for k in stale.values()), max(k.window.until for k in stale.values()))
        states = partitions.states(self.engine, self.account.id, self._spec.hash, hull)
        states.update({state.day: state for state in daily})
        origin = Provenance(self.fetcher.source.name, self._api_version, now)
        built = {
            key: build_entry(
                item.key, key, self.account, ranges.get(key.window), self.objects, states, origin,
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

    _api_version: str = ""
    _started: float = 0.0

    def _fetch_daily(self, span: Window, now: datetime) -> list[PartitionState]:
        rows = without_duplicates(self._fetch([span], Increment.DAY))
        digest = self.objects.put(pack_rows(rows))
        groups = by_day(rows)
        before = partitions.states(self.engine, self.account.id, self._spec.hash, span)
        return [self._state(day, groups.get(day, []), digest, before.get(day), now) for day in span.days()]

    def _state(
        self, day: date, rows: list[Row], digest: str, before: PartitionState | None, now: datetime
    ) -> PartitionState:
        content = content_hash(rows)
        version = 1 if before is None else before.data_version + (before.content_hash != content)
        settled = is_settled(day, self.account.data_zone, now, self._rules)
        return PartitionState(day, digest, len(rows), content, now, True, settled, version, self._api_version)

    def _fetch_ranges(self, windows: Sequence[Window]) -> dict[Window, list[Row]]:
        found: dict[Window, list[Row]] = {window: [] for window in windows}
        for row in without_duplicates(self._fetch(windows, Increment.RANGE)):
            window = Window(date.fromisoformat(str(row["date_start"])), date.fromisoformat(str(row["date_stop"])))
            if window in found:
                found[window].append(row)
        return found

    def _fetch(self, windows: Sequence[Window], increment: Increment) -> list[Row]:
        rows: list[Row] = []
        for unit in self.fetcher.source.plan(self.account, windows, increment, self._spec):
            fetched = self.fetcher.fetch(unit)
            rows.extend(fetched.rows)
            self._api_version = fetched.api_version or self._api_version
        return rows

    def _held(self) -> AbstractContextManager[HeldLease]:
        return held_lease(self.engine, f"fetch:{self.account.id}:{self._spec.hash}", self.owner, self.fetcher)

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
            seconds=time.monotonic() - self._started,
        )
