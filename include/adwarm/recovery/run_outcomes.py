"""Counts how the runs of the pipeline ended against the connection or the account that they called.

A temporary error says nothing about its cause: it may be the account's, the connection's, or the whole platform's. What
the other calls of this process show does:

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
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import VersionEnded
from adwarm.recovery.call import Call
from adwarm.recovery.isolation import (
    ACCOUNTS_OF_AN_OUTAGE,
    IsolationTracker,
    account_scope,
    connection_scope,
    counts_for_account,
    counts_for_connection,
    is_temporary,
    list_scopes,
)

_FORGET_SECONDS = 600.0


@dataclass
class _Source:
    """What this process has seen of a source. Times are in seconds since the epoch."""

    failed_accounts: set[str] = field(default_factory=set)  # accounts that failed since the last success of any
    last_failure: dict[str, float] = field(default_factory=dict)  # by connection, when its last failure ended
    last_success: dict[str, float] = field(default_factory=dict)  # by connection, when its last successful run started


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


class RunOutcomes:
    """Records runs with an isolation tracker. Safe to share between threads."""

    def __init__(
        self, tracker: IsolationTracker, clock: Clock, is_source_failing: Callable[[str], bool] | None = None
    ) -> None:
        self._tracker = tracker
        self._clock = clock
        self._is_source_failing = is_source_failing
        self._evidence = SourceEvidence()

    def record(self, call: Call, started: datetime, error: Exception | None) -> None:
        """Count a run that started at `started` and ended with `error`, or succeeded."""
        if not list_scopes(call):
            return
        if error is None:
            self._evidence.record_success(call, started.timestamp())
            for scope in list_scopes(call):
                self._tracker.record(scope, failed=False)
        elif is_temporary(error):
            self._record_temporary(call, error)
        elif counts_for_connection(error):
            self._tracker.record_failure(connection_scope(call), error)
        elif isinstance(error, VersionEnded):
            self._tracker.end_version(call, error)
        elif counts_for_account(error) and call.account_id:
            self._tracker.record_failure(account_scope(call.account_id), error)

    def _record_temporary(self, call: Call, error: Exception) -> None:
        is_of_account, is_of_connection = self._evidence.record_failure(call, self._clock.now().timestamp())
        if not (is_of_account or is_of_connection):
            return
        if self._is_source_failing is not None and self._is_source_failing(call.source):
            return
        if is_of_connection:
            self._tracker.record_failure(connection_scope(call), error, account=call.account_id)
        if is_of_account and call.account_id:
            self._tracker.record_failure(account_scope(call.account_id), error)
