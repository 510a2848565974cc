"""Whose fault a temporary error is: the account's, the connection's, or the whole platform's.

A temporary error says nothing about its cause. What the other calls of this process show does:

| since the source last worked in this process               | the error is                          |
|------------------------------------------------------------|---------------------------------------|
| fewer than three accounts have failed                      | the account's                         |
| three accounts or more have failed                         | the platform's; no account is counted |

| after the connection's previous error                      | the error is also                     |
|------------------------------------------------------------|---------------------------------------|
| another connection of the source has worked                | the connection's                      |
| none has                                                   | not the connection's                  |

The module keeps the last success and the accounts that failed since then, in memory. It needs no database.
"""

import threading
from dataclasses import dataclass, field

from adwarm.recovery.call import Call

ACCOUNTS_OF_AN_OUTAGE = 3
"""So many accounts that fail without a success in between are the platform's failure."""
_FORGET_SECONDS = 600.0


@dataclass
class _Source:
    """What this process has seen of a source. Times are in seconds since the epoch.

    Attributes:
        failed_accounts: accounts that failed since the last success of any.
        last_failure: by connection, when its last failure ended.
        last_success: by connection, when its last successful run started.
    """

    failed_accounts: set[str] = field(default_factory=set)
    last_failure: dict[str, float] = field(default_factory=dict)
    last_success: dict[str, float] = field(default_factory=dict)


class SourceEvidence:
    """What the runs of this process show about sources. Safe to share between threads."""

    def __init__(self) -> None:
        self._sources: dict[str, _Source] = {}
        self._lock = threading.Lock()

    def record_success(self, call: Call, started: float) -> None:
        """Note that a run which started at `started` succeeded."""
        with self._lock:
            source = self._sources.setdefault(call.source, _Source())
            source.failed_accounts.clear()
            source.last_success[call.connection] = started

    def record_failure(self, call: Call, ended: float) -> tuple[bool, bool]:
        """Note that a run failed at `ended`; return whether it counts for the account, and for the connection."""
        with self._lock:
            source = self._sources.setdefault(call.source, _Source())
            others = source.failed_accounts - {call.account_id or ""}
            if len(others) < ACCOUNTS_OF_AN_OUTAGE:  # more names would not change the answer
                source.failed_accounts.add(call.account_id or "")
            previous = source.last_failure.get(call.connection)
            source.last_failure[call.connection] = ended
            is_recent = previous is not None and ended - previous < _FORGET_SECONDS
            others_work = any(
                started > (previous or 0.0)
                for connection, started in source.last_success.items()
                if connection != call.connection
            )
        return len(others) < ACCOUNTS_OF_AN_OUTAGE - 1, is_recent and others_work
