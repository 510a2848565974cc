"""Counts how the runs of the pipeline ended against the connection, the account or the fallback they called."""

from collections.abc import Callable
from datetime import datetime

from adwarm.foundation.clock import Clock
from adwarm.recovery.call import Call
from adwarm.recovery.isolation import (
    IsolationTracker,
    account_scope,
    connection_scope,
    counts_for_account,
    counts_for_connection,
    fallback_scope,
    is_temporary,
    list_scopes,
)
from adwarm.recovery.source_evidence import SourceEvidence


class RunOutcomes:
    """Records runs with an isolation tracker. Safe to share between threads.

    Args:
        tracker: counts the failures.
        is_source_failing: returns whether the circuit breaker of a whole source is not closed.
    """

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
        elif counts_for_account(error) and call.account_id:
            self._tracker.record_failure(account_scope(call.account_id), error)

    def record_fallback(self, name: str, failure: Exception | None) -> None:
        """Count a call of a fallback that ended with `failure`, or succeeded."""
        if failure is None:
            self._tracker.record(fallback_scope(name), failed=False)
        else:
            self._tracker.record_failure(fallback_scope(name), failure)

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
