"""The caches of one process, and what they have to drop."""

import asyncio
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from adwarm.model import ReportKey


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
