"""Alerts: many errors of one source in a window become one message over all workers.

A dead token and a blocked app do at once: nothing but a person mends them. A request that was too large is asked again
in parts, and what adwarm itself put off was never asked: neither is a failure, and neither counts.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from adwarm.foundation.errors import Blocked, NotAdmitted, Refused, TokenDead, TooMuchData
from adwarm.recovery.healing import CooldownLedger
from adwarm.recovery.journal import ErrorEvent, ErrorJournal
from adwarm.settings import RecoverySettings

_URGENT = frozenset({TokenDead.__name__, Blocked.__name__})
log = logging.getLogger(__name__)

IGNORED_KINDS = frozenset(error.__name__ for error in (TooMuchData, Refused, NotAdmitted))
"""Kinds of errors that are on record and count for no alert."""


@dataclass(frozen=True, slots=True)
class Alert:
    """What a person should know: `errors` of `source` within `window_seconds`, the last of them in words."""

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
    """Decides when errors are worth a message."""

    def __init__(
        self, settings: RecoverySettings, journal: ErrorJournal, ledger: CooldownLedger, sink: AlertSink
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._ledger = ledger
        self._sink = sink

    def alert_if_over_threshold(self, event: ErrorEvent) -> bool:
        """Deliver an alert if the window holds enough errors and none was delivered in it; say whether one was.

        A delivery that fails is raised, and the next error tries again after the window.
        """
        window = self._settings.alert_window_seconds
        if event.kind in IGNORED_KINDS:
            return False
        errors = self._journal.count(event.source, event.at - timedelta(seconds=window), IGNORED_KINDS)
        urgent = event.kind in _URGENT
        if errors < self._settings.alert_threshold and not urgent:
            return False
        name = f"alert:{event.source}:{event.kind}" if urgent else f"alert:{event.source}"
        return self._deliver(name, Alert(event.at, event.source, event.kind, errors, window, event.message))

    def alert_once(self, event: ErrorEvent) -> bool:
        """Deliver an alert about one event that a person must know of, once in a window; say whether it was."""
        window = self._settings.alert_window_seconds
        alert = Alert(event.at, event.source, event.kind, 1, window, event.message)
        return self._deliver(f"alert:{event.source}:{event.kind}", alert)

    def _deliver(self, name: str, alert: Alert) -> bool:
        if not self._ledger.acquire(name, alert.window_seconds):
            return False
        self._sink.alert(alert)
        self._ledger.finish(name, succeeded=True, detail=f"{alert.errors} errors in {alert.window_seconds:.0f} s")
        return True
