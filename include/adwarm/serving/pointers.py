"""Entry pointers: which entry answers a report key now, reused for at most a second.

A pointer is the entry's row with the window that it was resolved for. It is not reused after `serving.pointer_seconds`,
nor after the midnight in the account's data zone that moves the window; whether the entry is fresh is decided by the
clock at each request. From half of that time on a request starts to read it again and waits for nothing: while a key is
awaited, as many readers wait as come meanwhile.

Statements run in threads. One reads all keys that wait for it, so that many keys cost little more than one.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from cachetools import LRUCache

from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import Transient
from adwarm.foundation.local_time import local_day, local_midnight
from adwarm.model import Account, EntryKey, ReportKey, Window, resolve_key
from adwarm.serving.local_caches import CacheSelection, run_in_loop
from adwarm.store import Context, entries
from adwarm.store.entries import Entry
from adwarm_client.date_ranges import ONE_DAY, PRESETS

MAX_POINTERS: Final = 20_000
_KEYS_AT_ONCE: Final = 50
_STATEMENTS: Final = 2
"""Statements at a time: a slow one holds up no others, and the keys that come meanwhile are read together."""
_ZONE_TRIES: Final = 3
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


@dataclass(slots=True)
class _Read:
    """A key that waits to be read, or is read."""

    future: asyncio.Future[Pointer]
    started: float = math.inf


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
        self._waiting: dict[ReportKey, _Read] = {}
        self._running: dict[ReportKey, _Read] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def clear(self, selection: CacheSelection) -> None:
        """Drop the pointers of the selected reports. Call it in any thread."""
        run_in_loop(self._loop, lambda: self._drop(selection))

    def get(self, key: ReportKey, now: datetime) -> Pointer | None:
        """Return the pointer of a key if it may be reused at `now`, else None; one in use is read again in advance."""
        pointer = self._pointers.get(key)
        age = math.inf if pointer is None else self._monotonic() - pointer.read_at
        if pointer is None or age >= self._seconds or not pointer.valid_from <= now < pointer.valid_until:
            return None
        if age >= self._seconds / 2 and key not in self._waiting and key not in self._running:
            self._wait(key).future.add_done_callback(asyncio.Future.exception)  # `load` raises it if it stays
        return pointer

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
        read = self._running.get(key)
        if read is None or read.started < oldest:
            read = self._waiting.get(key) or self._wait(key)
        # Shielded: the others still wait for it when one of them is gone.
        return await asyncio.shield(read.future)

    def read(self, zones: Mapping[ReportKey, str | None]) -> dict[ReportKey, Pointer | Exception]:
        """Read the pointers of keys from the database, in this thread; the error of a key stands in its place.

        Args:
            zones: each key with the data zone that its account had last time; a wrong one costs another statement.
        """
        started, now, default = self._monotonic(), self._clock.now(), self._settings.default_zone
        results: dict[ReportKey, Pointer | Exception] = {}
        rest = {key: zone or default for key, zone in zones.items()}
        for _ in range(_ZONE_TRIES):
            entry_keys: dict[ReportKey, EntryKey] = {}
            for key, zone in rest.items():
                try:
                    spec = self._settings.spec(key.report)
                    entry_keys[key] = resolve_key(key, Account(key.account_id, zone, zone), spec, now)
                except Exception as error:  # whatever it is, the other keys have no part in it
                    results[key] = error
            stored = entries.find_with_zones(self._engine, set(entry_keys.values()))
            guesses, rest = rest, {}
            for key, entry_key in entry_keys.items():
                entry, stored_zone = stored[entry_key]
                zone = stored_zone or default
                if zone != guesses[key]:
                    rest[key] = zone
                    continue
                valid_from, valid_until = _validity(key.date_range, zone, now)
                results[key] = Pointer(
                    key=key,
                    window=entry_key.window,
                    entry=entry,
                    data_zone=zone,
                    is_known=stored_zone is not None,
                    valid_from=valid_from,
                    valid_until=valid_until,
                    read_at=started,
                )
            if not rest:
                break
        for key in rest:
            results[key] = Transient(f"the time zone of {key.account_id} keeps changing; try again", retry_after=1)
        return results

    def _wait(self, key: ReportKey) -> _Read:
        """Let a key wait for the next statement, which others that come in the same turn of the loop join."""
        loop = self._loop = asyncio.get_running_loop()
        read = _Read(loop.create_future())
        if len(self._tasks) < (1 if self._waiting else _STATEMENTS):
            self._tasks.add(loop.create_task(self._read_waiting()))
        self._waiting[key] = read
        return read

    async def _read_waiting(self) -> None:
        """Read the keys that wait, by one statement after the other, until none waits."""
        # The task leaves `_tasks` in the turn in which it sees that none waits, so that a later key starts another one.
        try:
            while self._waiting:
                await self._read_some()
        finally:
            self._tasks.discard(asyncio.current_task())

    async def _read_some(self) -> None:
        """Read keys that wait, by one statement."""
        keys = list(islice(self._waiting, _KEYS_AT_ONCE))
        reads = {key: self._waiting.pop(key) for key in keys}
        for read in reads.values():
            read.started = self._monotonic()
        self._running |= reads
        zones = {key: self._zones.get(key.account_id) for key in keys}
        results: Mapping[ReportKey, Pointer | Exception]
        try:
            results = await asyncio.get_running_loop().run_in_executor(self._executor, self.read, zones)
        except Exception as error:
            results = dict.fromkeys(keys, error)
        finally:
            for key, read in reads.items():
                if self._running.get(key) is read:
                    del self._running[key]
        for key, read in reads.items():
            result = results[key]
            if isinstance(result, Pointer):
                self._remember(result)
                read.future.set_result(result)
            else:
                read.future.set_exception(result)

    def _drop(self, selection: CacheSelection) -> None:
        for key in [key for key in self._pointers if selection.includes(key)]:
            del self._pointers[key]

    def _remember(self, pointer: Pointer) -> None:
        self._pointers[pointer.key] = pointer
        if pointer.is_known:
            self._zones[pointer.key.account_id] = pointer.data_zone
        if pointer.entry is not None:
            self._last[pointer.key] = pointer


def _validity(date_range: str, zone: str, now: datetime) -> tuple[datetime, datetime]:
    """Return the first moment of the local day of `now` and that of the next one; absolute days never move."""
    if date_range not in PRESETS:
        return _EVER
    today = local_day(now, zone)
    return local_midnight(today, zone), local_midnight(today + ONE_DAY, zone)
