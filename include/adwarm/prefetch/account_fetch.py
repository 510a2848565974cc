"""Fetches the requested keys of one account and report, in one thread, and returns an outcome for each.

| error                                                        | outcome of the keys not published yet          |
|--------------------------------------------------------------|------------------------------------------------|
| none                                                         | `fetched`, or `fresh` without a call           |
| `Denied` by every connection                                 | `denied`                                       |
| `NoCapacity`, `Refused`                                      | `parked` until capacity is back                |
| `Isolated`                                                   | `parked` until the isolation ends              |
| lease lost, report running, batch stopped, database busy     | `parked` for a fixed time                      |
| any other                                                    | `stale` with an older entry, else `failed`     |

Keys published before an error stay fetched. An unexpected exception ends its own account only. An account whose token
turned out to be dead keeps its outcomes to itself until the batch knows whether the token was renewed meanwhile.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from uuid import uuid4

from sqlalchemy import Connection

from adwarm.backpressure.scope_state import MAX_PARK_SECONDS
from adwarm.compression.stored_bytes import find_whole_expiries
from adwarm.fetch_plan import RefetchSchedule, plan_fetch
from adwarm.foundation.clock import seconds_left
from adwarm.foundation.errors import (
    AdwarmError,
    BadRequest,
    DatabaseBusy,
    Denied,
    Isolated,
    NoCapacity,
    Refused,
    TokenDead,
    TooMuchData,
    clear_tracebacks,
)
from adwarm.foundation.gate import may_call
from adwarm.foundation.local_time import local_day
from adwarm.foundation.redaction import log_context, log_unexpected, redact
from adwarm.foundation.tracing import span
from adwarm.model import Account, EntryKey, QuerySpec, Window, matches_key, resolve_key
from adwarm.prefetch.async_reports import LONGEST_REPORT_SECONDS, ReportPending
from adwarm.prefetch.batch import Batch, BatchStopped
from adwarm.prefetch.batch_result import KeyOutcome, KeyRequest, KeyStatus, Published, list_ids, make_fetched
from adwarm.prefetch.fetch_context import FetchContext
from adwarm.prefetch.fetch_lease import (
    FetchLease,
    LeasedReport,
    LeaseHeldElsewhere,
    LeaseLost,
    LeaseTiming,
    OrphanReport,
    acquire_lease,
)
from adwarm.prefetch.fetcher import Fetcher
from adwarm.prefetch.refresh import AccountRefresh, load_states
from adwarm.recovery import Call
from adwarm.sources.units import CONNECT_SECONDS
from adwarm.store import accounts, denials, entries, leases, quarantine, zone_changes
from adwarm.store.database import inserting_together, write_transaction
from adwarm.store.fetch_state import FetchState, read_fetch_state
from adwarm.store.leases import FetchHints
from adwarm.store.read_traffic import count_calls_within, count_refusals

log = logging.getLogger(__name__)
CONFIRMED_LIFETIME = timedelta(hours=20)
"""Age from which an account is read again for its zone; below a day, above the interval of maintenance's lists."""
HINT_LIFETIME = timedelta(hours=1)
"""How long a request that was too large is not repeated; later the platform may have capacity for it."""
_RETRY_AFTER_SECONDS = 5.0
_PREVIOUSLY_DENIED = "before"
"""Code of a `Denied` that was raised without a call, because of a recorded denial."""


@dataclass
class _Caught:
    """The error of a block, if it had one."""

    error: AdwarmError | None = None


@dataclass
class AccountFetch:
    """Fetches the keys of one account and report. Used once.

    Attributes:
        record: stores the outcomes, in the transaction that publishes the last of the data where there is one.
        earlier_calls: calls that an earlier attempt of the same batch has made; None for the first attempt.
    """

    context: FetchContext
    batch: Batch
    requests: Sequence[KeyRequest]
    record: Callable[[Connection, Sequence[KeyOutcome]], None] | None = None
    progress: Callable[[Sequence[KeyOutcome]], None] | None = None
    earlier_calls: int | None = None
    _fetcher: Fetcher = field(init=False)
    _finished: dict[int, KeyOutcome] = field(default_factory=dict)
    _started: datetime = field(init=False)
    _dead_token: TokenDead | None = None
    _state: FetchState = field(default_factory=FetchState)
    _is_recorded: bool = False

    def __post_init__(self) -> None:
        self._started = self.context.clock.now()

    def run(self) -> list[KeyOutcome]:
        """Return one outcome per request, in order. Raises nothing but what is not an `Exception`.

        The outcomes are reported, unless the first attempt met a dead token: then call `finish` or `make_next_attempt`.
        """
        with (
            self.batch.acquire_slot() as limit,
            self.context.sources.lending(),
            span("adwarm.account", {"adwarm.account": self._account_id}),
            log_context(account=self._account_id, ids=list_ids(self.requests)),
        ):
            self._fetcher = Fetcher(self.context, self.batch, limit, calls=self.earlier_calls or 0)
            with self._catching() as caught:
                self._fetch()
            error = caught.error
            if error is not None:
                with self._catching() as failed:
                    self._finish_with_error(error)
                if failed.error:
                    log.error("%s: its error could not be recorded: %s", self._account_id, failed.error)
            outcomes = self._build_outcomes(error, self._finished)
            if isinstance(error, TokenDead) and self.earlier_calls is None:
                self._dead_token = error
                return outcomes
            return self._report(outcomes, error)

    @cached_property
    def _spec(self) -> QuerySpec:
        """The query of the keys. Read once: a report may be switched to another query while this account runs."""
        return self.context.settings.spec(self.requests[0].key.report)

    @property
    def is_unreported(self) -> bool:
        """Whether a dead token ended the first attempt, whose outcomes are not reported yet."""
        return self._dead_token is not None

    def make_next_attempt(self) -> "AccountFetch | None":
        """Return another attempt with the renewed token; None while the connection has the dead one."""
        dead, fetcher = self._dead_token, self._fetcher
        if dead is None or not self.context.sources.is_renewed(fetcher.connection, dead.credential):
            return None
        return AccountFetch(
            self.context, self.batch, self.requests, self.record, self.progress, earlier_calls=fetcher.calls
        )

    def finish(self) -> list[KeyOutcome]:
        """Report the outcomes of an attempt that met a dead token, and return them."""
        return self._report(self._build_outcomes(self._dead_token, self._finished), self._dead_token)

    def _report(self, outcomes: list[KeyOutcome], error: AdwarmError | None) -> list[KeyOutcome]:
        with self._catching() as failed:
            self._report_outcomes(outcomes, error)
        failure = failed.error
        if failure is None:
            return outcomes
        message = f"the outcome could not be recorded: {failure}"
        return [replace(outcome, status=KeyStatus.FAILED, reason=message, error=failure) for outcome in outcomes]

    @contextmanager
    def _catching(self) -> Iterator[_Caught]:
        """Keep the error of a block; an unexpected exception is logged with its traceback."""
        caught = _Caught()
        try:
            yield caught
        except AdwarmError as error:
            caught.error = error
        except Exception as error:
            log_unexpected(log, error, "%s: unexpected error; this account ends, the others continue", self._account_id)
            caught.error = AdwarmError(redact(f"unexpected {type(error).__name__}: {error}; the log has the traceback"))
            caught.error.__cause__ = error

    @property
    def _account_id(self) -> str:
        return self.requests[0].key.account_id

    def _fetch(self) -> None:
        """Fetch with one connection after another until one may read the account."""
        while True:
            try:
                self._state = self._read_state()
                account = self._get_account()
                self._fetcher.connection = self._source_name(account.connection)
                self._fetcher.refused.load(self._fetcher.source, self._account_id, self._state.gates)
                now = self.context.clock.now()
                keys = self._resolve_keys(account, now)
                stale = self._find_stale(account, keys, now)
                if not stale:
                    return self._mark_fresh(keys)
                if (account.confirmed_at or now) < now - CONFIRMED_LIFETIME:
                    self._get_account(is_outdated=True)  # its days may be others in another zone
                    continue
                self._fetcher.check_call_allowed()  # before the lease: a refused key then costs few reads
                with self.batch.renewing(self._acquire_lease(self._lease_name)) as lease:
                    if lease.record.token != self._state.next_token:  # another worker may have fetched them
                        self._state, now = self._read_state(), self.context.clock.now()
                        keys = self._resolve_keys(account, now)
                        stale = self._find_stale(account, keys, now)
                    self._mark_fresh(keys.keys() - stale.keys())
                    return self._refresh(account, lease, stale, now)
            except Denied as error:
                if error.code == _PREVIOUSLY_DENIED:
                    raise
                self._save_denial(error)
                self._state = self._read_state()
                if not self._list_allowed_connections(""):
                    raise

    @property
    def _lease_name(self) -> str:
        return f"fetch:{self._account_id}:{self._spec.hash}"

    def _read_state(self) -> FetchState:
        engine, now = self.context.engine, self.context.clock.now()
        return read_fetch_state(engine, self._account_id, self._spec.hash, self._lease_name, now)

    def _refresh(self, account: Account, lease: FetchLease, stale: dict[int, EntryKey], now: datetime) -> None:
        """Fetch the keys that are stale."""
        if not stale:
            return
        fetcher = self._fetcher
        fetcher.lease = lease
        fetcher.leased_report = LeasedReport(
            self.context.engine, lease.record, self.context.clock, self._record_orphan, LONGEST_REPORT_SECONDS
        )
        old_hints = leases.read_hints(lease.record.learned, now - HINT_LIFETIME)
        fetcher.too_large, fetcher.object_ids = dict(old_hints.too_large), dict(old_hints.listed)
        names = {key: self.requests[index].key for index, key in stale.items()}
        refresh = AccountRefresh(
            fetcher=fetcher,
            account=account,
            spec=self._spec,
            lease=lease,
            now=now,
            publishing=partial(self._publishing, lease, stale, may_close=old_hints == FetchHints()),
            stored=self._state,
            until=max((item.fresh_until for item in self.requests if item.fresh_until is not None), default=None),
        )
        hints = FetchHints()
        try:
            refresh.run(names, self._history_windows(account, stale, now))
        except BaseException:
            hints = FetchHints(fetcher.too_large, fetcher.object_ids)
            raise
        finally:
            if hints != old_hints:
                leases.save_hints(self.context.engine, lease.record, hints, self.context.clock.now())

    @contextmanager
    def _publishing(
        self,
        lease: FetchLease,
        stale: Mapping[int, EntryKey],
        published: Mapping[EntryKey, Published],
        *,
        is_last: bool,
        may_close: bool,
    ) -> Iterator[Connection]:
        """Yield a transaction that publishes; the last one stores the outcomes and releases the lease as well."""
        # Runs as of another time measure nothing: their plans would depend on how busy the machine is.
        seconds = max(0.0, (self.context.clock.now() - self._started).total_seconds()) or None
        ready = {index: published[key] for index, key in stale.items() if key in published}
        fetched = {index: make_fetched(self.requests[index], item, seconds) for index, item in ready.items()}
        finished = self._finished | fetched
        closes, outcomes = is_last and may_close, self._build_outcomes(None, finished)
        with write_transaction(self.context.engine) as connection:
            lease.check(connection, release=closes)
            with inserting_together(connection):
                yield connection
                if closes:
                    self._count_calls(connection, outcomes, None)
            if closes and self.record:
                self.record(connection, outcomes)
        self._finished = finished
        lease.is_released = self._is_recorded = closes

    def _record_orphan(self, orphan: OrphanReport) -> None:
        source = self._fetcher.source
        self.context.pipeline.record(orphan, call=Call(source.name, source.connection, self._account_id))

    def _resolve_keys(self, account: Account, now: datetime) -> dict[int, EntryKey]:
        """Return the entry key of each request; one whose window the source does not keep fails."""
        today = local_day(now, account.data_zone)
        oldest = self._fetcher.source.capabilities.oldest_day(today)
        resolved: dict[int, EntryKey] = {}
        for index, item in enumerate(self.requests):
            key = resolve_key(item.key, account, self._spec, now)
            if oldest <= key.window.since <= today:
                resolved[index] = key
            else:
                message = f"{key.window} is outside the days {oldest}..{today} that the source keeps"
                self._finished[index] = KeyOutcome(item, KeyStatus.FAILED, reason=message, error=BadRequest(message))
        return resolved

    def _find_stale(self, account: Account, keys: dict[int, EntryKey], now: datetime) -> dict[int, EntryKey]:
        """Return the keys whose entry is absent, damaged, not fresh as long as requested, or without its days."""
        # Days that were set aside are fetched although an entry that was built from them before is whole and fresh.
        context = self.context
        stored = self._state.lifetimes
        lifetimes = {key: stored[key] for key in keys.values() if key in stored}
        fresh_until = find_whole_expiries(context.context, context.verified, lifetimes, now)
        if len(fresh_until) < len(lifetimes):
            self._state = replace(self._state, has_damage=True)
        lost = quarantine.list_lost_days(context.engine, account.id) if self._state.has_damage else []
        return {
            index: key
            for index, key in keys.items()
            if key not in fresh_until
            or fresh_until[key] <= max(now, self.requests[index].fresh_until or now)
            or any(days.spec_hash == key.spec_hash and days.overlaps(key.window) for days in lost)
            or self._is_history_incomplete(account, key, index, now)
        }

    def _is_history_incomplete(self, account: Account, key: EntryKey, index: int, now: datetime) -> bool:
        history = self._history_windows(account, [index], now)
        if not history:
            return False
        stored = load_states(self.context.context, account.id, self._spec, [key.window, *history])
        schedule = RefetchSchedule.for_account(account, self.context.settings.freshness_rules)
        page_rows = self._fetcher.source.capabilities.max_page_rows
        return not plan_fetch([key.window], stored, schedule, now=now, history=history, page_rows=page_rows).is_empty

    def _history_windows(self, account: Account, indexes: Iterable[int], now: datetime) -> list[Window]:
        yesterday = local_day(now, account.data_zone) - timedelta(days=1)
        windows = (self.requests[index].get_history_window(yesterday) for index in indexes)
        return [window for window in windows if window is not None]

    def _get_account(self, *, is_outdated: bool = False) -> Account:
        """Return the account, from the source when it is not stored, outdated, or denied by its own connection."""
        context, account_id = self.context, self._account_id
        stored = self._state.account
        own = stored.connection if stored else ""
        names = self._list_allowed_connections(own)
        if not names:
            gate = may_call(self._state.gates, context.clock.now().timestamp())
            message = f"denied less than a day ago, so not called again: {gate.why if gate else 'no reason given'}"
            raise Denied(message, account_id=account_id, code=_PREVIOUSLY_DENIED)
        is_usable = stored is not None and stored.is_verified and stored.status != "denied"
        if stored is not None and is_usable and names[0] == self._source_name(own) and not is_outdated:
            return stored
        self._fetcher.check_call_allowed()
        with self.batch.renewing(self._acquire_lease(f"account:{account_id}")) as lease:
            self._fetcher.lease = lease
            current, before = accounts.get(context.engine, account_id), stored and (stored, stored.confirmed_at)
            if current is not None and current.is_verified and (current, current.confirmed_at) != before:
                return current  # another worker has fetched it while this one waited for the lease
            fetched, now = self._fetch_account(names), context.clock.now()
            zone_changes.note_fetched(context.engine, fetched, now, context.pipeline.alert)
            accounts.save(context.engine, [fetched], now)
            self._fetcher.lease = None
        self._state = self._read_state()
        return self._state.account or fetched

    def _list_allowed_connections(self, first: str) -> list[str]:
        """Return the connections whose credential was not denied recently, `first` before the others."""
        context, now, gates = self.context, self.context.clock.now(), self._state.gates
        names = list(dict.fromkeys([self._source_name(first), "", *context.sources.factories]))
        if not gates:
            return names
        return [
            name
            for name, source in ((name, context.get_source(name)) for name in names)
            if may_call(denials.select_denials(gates, source.connection, source.credential), now.timestamp()) is None
        ]

    def _fetch_account(self, names: Sequence[str]) -> Account:
        """Fetch the account with each connection in turn until one may read it."""
        for name in names[:-1]:
            try:
                return self._fetch_account_with(name)
            except Denied as error:
                self._save_denial(error)
        return self._fetch_account_with(names[-1])

    def _fetch_account_with(self, connection: str) -> Account:
        self._fetcher.connection = connection
        return self._fetcher.call(self._account_id, lambda: self._fetcher.source.get_account(self._account_id))

    def _source_name(self, connection: str) -> str:
        """Return the name under which the source of a connection is built."""
        return connection if connection in self.context.sources.factories else ""

    def _acquire_lease(self, name: str) -> FetchLease:
        """Wait for a lease. Each call has its own owner, so two fetches of one process exclude each other too."""
        owner, settings = f"{self.context.owner}/{uuid4().hex[:12]}", self.context.settings
        stall = CONNECT_SECONDS + settings.source.call_timeout
        wait = min(self.batch.wait_seconds, seconds_left())
        timing = LeaseTiming(settings.backpressure.lease_seconds, wait, stall)
        return acquire_lease(self.context.engine, self.context.clock, name, owner, timing)

    def _mark_fresh(self, keys: Iterable[int]) -> None:
        for index in keys:
            self._finished[index] = KeyOutcome(self.requests[index], KeyStatus.FRESH)

    def _finish_with_error(self, error: AdwarmError) -> None:
        """Record what an error means for other accounts, and give every unfinished key its outcome."""
        source = self._fetcher.source
        self.batch.record_error(source.connection, source.name, error)
        if isinstance(error, Denied) and error.code != _PREVIOUSLY_DENIED:
            denials.close_account(self.context.engine, self._account_id, str(error), self.context.clock.now())
        if isinstance(error, TooMuchData):  # splitting did not help, or it would not be raised
            self.context.pipeline.alert(source.name, "TooMuchData", f"{self._account_id}: {error}")
        status, retry_after, has_fixed_delay = self._status_of_error(error)
        unfinished = [index for index in range(len(self.requests)) if index not in self._finished]
        with_older = self._find_with_older_entry(unfinished) if status is KeyStatus.FAILED else set()
        for index in unfinished:
            has_older = index in with_older
            self._finished[index] = KeyOutcome(
                self.requests[index],
                KeyStatus.STALE if has_older else status,
                reason=f"{error}; the older entry is kept and marked stale" if has_older else str(error),
                retry_after=retry_after,
                has_fixed_delay=has_fixed_delay,
                error=clear_tracebacks(error),
            )

    def _status_of_error(self, error: AdwarmError) -> tuple[KeyStatus, float | None, bool]:
        """Return the status for an error, the seconds until the next try, and whether that delay is fixed."""
        if isinstance(error, Denied):
            return KeyStatus.DENIED, None, False
        if isinstance(error, NoCapacity):
            seconds = (error.until - self.context.clock.now()).total_seconds()
            return KeyStatus.PARKED, min(MAX_PARK_SECONDS, max(0.0, seconds)), False
        if isinstance(error, Refused):
            # Admission knows nothing of an isolation: it would say at once that there is capacity.
            return KeyStatus.PARKED, error.retry_after, isinstance(error, Isolated)
        if isinstance(error, LeaseHeldElsewhere | LeaseLost | ReportPending | BatchStopped | DatabaseBusy):
            return KeyStatus.PARKED, error.retry_after or _RETRY_AFTER_SECONDS, True
        return KeyStatus.FAILED, None, False

    def _save_denial(self, error: Denied) -> None:
        """Record the denial of this credential, also for an account that only the caller of this fetch names."""
        context, name, source = self.context, self._account_id, self._fetcher.source
        now = context.clock.now()
        accounts.add_named(context.context, [name], now)
        denials.record(context.engine, name, source.connection, credential=source.credential, reason=str(error), at=now)

    def _find_with_older_entry(self, indexes: Iterable[int]) -> set[int]:
        """Return the requests for which an older entry is stored."""
        context, first, zone = self.context, self.requests[0].key, self.context.settings.default_zone
        stored = entries.list_entries(context.engine, first.account_id)
        account = accounts.get(context.engine, first.account_id) or Account(first.account_id, zone, zone)
        return {
            index
            for index in indexes
            if any(
                matches_key(item.key, self.requests[index].key, account, self._spec, item.fetched_at) for item in stored
            )
        }

    def _build_outcomes(self, error: AdwarmError | None, finished: Mapping[int, KeyOutcome]) -> list[KeyOutcome]:
        """Return the outcomes in order; all calls count for the first fetched key, or the first key if none was."""
        why = error or AdwarmError("the fetch ended without an outcome")
        outcomes = [
            finished.get(index) or KeyOutcome(item, KeyStatus.FAILED, reason=str(why), error=why)
            for index, item in enumerate(self.requests)
        ]
        fetched = (index for index, outcome in enumerate(outcomes) if outcome.status is KeyStatus.FETCHED)
        first = next(fetched, 0)
        outcomes[first] = replace(outcomes[first], calls=self._fetcher.calls)
        return outcomes

    def _report_outcomes(self, outcomes: Sequence[KeyOutcome], error: AdwarmError | None) -> None:
        """Store the outcomes, unless the last publication did, and pass them to `progress`."""
        if not self._is_recorded and (self.record or self._fetcher.calls or error):
            with write_transaction(self.context.engine) as connection:
                self._count_calls(connection, outcomes, error)
                if self.record:
                    self.record(connection, outcomes)
        if self.progress:
            self.progress(outcomes)

    def _count_calls(self, connection: Connection, outcomes: Sequence[KeyOutcome], error: AdwarmError | None) -> None:
        """Count the account's calls in the hour, by the cause of their key."""
        payer = next((outcome for outcome in outcomes if outcome.calls), outcomes[0])
        count_calls_within(
            connection,
            self.context.clock.now(),
            self._account_id,
            payer.request.cause,
            calls=self._fetcher.calls,
            **count_refusals(error),
            errors=int(any(outcome.status in {KeyStatus.FAILED, KeyStatus.STALE} for outcome in outcomes)),
        )
