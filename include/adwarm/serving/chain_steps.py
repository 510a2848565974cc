"""The steps of the fallback chain: which of them can answer a request, and how; see `adwarm.serving.read_chain`.

Only `upstream` stores anything. What the others build expires at the moment its data was fetched, so it is never fresh.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from hashlib import sha256

from adwarm.foundation.errors import AdwarmError, Corrupt, NotFound, Transient
from adwarm.foundation.wording import format_part
from adwarm.model import (
    CallCause,
    CauseKind,
    Priority,
    QuerySpec,
    ReportKey,
    Window,
    matches_key,
    resolve_key,
    resolve_window,
)
from adwarm.prefetch import KeyRequest, PrefetchEngine
from adwarm.prefetch.batch import BatchStopped
from adwarm.prefetch.entry_builder import (
    EntryQuery,
    Provenance,
    RangeSummary,
    build_entry,
    build_entry_of_rows,
    describe_entry,
    find_fetch_time,
    version_sum,
)
from adwarm.prefetch.gap_filling import MissingData, describe_missing
from adwarm.prefetch.window_read import WindowQuery, read_window
from adwarm.recovery.fallback import Fallback, is_abandoned
from adwarm.serving.reader import Reader, ReadResult, ReadStatus, RecentEntry
from adwarm.settings.recovery_sections import FallbackSettings
from adwarm.sources.protocol import Capabilities
from adwarm.store import accounts, entries, partitions
from adwarm.store.entries import Entry
from adwarm.store.partition_rows import check_objects, daily_table, pack_rows, unpack_rows

_FETCHING_KINDS = frozenset({"source", "upstream"})
_ISOLATED_KINDS = frozenset({"partitions", "window", "source"})
_MAX_WINDOWS = 10
"""Entries whose bytes the step `window` reads before it gives up; each one before was damaged."""


class StoreUnreachable(Transient):
    """The database cannot be read; the cause says why and what to do, and may name the file."""


@dataclass(frozen=True, slots=True)
class ChainRequest:
    """What a chain is run for.

    Attributes:
        first: what the stored entry gave: no hit.
        may_fetch: whether the caller may cause calls of a platform or a warehouse.
        priority: the class of such calls.
        find_cached: returns the entry that the process knows; the reader's own by default.
        is_outdated: whether the entry may have changed since `first`, so that it is read again.
        wants_document: whether the document is needed; otherwise `partitions` says only that there is one, and its age.
        admit_call: called in the step's thread before `source` or `upstream` calls; it raises `Refused` when the caller
            may cause no further call.
        caller: whose calls `admit_call` counts, so that no other caller's run is shared.
        allow_partial: whether an entry of other days than the key means may answer.
    """

    first: ReadResult
    may_fetch: bool = False
    priority: Priority = Priority.CRITICAL
    find_cached: Callable[[], RecentEntry | None] | None = None
    is_outdated: bool = False
    wants_document: bool = True
    admit_call: Callable[[], None] = lambda: None
    caller: str = ""
    allow_partial: bool = False

    @property
    def key(self) -> ReportKey:
        """The report."""
        return self.first.key


class ReportSteps:
    """The fallbacks of one run of the chain.

    Attributes:
        refused_window: the days of a result that was not used because they are others than the key means.
    """

    def __init__(self, reader: Reader, make_prefetch: Callable[[], PrefetchEngine], request: ChainRequest) -> None:
        self._reader = reader
        self._make_prefetch = make_prefetch
        self._request = request
        self._key = request.key
        self._is_outdated = request.is_outdated
        self.refused_window: Window | None = None

    def build(self, steps: Sequence[FallbackSettings]) -> list[Fallback[ReadResult]]:
        """Return those of `steps` that can answer the request, in the same order."""
        return [self._build(step) for step in steps if self._is_usable(step)]

    def _is_usable(self, step: FallbackSettings) -> bool:
        error = self._request.first.error
        if step.kind == "cache":
            return isinstance(error, StoreUnreachable | Corrupt)
        if isinstance(error, StoreUnreachable):
            return False
        return self._request.may_fetch or step.kind not in _FETCHING_KINDS

    def _build(self, step: FallbackSettings) -> Fallback[ReadResult]:
        calls: dict[str, Callable[[], ReadResult]] = {
            "cache": self._read_cached,
            "entry": self._read_entry,
            "partitions": lambda: read_partitions(self._reader, self._key, with_document=self._request.wants_document),
            "window": lambda: find_other_window(self._reader, self._key),
            "source": lambda: self._read_source(step),
            "upstream": lambda: self._fetch(step),
        }
        if step.kind == "partitions":
            load_libraries()
        return Fallback(
            step.name,
            lambda: self._require_days(calls[step.kind](), step.max_age_seconds),
            step.timeout_seconds,
            as_of=lambda result: None if result.entry is None else result.entry.fetched_at,
            errors=step.errors,
            max_age_seconds=step.max_age_seconds,
            may_be_isolated=step.kind in _ISOLATED_KINDS,
        )

    def _require_days(self, result: ReadResult, max_age: float | None) -> ReadResult:
        """Return the result of a step, unless its days are others than the key means and the caller refuses these."""
        # The only place that decides it. The days of a refused result are kept, if it is not too old to be used.
        other = result.other_window
        if other is None or self._request.allow_partial:
            return result
        if max_age is None or (result.age_seconds or 0.0) <= max_age:
            self.refused_window = self.refused_window or other
        raise NotFound(f"{result.reason}; only a reader that allows partial answers gets it")

    def _read_cached(self) -> ReadResult:
        cached = self._request.find_cached() if self._request.find_cached else None
        cached = cached or self._reader.find_recent(self._key)
        if cached is None:
            raise NotFound("this process has not read the report before")
        entry, now = cached.entry, self._reader.clock.now()
        reason = f"a copy in memory covers {entry.key.window}, fetched at {entry.fetched_at:%Y-%m-%d %H:%M} UTC"
        window = resolve_window(self._key.date_range, cached.data_zone, now)
        return ReadResult(
            key=self._key,
            status=ReadStatus.STALE,
            read_at=now,
            entry=entry,
            blob=cached.blob,
            reason=reason,
            window=window,
        )

    def _read_entry(self) -> ReadResult:
        result = self._request.first
        if self._is_outdated:
            result = self._reader.read(self._key, record_traffic=False)
        if result.entry is None:
            raise result.error or NotFound(result.reason)
        return result

    def _read_source(self, step: FallbackSettings) -> ReadResult:
        self._request.admit_call()
        limits = self._request.priority, step.timeout_seconds
        return read_source(self._reader, self._make_prefetch(), self._key, step.connection or "", limits)

    def _fetch(self, step: FallbackSettings) -> ReadResult:
        self._request.admit_call()
        self._is_outdated = True
        engine = self._make_prefetch()
        wait = min(step.timeout_seconds, engine.settings.backpressure.timeout_seconds)
        done = engine.run(
            [KeyRequest(self._key, cause=CallCause(CauseKind.READER))],
            self._request.priority,
            wait_seconds=wait,
            heartbeat=_stop_if_abandoned,
        )
        result = self._reader.read(self._key, record_traffic=False)
        if result.status is ReadStatus.HIT:
            return replace(result, status=ReadStatus.FETCHED)
        outcome = done.outcomes[0]
        raise outcome.error or AdwarmError(outcome.reason or result.reason)


def _stop_if_abandoned(running_reports: int) -> None:
    """End a fetch that nobody waits for any more; its accounts end at their next call, and what is stored stays."""
    del running_reports
    if is_abandoned():
        raise BatchStopped("nobody waits for the fetch any more")


class LibraryLoader:
    """Imports the libraries of the chain in the background when the read API starts, before a reader needs them."""

    def start(self) -> None:
        """Begin; a reader that comes sooner waits for the rest of it, which no timeout counts."""
        threading.Thread(target=load_libraries, name="adwarm-libraries", daemon=True).start()


@cache
def load_libraries() -> None:
    """Import what reading a stored day imports on its first call, which takes longer than the step may."""
    unpack_rows(pack_rows([{"date_start": "2000-01-01", "date_stop": "2000-01-01"}]), [date(2000, 1, 1)])


def read_partitions(reader: Reader, key: ReportKey, *, with_document: bool = True) -> ReadResult:
    """Return the document of stored days, when every day of the window is stored.

    A range of more than one day has no summary then: figures of unique users do not add up over days.

    Args:
        with_document: whether to build it. Without it only the checksums of the stored days are checked, and the result
            says how old they are, and why it is no fresh report.

    Raises:
        NotFound: a day is not stored.
        Corrupt: the object of a day is lost or damaged.
    """
    context = reader.context
    query = _make_query(reader, key)
    window = query.entry_key.window
    states = partitions.list_states(context.engine, key.account_id, query.spec.hash, window)
    lacking = [day for day in window.days() if day not in states]
    if lacking:
        raise NotFound(f"not stored: {format_part(len(lacking), len(window), 'day')}, the first {lacking[0]}")
    oldest = min(state.fetched_at for state in states.values())
    unique = None if len(window) == 1 else _describe_unique(query.spec, window)
    source = context.settings.source.kind
    try:
        if with_document:
            summary = None if unique is None else RangeSummary([], oldest, version_sum(states, window), unique)
            daily = daily_table(context.objects, states, window)
            provenance = Provenance(source, "", reader.clock.now())
            built = build_entry(context, query, states, summary, provenance, daily=daily)
        else:
            check_objects(context.objects, states, window)
            built = describe_entry(query, source, find_fetch_time(states), unique), b""
    except Corrupt as error:
        context.on_damage(error, key.account_id, str(key))
        raise
    why = f"assembled from stored days, the oldest fetched at {oldest:%Y-%m-%d %H:%M} UTC"
    return _unpublished(reader, key, built, why)


def find_other_window(reader: Reader, key: ReportKey) -> ReadResult:
    """Return the best verified entry of other days: those that the key meant before, or a longer or shorter range.

    The newest earlier days of the key come first, then the shortest range that covers the requested days, then the
    longest one inside them.

    Raises:
        NotFound: there is none.
    """
    entry_query = _make_query(reader, key)
    damaged: Corrupt | None = None
    for number, entry in enumerate(_list_other_windows(reader, key, entry_query)):
        if number == _MAX_WINDOWS:
            break
        try:
            stored, blob = reader.find_verified(entry.key)
        except NotFound:
            continue  # it was deleted meanwhile
        except Corrupt as error:
            damaged = error
            continue
        reason = (
            f"the entry covers {stored.key.window} instead of {entry_query.entry_key.window}, "
            f"fetched at {stored.fetched_at:%Y-%m-%d %H:%M} UTC"
        )
        return ReadResult(
            key=key,
            status=ReadStatus.STALE,
            read_at=reader.clock.now(),
            entry=stored,
            blob=blob,
            reason=reason,
            window=entry_query.entry_key.window,
        )
    raise damaged or NotFound("no other days are stored that cover or lie inside the requested ones")


def read_source(
    reader: Reader, engine: PrefetchEngine, key: ReportKey, connection: str, limits: tuple[Priority, float]
) -> ReadResult:
    """Return the report as another connection answers it now.

    Args:
        limits: the class in which calls are admitted, and how many seconds the read may take.

    Raises:
        NotFound: the account is not stored, so its time zone is not known.
        AdwarmError: the source failed.
    """
    if accounts.get(reader.context.engine, key.account_id) is None:
        raise NotFound(f"{key.account_id} is not stored, so the time zone of its days is not known")
    query, now = _make_query(reader, key), reader.clock.now()
    window = query.entry_key.window
    window_query = WindowQuery(query.account, window, query.spec, connection)
    priority, seconds = limits
    read = read_window(engine, window_query, priority, seconds=seconds, is_canceled=is_abandoned)
    if not read.daily and not read.summary:
        raise NotFound(f"connection {connection} has no row for {window}")
    summary = None if read.summary is None else RangeSummary(read.summary, now, 0, read.missing)
    provenance = Provenance(read.source, read.api_version, now)
    built = build_entry_of_rows(reader.context, query, read.daily, summary, provenance)
    return _unpublished(reader, key, built, f"read through the connection {connection}")


def _make_query(reader: Reader, key: ReportKey) -> EntryQuery:
    account, spec = reader.get_account(key.account_id), reader.context.settings.spec(key.report)
    return EntryQuery(key, resolve_key(key, account, spec, reader.clock.now()), spec, account)


def _describe_unique(spec: QuerySpec, window: Window) -> str:
    """Return what the stored days of a window lack, in the form in which documents name missing data."""
    names = sorted(Capabilities().unique_metrics & set(spec.fields)) or ["summary"]
    reason = "it does not add up over days, and the range was not fetched as a whole"
    return describe_missing([MissingData("field", name, (window,), reason) for name in names], window) or reason


def _unpublished(reader: Reader, key: ReportKey, built: tuple[Entry, bytes], why: str) -> ReadResult:
    """Return the result of an entry that is not stored; its reason also names what is missing."""
    entry, blob = built
    reason = f"{why}; missing: {entry.degraded_reason}" if entry.degraded_reason else why
    entry = replace(
        entry,
        degraded=True,
        degraded_reason=reason,
        expires_at=entry.fetched_at,
        settled=False,
        payload_hash=sha256(blob).hexdigest(),
    )
    window = entry.key.window
    return ReadResult(
        key=key,
        status=ReadStatus.STALE,
        read_at=reader.clock.now(),
        entry=entry,
        blob=blob,
        reason=reason,
        window=window,
    )


def _list_other_windows(reader: Reader, key: ReportKey, entry_query: EntryQuery) -> Iterator[Entry]:
    """Yield entries of the key's query for other days, the best first."""
    window = entry_query.entry_key.window
    stored = [
        item
        for item in entries.list_entries(reader.context.engine, key.account_id)
        if item.key.spec_hash == entry_query.spec.hash and item.key.window != window
    ]
    earlier = [
        item
        for item in stored
        if item.key.window.until <= window.until
        and matches_key(item.key, key, entry_query.account, entry_query.spec, item.fetched_at)
    ]
    rest = [item for item in stored if item not in earlier]
    covering = [item for item in rest if _covers(item.key.window, window)]
    inside = [item for item in rest if _covers(window, item.key.window)]
    yield from sorted(earlier, key=lambda item: (item.key.window.until, item.fetched_at), reverse=True)
    yield from sorted(covering, key=lambda item: (len(item.key.window), -item.fetched_at.timestamp()))
    yield from sorted(inside, key=lambda item: (-len(item.key.window), -item.fetched_at.timestamp()))


def _covers(outer: Window, inner: Window) -> bool:
    return outer.since <= inner.since and inner.until <= outer.until
