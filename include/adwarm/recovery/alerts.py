"""Alerts: many errors of one source in a window become one message over all workers.

A dead token and a blocked app do at once: nothing but a person mends them.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from adwarm.errors import Blocked, TokenDead
from adwarm.recovery.healing import CooldownLedger
from adwarm.recovery.journal import ErrorEvent, ErrorJournal
from adwarm.settings import RecoverySettings

_URGENT = frozenset({TokenDead.__name__, Blocked.__name__})
log = logging.getLogger(__name__)


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
            alert.source, alert.errors, alert.window_seconds, alert.kind, alert.message,
        )  # fmt: skip


class AlertPolicy:
    """Decides when errors are worth a message."""

    def __init__(
        self, settings: RecoverySettings, journal: ErrorJournal, ledger: CooldownLedger, sink: AlertSink
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._ledger = ledger
        self._sink = sink

    def consider(self, event: ErrorEvent) -> bool:
        """Deliver an alert if the window holds enough errors and none was delivered in it; say whether one was.

        A delivery that fails is raised, and the next error tries again after the window.
        """
        window = self._settings.alert_window_seconds
        errors = self._journal.count(event.source, event.at - timedelta(seconds=window))
        urgent = event.kind in _URGENT
        if errors < self._settings.alert_threshold and not urgent:
            return False
        name = f"alert:{event.source}:{event.kind}" if urgent else f"alert:{event.source}"
        if not self._ledger.claim(name, window):
            return False
        self._sink.alert(Alert(event.at, event.source, event.kind, errors, window, event.message))
        self._ledger.finish(name, succeeded=True, detail=f"{errors} errors in {window:.0f} s")
        return True
