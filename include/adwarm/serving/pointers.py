"""Entry pointers: which entry answers a report key now, reused for at most a second.

A pointer is the entry's row with the window that it was resolved for. It is not reused after `serving.pointer_seconds`,
nor after the midnight in the account's data zone that moves the window; whether the entry is fresh is decided by the
clock at each request. Reads of the database run in threads, one at a time for each key.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cachetools import LRUCache

from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import Transient
from adwarm.foundation.local_time import local_day, local_midnight
from adwarm.model import Account, ReportKey, Window, resolve_key
from adwarm.serving.local_caches import CacheSelection, run_in_loop
from adwarm.store import Context, entries
from adwarm.store.entries import Entry
from adwarm_client.date_ranges import ONE_DAY, PRESETS

MAX_POINTERS: Final = 20_000
_EVER: Final = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


@dataclass(slots=True)
class Pointer:
    """What a report key stood for when the database was read.

    Attributes:
        window: the days that it meant.
        entry: the entry of these days; None when there is none.
        data_zone: zone of the account; the default zone when the account is not stored.
        is_known: whether the account is stored.
        valid_from: first moment at which the key means these days.
        valid_until: first moment at which it means other days.
        read_at: when the read began, in seconds of the monotonic clock.
    """

    key: ReportKey
    window: Window
    entry: Entry | None
    data_zone: str
    is_known: bool
    valid_from: datetime
    valid_until: datetime
    read_at: float


@dataclass(frozen=True, slots=True)
class _Flight:
    """A read that runs, and when it began."""

    future: asyncio.Future[Pointer]
    started: float


class PointerCache:
    """Finds pointers. Its methods are called in one event loop; `read` runs in threads of `executor`."""

    def __init__(
        self, context: Context, clock: Clock, executor: Executor, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = context.engine
        self._settings = context.settings
        self._seconds = context.settings.serving.pointer_seconds
        self._clock = clock
        self._executor = executor
        self._monotonic = monotonic
        self._pointers: LRUCache[ReportKey, Pointer] = LRUCache(MAX_POINTERS)
        self._last: LRUCache[ReportKey, Pointer] = LRUCache(MAX_POINTERS)
        self._zones: LRUCache[str, str] = LRUCache(MAX_POINTERS)
        self._flights: dict[ReportKey, _Flight] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def clear(self, selection: CacheSelection) -> None:
        """Drop the pointers of the selected reports. Call it in any thread."""
        run_in_loop(self._loop, lambda: self._drop(selection))

    def get(self, key: ReportKey, now: datetime) -> Pointer | None:
        """Return the pointer of a key if it may be reused at `now`, else None."""
        pointer = self._pointers.get(key)
        if pointer is None or self._monotonic() - pointer.read_at >= self._seconds:
            return None
        return pointer if pointer.valid_from <= now < pointer.valid_until else None

    def get_last(self, key: ReportKey) -> Pointer | None:
        """Return the last pointer of a key that had an entry, of any age: for the time when the database is lost."""
        return self._last.get(key)

    def is_stored(self, account_id: str) -> bool:
        """Whether the account was stored when this process read a pointer of it last; needs no database."""
        return account_id in self._zones

    async def load(self, key: ReportKey, max_age: float | None = None) -> Pointer:
        """Return the pointer of a key, read from the database.

        Callers share a read that began at most `max_age` before they came. One that began earlier may have missed a
        newer entry, so they wait for the next read, which they share too.

        Args:
            max_age: seconds; `serving.pointer_seconds` when None.

        Raises:
            BadRequest: the report is not configured.
        """
        oldest = self._monotonic() - (self._seconds if max_age is None else max_age)
        while True:
            flight = self._flights.get(key) or self._start(key)
            if flight.started >= oldest:
                # Shielded: the others still wait for it when one of them is gone.
                return await asyncio.shield(flight.future)
            await asyncio.wait([flight.future])

    def read(self, key: ReportKey, zone: str | None = None) -> Pointer:
        """Read the pointer of a key from the database, in this thread.

        Args:
            zone: the data zone that the account had last time; a wrong one costs a second statement.

        Raises:
            BadRequest: the report is not configured.
        """
        started, now, default = self._monotonic(), self._clock.now(), self._settings.default_zone
        spec, zone = self._settings.spec(key.report), zone or default
        for _ in range(3):
            entry_key = resolve_key(key, Account(key.account_id, zone, zone), spec, now)
            entry, stored_zone = entries.find_with_zone(self._engine, entry_key)
            if (stored_zone or default) == zone:
                valid_from, valid_until = _validity(key.date_range, zone, now)
                return Pointer(
                    key=key,
                    window=entry_key.window,
                    entry=entry,
                    data_zone=zone,
                    is_known=stored_zone is not None,
                    valid_from=valid_from,
                    valid_until=valid_until,
                    read_at=started,
                )
            zone = stored_zone or default
        raise Transient(f"the time zone of {key.account_id} keeps changing; try again", retry_after=1)

    def _start(self, key: ReportKey) -> _Flight:
        loop = self._loop = asyncio.get_running_loop()
        started = self._monotonic()
        future = loop.run_in_executor(self._executor, self.read, key, self._zones.get(key.account_id))
        flight = self._flights[key] = _Flight(future, started)
        future.add_done_callback(lambda done: self._finish(key, done))
        return flight

    def _drop(self, selection: CacheSelection) -> None:
        for key in [key for key in self._pointers if selection.includes(key)]:
            del self._pointers[key]

    def _finish(self, key: ReportKey, done: asyncio.Future[Pointer]) -> None:
        del self._flights[key]
        if not done.cancelled() and done.exception() is None:
            pointer = done.result()
            self._pointers[key] = pointer
            if pointer.is_known:
                self._zones[key.account_id] = pointer.data_zone
            if pointer.entry is not None:
                self._last[key] = pointer


def _validity(date_range: str, zone: str, now: datetime) -> tuple[datetime, datetime]:
    """Return the first moment of the local day of `now` and that of the next one; absolute days never move."""
    if date_range not in PRESETS:
        return _EVER
    today = local_day(now, zone)
    return local_midnight(today, zone), local_midnight(today + ONE_DAY, zone)
