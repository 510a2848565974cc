"""Caches of one process, and how it learns that one is to be cleared."""

import asyncio
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from sqlalchemy import Engine

from adwarm.foundation.errors import BadRequest
from adwarm.model import ReportKey
from adwarm.recovery import Failure
from adwarm.recovery.call import STORED_DATA
from adwarm.recovery.retry import ErrorFilter
from adwarm.store import entries

ClearScope = Literal["key", "account", "all"]


@dataclass(frozen=True, slots=True)
class CacheSelection:
    """What to drop from the caches of a process.

    Attributes:
        account_id: the account; None for everything.
        key: the report; None for every report of the account.
        payload_hashes: the hashes of the stored bytes of the account's entries.
    """

    account_id: str | None = None
    key: ReportKey | None = None
    payload_hashes: frozenset[str] = frozenset()

    def includes(self, key: ReportKey) -> bool:
        """Return whether a report is selected."""
        return (self.account_id or key.account_id) == key.account_id and (self.key or key) == key


class ClearableCache(Protocol):
    """A cache of this process. `clear` may be called in any thread."""

    def clear(self, selection: CacheSelection) -> None:
        """Drop what is selected."""
        ...


class LocalCaches:
    """The caches of one process, which this object does not keep alive. Safe to share between threads."""

    def __init__(self) -> None:
        self._caches: weakref.WeakSet[ClearableCache] = weakref.WeakSet()
        self._lock = threading.Lock()

    def add(self, *caches: ClearableCache) -> None:
        """Add caches."""
        with self._lock:
            self._caches.update(caches)

    def clear(self, selection: CacheSelection) -> int:
        """Drop what is selected from every cache, and return how many caches there are."""
        with self._lock:
            caches = list(self._caches)
        for cache in caches:
            cache.clear(selection)
        return len(caches)


def run_in_loop(loop: asyncio.AbstractEventLoop | None, work: Callable[[], None]) -> None:
    """Run `work` in the event loop that owns what it changes; at once, in this thread, when there is no loop."""
    if loop is None or loop.is_closed():
        work()
    else:
        loop.call_soon_threadsafe(work)


@dataclass(eq=False)
class CacheClear:
    """Clears the caches of the process that met the error: decoded reports, pointers, bodies and body files.

    Other processes keep theirs. They verify the hash of what they read from the database, and of a file that was
    changed, so they serve nothing that is damaged.

    Attributes:
        cooldown_seconds: the shortest time between two runs for the same key or account, over all workers.
        clears: the report of the failed operation, its account, or everything.
    """

    action = "cache_clear"

    engine: Engine
    get_caches: Callable[[], LocalCaches]
    errors: ErrorFilter
    cooldown_seconds: float
    clears: ClearScope = "key"

    def matches(self, failure: Failure) -> bool:
        """Return whether the error is one that it is for, of an operation on stored data."""
        return failure.call.source == STORED_DATA and self.errors.matches(failure.error)

    def scope(self, failure: Failure) -> str:
        """Return the report or the account, or `all`."""
        selection = self._select(failure)
        return str(selection.key or selection.account_id or "all")

    def heal(self, failure: Failure) -> str:
        """Clear the caches of this process."""
        count = self.get_caches().clear(self._select(failure, with_hashes=True))
        return f"cleared {self.scope(failure)} in {count} caches of one process"

    def adopt(self, failure: Failure) -> bool:
        """Clear the caches of this process too, and return True: the next attempt reads the database."""
        self.get_caches().clear(self._select(failure, with_hashes=True))
        return True

    def _select(self, failure: Failure, *, with_hashes: bool = False) -> CacheSelection:
        call = failure.call
        key = _parse_key(call.subject) if self.clears == "key" else None
        account_id = key.account_id if key else call.account_id
        if self.clears == "all" or account_id is None:
            return CacheSelection()
        hashes = [item.payload_hash for item in entries.list_entries(self.engine, account_id)] if with_hashes else []
        return CacheSelection(account_id, key, frozenset(hashes))


def _parse_key(text: str | None) -> ReportKey | None:
    """Return the report that the text of a subject names; None when it names none."""
    try:
        return ReportKey.parse(*text.replace("[", "").replace("]", "").split()) if text else None
    except (BadRequest, TypeError):
        return None
