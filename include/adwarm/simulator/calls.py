"""Counts of the calls that were answered, for tests and summaries. Safe to use from several threads."""

import threading
from collections import Counter
from typing import TypedDict


class CallCounts(TypedDict):
    """Calls answered since the last reset; control calls are not counted."""

    total: int
    accounts: dict[str, int]
    paths: dict[str, int]
    statuses: dict[str, int]


class CallLog:
    """Counts calls by account, by path and by status."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accounts: Counter[str] = Counter()
        self._paths: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._total = 0

    def record(self, account: str | None, path: str, status: int) -> None:
        """Count one answered call."""
        with self._lock:
            self._total += 1
            self._paths[path] += 1
            self._statuses[str(status)] += 1
            if account is not None:
                self._accounts[account] += 1

    def counts(self) -> CallCounts:
        """Return the counts so far."""
        with self._lock:
            return CallCounts(
                total=self._total,
                accounts=dict(self._accounts),
                paths=dict(self._paths),
                statuses=dict(self._statuses),
            )

    def reset(self) -> None:
        """Start again from nothing."""
        with self._lock:
            self._total = 0
            for counter in (self._accounts, self._paths, self._statuses):
                counter.clear()
