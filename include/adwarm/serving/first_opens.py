"""Tells which opens are first opens: nobody opened the key for `FIRST_OPEN_QUIET` before.

A process knows only the opens that it has served itself since it started, of the keys it has seen last. An open is
therefore also counted as a first one when the open before it was served by another process, before a restart, or so
many keys ago that it was forgotten. The access log has the exact numbers; these are available at once.
"""

import threading
from datetime import datetime
from typing import Final

from adwarm.model import FIRST_OPEN_QUIET, Actor, ReportKey

MAX_KEYS: Final = 50_000
"""Keys that a process remembers, about 15 MB; the one whose last open is the oldest is forgotten first."""


class FirstOpenTracker:
    """Remembers when each key was last opened by a human. Safe for many threads; memory is bounded."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._last_opens: dict[ReportKey, datetime] = {}
        self._lock = threading.Lock()

    def count(self, at: datetime, key: ReportKey, actor: Actor, *, is_hit: bool) -> dict[str, int]:
        """Record an open, and return what it adds to the traffic of its hour.

        Args:
            at: when it was opened, UTC.
            key: the report key.
            actor: who opened it; only humans count.
            is_hit: whether a fresh entry answered.

        Returns:
            `first_opens` and `first_hits` for a first open; empty for any other.
        """
        if not actor.is_human:
            return {}
        with self._lock:
            before = self._last_opens.pop(key, None)  # taken out, so that the oldest open stays the first of the dict
            self._last_opens[key] = at if before is None else max(at, before)
            if len(self._last_opens) > self._max_keys:
                del self._last_opens[next(iter(self._last_opens))]
        if before is not None and at - before < FIRST_OPEN_QUIET:
            return {}
        return {"first_opens": 1, "first_hits": int(is_hit)}
