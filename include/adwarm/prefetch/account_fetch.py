"""The wanted keys of one account and report: one thread takes them from the first question to the last outcome.

An error ends the keys that are not published yet, each with the error and what it means for the key; those that were
published before it stay fetched. A fault that nobody foresaw ends its own account only.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import uuid4

from adwarm.foundation.errors import AdwarmError, BadRequest, Denied, Refused, Throttled, TooMuchData, clear_tracebacks
from adwarm.foundation.local_time import local_day
from adwarm.foundation.redaction import redact
from adwarm.model import Account, Actor, EntryKey, Window, matches_key, resolve_key
from adwarm.prefetch.async_reports import LeasedReport, ReportPending
from adwarm.prefetch.batch import Batch
from adwarm.prefetch.batch_result import KeyOutcome, KeyRequest, KeyStatus
from adwarm.prefetch.context import FetchContext
from adwarm.prefetch.fetch_lease import FetchLease, LeaseHeldElsewhere, LeaseLost, acquire_lease
from adwarm.prefetch.fetcher import BatchStopped, Fetcher
from adwarm.prefetch.refresh import AccountRefresh, plan_refresh
from adwarm.store import accounts, denials, entries, leases, read_traffic
from adwarm.store.entries import Entry
from adwarm.store.leases import FetchHints

log = logging.getLogger(__name__)
SPLIT_MEMORY = timedelta(hours=1)
"""A request that was too large is not repeated for so long; figures grow, and platforms have better hours."""
_RETRY_AFTER_SECONDS = 5.0
_PREVIOUSLY_DENIED = "before"


@dataclass
class AccountFetch:
    """Fetches the wanted keys of one account and report. Used once.

    Attributes:
        wanted: keys of one account and report.
        progress: called with the outcomes.
    """

    context: FetchContext
    batch: Batch
    requests: Sequence[KeyRequest]
    progress: Callable[[Sequence[KeyOutcome]], None] | None = None
    _fetcher: Fetcher = field(init=False)
    _finished: dict[int, KeyOutcome] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)

    def run(self) -> list[KeyOutcome]:
        """Return one outcome per wanted key, in order."""
        with self.batch.acquire_slot() as turn:
            self._fetcher = Fetcher(self.context, turn, self.batch.priority, self.batch.wait_seconds)
            error = self._run_catching(self._fetch)
            if error is not None and (trouble := self._run_catching(lambda: self._finish_with_error(error))):
                log.error("%s: what its error means for others could not be recorded: %s", self._account_id, trouble)
            outcomes = self._build_outcomes(error)
            failed = self._run_catching(lambda: self._report_outcomes(outcomes, error))
        if failed is None:
            return outcomes
        words = f"the outcome could not be recorded: {failed}"
        return [replace(outcome, status=KeyStatus.FAILED, reason=words, error=failed) for outcome in outcomes]

    def _run_catching(self, work: Callable[[], None]) -> AdwarmError | None:
        """Return the error that `work` ended with; one that nobody foresaw is logged with its traceback."""
        try:
            work()
        except AdwarmError as error:
            return error
        except Exception as error:
            log.exception("%s: unexpected error; the account ends, the others go on", self._account_id)
            unexpected = AdwarmError(redact(f"unexpected {type(error).__name__}: {error}; the log has the traceback"))
            unexpected.__cause__ = error
            return unexpected
        return None

    @property
    def _account_id(self) -> str:
        return self.requests[0].key.account_id

    def _fetch(self) -> None:
        """Fetch with one connection after the other, until one may read the account."""
        while True:
            try:
                return self._fetch_with_next()
            except Denied as error:
                if error.code == _PREVIOUSLY_DENIED:
                    raise
                self._save_denial(error)
                if not self._list_allowed_connections(""):
                    raise

    def _fetch_with_next(self) -> None:
        account = self._get_account()
        self._fetcher.connection = self._source_name(account.connection)
        now = self.context.clock.now()
        keys = self._resolve_keys(account, now)
        if not self._find_stale(account, keys, now):
            self._mark_fresh(keys)
            return
        self._check_calls()
        name = f"fetch:{account.id}:{self.context.settings.spec(self.requests[0].key.report).hash}"
        with self.batch.renewing(self._acquire_lease(name)) as held:
            self._refresh(account, held)

    def _check_calls(self) -> None:
        """Check that calls may be made at all, before a lease is taken for them: a refused key costs a few reads."""
        self._fetcher.batch.check_call_allowed(self._fetcher.connection, self._fetcher.source.name)

    def _refresh(self, account: Account, lease: FetchLease) -> None:
        """Make what is stale fresh; another worker may have fetched it while the lease was awaited."""
        now = self.context.clock.now()
        keys = self._resolve_keys(account, now)
        stale = self._find_stale(account, keys, now)
        self._mark_fresh({place: key for place, key in keys.items() if place not in stale})
        if not stale:
            return
        fetcher, rules = self._fetcher, self.context.settings.source
        fetcher.lease = lease
        fetcher.leased_report = LeasedReport(
            self.context.engine, lease.record, self.context.clock, fetcher.source.name, rules.report_max_seconds
        )
        before = leases.find_hints(self.context.engine, lease.record, now - SPLIT_MEMORY)
        fetcher.restore_learned(before)
        names = {key: self.requests[place].key for place, key in stale.items()}
        refresh = AccountRefresh(
            self.context,
            fetcher,
            account,
            self.requests[0].key.report,
            lease,
            now,
            lambda key, entry: self._mark_fetched(stale, key, entry),
        )
        lesson = FetchHints()
        try:
            refresh.run(names, self._history_windows(account, stale, now))
        except BaseException:
            lesson = FetchHints(fetcher.too_large, fetcher.object_ids)
            raise
        finally:
            if lesson != before:
                leases.save_hints(self.context.engine, lease.record, lesson, self.context.clock.now())

    def _resolve_keys(self, account: Account, now: datetime) -> dict[int, EntryKey]:
        """Return the entry key of each wanted key; one whose window the source does not keep fails."""
        spec = self.context.settings.spec(self.requests[0].key.report)
        today = local_day(now, account.data_zone)
        oldest = self._fetcher.source.capabilities.oldest_day(today)
        resolved: dict[int, EntryKey] = {}
        for place, item in enumerate(self.requests):
            key = resolve_key(item.key, account, spec, now)
            if oldest <= key.window.since <= today:
                resolved[place] = key
            else:
                words = f"{key.window} is outside the days {oldest}..{today} that the source keeps"
                self._finished[place] = KeyOutcome(item, KeyStatus.FAILED, reason=words, error=BadRequest(words))
        return resolved

    def _find_stale(self, account: Account, keys: dict[int, EntryKey], now: datetime) -> dict[int, EntryKey]:
        """Return the keys whose entry is absent, or not fresh for as long as they ask, or whose history has gaps."""
        fresh_until = entries.find_expiries(self.context.engine, keys.values())
        return {
            place: key
            for place, key in keys.items()
            if key not in fresh_until
            or fresh_until[key] <= max(now, self.requests[place].fresh_until or now)
            or self._has_history_gaps(account, key, place, now)
        }

    def _has_history_gaps(self, account: Account, key: EntryKey, place: int, now: datetime) -> bool:
        history = self._history_windows(account, [place], now)
        if not history:
            return False
        report, page_rows = self.requests[place].key.report, self._fetcher.source.capabilities.max_page_rows
        return not plan_refresh(self.context, account, report, [key.window], history, now, page_rows).is_empty

    def _history_windows(self, account: Account, places: Iterable[int], now: datetime) -> list[Window]:
        yesterday = local_day(now, account.data_zone) - timedelta(days=1)
        days = self.context.settings.planning.history_days
        behind = (self.requests[place].get_history_window(days, yesterday) for place in places)
        return [window for window in behind if window is not None]

    def _get_account(self) -> Account:
        """Return the account, asking the upstream when nobody has, or when its own connection was refused of late.

        Raises:
            Denied: every connection was refused of late; no call is made.
        """
        context, name = self.context, self._account_id
        found = accounts.get(context.engine, name)
        own = found.connection if found else ""
        names = self._list_allowed_connections(own)
        if not names:
            words = "the account was denied to this token before"
            raise Denied(words, account_id=name, code=_PREVIOUSLY_DENIED)
        if found is not None and found.is_verified and found.status != "denied" and names[0] == self._source_name(own):
            return found
        self._check_calls()
        with self.batch.renewing(self._acquire_lease(f"account:{name}")) as held:
            self._fetcher.lease = held
            other = accounts.get(context.engine, name)
            if other is not None and other.is_verified and other != found:
                return other  # another worker has asked meanwhile
            told = self._fetch_account(names)
            accounts.save(context.engine, [told], context.clock.now())
            self._fetcher.lease = None
        return accounts.get(context.engine, name) or told

    def _list_allowed_connections(self, first: str) -> list[str]:
        """Return the connections whose credential was not refused of late, `first` before the others."""
        context = self.context
        names = list(dict.fromkeys([self._source_name(first), "", *context.sources]))
        refused = denials.find_active(context.engine, self._account_id, context.clock.now())
        if not refused:
            return names
        sources = {name: context.get_source(name) for name in names}
        return [name for name in names if refused.get(sources[name].connection) != sources[name].credential]

    def _fetch_account(self, names: Sequence[str]) -> Account:
        """Ask each connection in turn until one may read the account."""
        for name in names[:-1]:
            try:
                return self._fetch_account_with(name)
            except Denied as error:
                self._save_denial(error)
        return self._fetch_account_with(names[-1])

    def _fetch_account_with(self, connection: str) -> Account:
        self._fetcher.connection = connection
        source = self._fetcher.source
        return self._fetcher.call(self._account_id, lambda: source.get_account(self._account_id))

    def _source_name(self, connection: str) -> str:
        """Return the name under which the source of a connection is built."""
        return connection if connection in self.context.sources else ""

    def _acquire_lease(self, name: str) -> FetchLease:
        """Wait for a lease; two fetches of one process are two owners."""
        owner, rules = f"{self.context.owner}/{uuid4().hex[:12]}", self.context.settings.source
        patience = rules.connect_timeout + rules.call_timeout
        return acquire_lease(self.context.engine, self.context.clock, name, owner, self.batch.wait_seconds, patience)

    def _mark_fresh(self, keys: dict[int, EntryKey]) -> None:
        for place in keys:
            self._finished[place] = KeyOutcome(self.requests[place], KeyStatus.FRESH)

    def _mark_fetched(self, stale: dict[int, EntryKey], key: EntryKey, entry: Entry) -> None:
        seconds = time.monotonic() - self._started
        for place in [place for place, other in stale.items() if other == key]:
            self._finished[place] = KeyOutcome(
                self.requests[place],
                KeyStatus.FETCHED,
                fetched_at=entry.fetched_at,
                expires_at=entry.expires_at,
                raw_bytes=entry.raw_bytes,
                stored_bytes=entry.stored_bytes,
                reason=entry.degraded_reason,
                seconds=seconds,
            )

    def _finish_with_error(self, error: AdwarmError) -> None:
        """Take note of what an error means for others, and give every key that is not done its outcome."""
        self.batch.record_error(self._fetcher.connection, self._fetcher.source.name, error)
        if isinstance(error, Denied) and error.code != _PREVIOUSLY_DENIED:
            accounts.set_status(self.context.engine, self._account_id, "denied", str(error), self.context.clock.now())
        if isinstance(error, TooMuchData):  # what was split with success is no failure; this was not
            self.context.pipeline.alert(self._fetcher.source.name, "TooMuchData", f"{self._account_id}: {error}")
        status, retry_after, timed = self._status_of_error(error)
        left = [place for place in range(len(self.requests)) if place not in self._finished]
        stale = self._find_with_older_entry(left) if status is KeyStatus.FAILED else set()
        for place in left:
            older = place in stale
            self._finished[place] = KeyOutcome(
                self.requests[place],
                KeyStatus.STALE if older else status,
                reason=f"{error}; the older answer is kept and marked stale" if older else str(error),
                retry_after=retry_after,
                has_fixed_delay=timed,
                error=clear_tracebacks(error),
            )

    def _status_of_error(self, error: AdwarmError) -> tuple[KeyStatus, float | None, bool]:
        """Return the status that an error gives, when to come back, and whether that is sure by then."""
        if isinstance(error, Denied):
            return KeyStatus.DENIED, None, False
        if isinstance(error, Throttled):
            longest = self.context.settings.backpressure.longest_park_seconds
            seconds = (error.until - self.context.clock.now()).total_seconds()
            return KeyStatus.PARKED, min(longest, max(0.0, seconds)), False
        if isinstance(error, Refused):
            return KeyStatus.PARKED, error.retry_after, False
        if isinstance(error, LeaseHeldElsewhere | LeaseLost | ReportPending | BatchStopped):
            return KeyStatus.PARKED, error.retry_after or _RETRY_AFTER_SECONDS, True
        return KeyStatus.FAILED, None, False

    def _save_denial(self, error: Denied) -> None:
        """Keep the denial of this credential, also of an account that nobody has seen; its zone stays a guess."""
        context, name, source = self.context, self._account_id, self._fetcher.source
        zone, now = context.settings.default_zone, context.clock.now()
        accounts.insert_discovered(context.engine, [Account(name, zone, zone, currency="")], now)
        denials.record(context.engine, name, source.connection, source.credential, str(error), now)

    def _find_with_older_entry(self, places: Iterable[int]) -> set[int]:
        """Return the keys of which an older answer is stored."""
        context, first, zone = self.context, self.requests[0].key, self.context.settings.default_zone
        kept = entries.list_entries(context.engine, first.account_id)
        account = accounts.get(context.engine, first.account_id) or Account(first.account_id, zone, zone)
        spec = context.settings.spec(first.report)
        return {
            place
            for place in places
            if any(matches_key(entry.key, self.requests[place].key, account, spec, entry.fetched_at) for entry in kept)
        }

    def _build_outcomes(self, error: AdwarmError | None) -> list[KeyOutcome]:
        """Return every key's outcome in order; the calls are booked on the first key that was fetched, or the first."""
        why = error or AdwarmError("the fetch ended without an outcome")
        outcomes = [
            self._finished.get(place) or KeyOutcome(item, KeyStatus.FAILED, reason=str(why), error=why)
            for place, item in enumerate(self.requests)
        ]
        fetched = (place for place, outcome in enumerate(outcomes) if outcome.status is KeyStatus.FETCHED)
        payer = next(fetched, 0)
        outcomes[payer] = replace(outcomes[payer], calls=self._fetcher.calls)
        return outcomes

    def _report_outcomes(self, outcomes: Sequence[KeyOutcome], error: AdwarmError | None) -> None:
        """Add the account's calls to the traffic of the hour, and report the outcomes."""
        counts = {
            "upstream_calls": self._fetcher.calls,
            "throttles": int(isinstance(error, Throttled)),
            "errors": int(any(outcome.status in {KeyStatus.FAILED, KeyStatus.STALE} for outcome in outcomes)),
        }
        if any(counts.values()):
            now = self.context.clock.now()
            read_traffic.increment(self.context.engine, now, self._account_id, Actor.WARMER.value, **counts)
        if self.progress:
            self.progress(outcomes)
