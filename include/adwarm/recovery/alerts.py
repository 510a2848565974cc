"""Alerts: many errors of one source within a window become one message, over all workers.

A dead token and a blocked app alert at the first error, because only a human can fix them. Two kinds of errors never
count: a request that was too large is split and repeated, and a call that adwarm itself did not admit was never made.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from adwarm.foundation.errors import Blocked, NotAdmitted, Refused, TokenDead, TooMuchData
from adwarm.recovery.healing import CooldownLedger
from adwarm.recovery.journal import ErrorEvent, ErrorJournal
from adwarm.settings import RecoverySettings

_URGENT_KINDS = frozenset({TokenDead.__name__, Blocked.__name__})
log = logging.getLogger(__name__)

IGNORED_KINDS = frozenset(error.__name__ for error in (TooMuchData, Refused, NotAdmitted))
"""Kinds of errors that may be recorded and never count for an alert."""


@dataclass(frozen=True, slots=True)
class Alert:
    """A message for a human: `errors` of `source` within `window_seconds`, with the last error's kind and message."""

    at: datetime
    source: str
    kind: str
    errors: int
    window_seconds: float
    message: str


class AlertSink(Protocol):
    """Where alerts go."""

    def alert(self, alert: Alert) -> None:
        """Deliver the alert."""
        ...


class LogSink:
    """Writes alerts to the log, where Airflow shows them with the task."""

    def alert(self, alert: Alert) -> None:
        """Log the alert as an error."""
        log.error(
            "ALERT %s: %d errors in %.0f s, last %s: %s",
            alert.source,
            alert.errors,
            alert.window_seconds,
            alert.kind,
            alert.message,
        )


class AlertPolicy:
    """Decides which errors cause an alert."""

    def __init__(
        self, settings: RecoverySettings, journal: ErrorJournal, ledger: CooldownLedger, sink: AlertSink
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._ledger = ledger
        self._sink = sink

    def alert_if_over_threshold(self, event: ErrorEvent) -> bool:
        """Deliver an alert if the window holds enough errors and none was delivered in it; return whether it was.

        An error of the delivery is raised. The next error in a later window tries again.
        """
        window = self._settings.alert_window_seconds
        if event.kind in IGNORED_KINDS:
            return False
        errors = self._journal.count(event.source, event.at - timedelta(seconds=window), IGNORED_KINDS)
        is_urgent = event.kind in _URGENT_KINDS
        if errors < self._settings.alert_threshold and not is_urgent:
            return False
        name = f"alert:{event.source}:{event.kind}" if is_urgent else f"alert:{event.source}"
        return self._deliver(name, Alert(event.at, event.source, event.kind, errors, window, event.message))

    def alert_once(self, event: ErrorEvent) -> bool:
        """Deliver an alert about a single event, once per window; return whether it was delivered."""
        window = self._settings.alert_window_seconds
        alert = Alert(event.at, event.source, event.kind, 1, window, event.message)
        return self._deliver(f"alert:{event.source}:{event.kind}", alert)

    def _deliver(self, name: str, alert: Alert) -> bool:
        if not self._ledger.acquire(name, alert.window_seconds):
            return False
        self._sink.alert(alert)
        self._ledger.finish(name, succeeded=True, detail=f"{alert.errors} errors in {alert.window_seconds:.0f} s")
        return True
