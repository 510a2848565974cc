"""Alerts: many errors of one kind and scope become one alert, over all workers.

| what happens                                     | then                                                          |
|--------------------------------------------------|---------------------------------------------------------------|
| errors of a kind cross their threshold           | an alert opens, unless one is open; each channel gets a notice |
| further errors                                   | only its count and the time of its last error change          |
| errors of other accounts join an account's alert | it becomes one of the source; no further notice               |
| no error for `RESOLVE_AFTER`                     | it is resolved; channels that got a notice get another, except |
|                                                  | about a single event, which is over when it happens           |
| the same, and the alert is about a connection    | the same once a fetch by it has succeeded, or after a day     |
| it stays open for a day                          | each channel gets its notice again                            |

Three kinds of errors never count: a request that was too large is split and repeated, one with a refused field is
repeated without it (whoever does so raises a single alert), and a call that adwarm itself did not admit was never made.
"""

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, Engine

from adwarm.foundation import telemetry
from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import Blocked, FieldRefused, NotAdmitted, Refused, TokenDead, TooMuchData, VersionEnded
from adwarm.recovery.alert_delivery import NoticeSender
from adwarm.settings import AlertSettings
from adwarm.store import alerts as alert_rows
from adwarm.store.alerts import Changes, NewAlert
from adwarm.store.error_events import ErrorEvent, ErrorLog

IGNORED_KINDS = frozenset(error.__name__ for error in (TooMuchData, FieldRefused, Refused, NotAdmitted))
"""Kinds of errors that may be recorded and never count for an alert."""
_CONNECTION_KINDS = frozenset({TokenDead.__name__, Blocked.__name__, VersionEnded.__name__})
RESOLVE_AFTER = timedelta(minutes=15)
_REPEAT = timedelta(hours=24)
"""An alert without a further error is resolved after this long: three windows of five minutes."""
_WRITE_EVERY_SECONDS = 5.0
_RESOLVE_EVERY_SECONDS = 60.0
_MAX_SCOPES = 1_000
log = logging.getLogger(__name__)


BuildAlert = Callable[[Connection], NewAlert | None]
"""Returns an alert, or None for nothing; its reads and writes are in the transaction that stores the alert."""
_STEPS: Final = {
    "TokenDead": "Renew the access token in the connection {connection}; stored reports are served until then.",
    "Blocked": (
        "Open the app in the platform's developer tools and end the block of the connection {connection}; calls pause "
        "until then."
    ),
    "Throttled": (
        "Wait until the pause ends, which needs no action. If it returns daily, lower the budgets of the strategies; "
        "`adwarm status --all` shows who is parked until when."
    ),
    "Denied": (
        "Ask its owner to let the user of the connection read it, then run "
        "`adwarm gate open account:ACCOUNT`; leave it denied if it is no longer needed."
    ),
    "FieldRefused": (
        "Take the field out of the report (ADWARM_REPORTS), or get the permission it needs; `adwarm doctor` lists the "
        "accounts, and `adwarm gate open account:ACCOUNT` asks again at once."
    ),
    "TokenExpires": (
        "Renew the token in each connection that the message names before its day; `adwarm accounts token` extends one "
        "that can be extended."
    ),
    "ApiVersion": (
        "Set ADWARM_SOURCE__API_VERSION, or api_version of the connection, to a newer version; `adwarm doctor` checks "
        "it by a call. Reports are read on until then."
    ),
    "VersionEnded": (
        "Set ADWARM_SOURCE__API_VERSION, or api_version of the connection {connection}, to a newer version; "
        "`adwarm doctor` checks it by a call. Stored reports are served until then."
    ),
    "TooMuchData": (
        "Choose fewer fields or a lower level for the report (ADWARM_REPORTS): one day of the account is more than the "
        "platform returns."
    ),
    "Corrupt": (
        "Damaged data is fetched again by itself. Run `adwarm maintain --verify`; if more is damaged, check the disk "
        "or the object store."
    ),
    "Transient": (
        "Check that the platform responds, and this machine's network; calls are tried again by themselves, and stored "
        "reports are served."
    ),
    "ConnectionError": "Check this machine's network and proxy; calls are tried again by themselves.",
    "TimeoutError": "Check this machine's network; if the platform is only slow, raise ADWARM_SOURCE__READ_TIMEOUT.",
    "StorageError": "Repair the disk or the database that the message names; `adwarm doctor` checks both.",
    "OSError": "Check that the disk has space and that adwarm may write its folders; `adwarm doctor` names them.",
    "BadRequest": "Correct the setting or the report that the message names; the same call fails until then.",
    "NotFound": "Check that the account or the object still exists; `adwarm accounts discover` lists the accounts.",
    "OverlongPark": (
        "Check in the platform's own tools whether the app is limited. If the pause is a fault, `adwarm status --all` "
        "shows the scope, which is called again after the longest pause."
    ),
    "OrphanReport": (
        "Nothing is lost: the report is requested again. If this repeats, look for workers that are killed, for "
        "example for lack of memory."
    ),
    "ForecastSnapshot": (
        "The previous forecast is used. Run `adwarm maintain --verify`, then the DAG adwarm_access_patterns to train a "
        "new one."
    ),
    "Isolated": (
        "Look at the error behind it: `adwarm errors` lists it. It is used again by itself when its probes succeed; "
        "`adwarm status --all` shows until when."
    ),
    "Reconciliation": (
        "Compare the figures that the message names with the platform's own page; `adwarm maintain --verify` checks "
        "stored days."
    ),
    "WarmingLate": (
        "Open the run in Airflow and look at its first failed or running task; `adwarm status --all` shows what is "
        "limited."
    ),
}
_DEFAULT: Final = "Look at the errors with `adwarm errors --kind {kind}`; `adwarm doctor` checks the installation."


class StoredAlerts:
    """Alerts in the database, delivered to the channels of the settings. Safe to share between threads.

    Errors of these methods never replace the result of an operation.
    """

    def __init__(
        self, engine: Engine, settings: AlertSettings, errors: ErrorLog, sender: NoticeSender, clock: Clock
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._errors = errors
        self._sender = sender
        self._clock = clock
        self._lock = threading.Lock()
        self._written: dict[tuple[str, str], datetime] = {}  # kind and scope of open alerts: when they were updated
        self._resolved_at: datetime | None = None

    def observe(self, event: ErrorEvent) -> None:
        """Raise an alert if the recorded errors of the event's kind and scope have crossed their threshold.

        While the alert is open, this process updates it at most every 5 seconds.
        """
        if not self._settings.enabled or event.kind in IGNORED_KINDS:
            return
        scope, rule = _scope(event), self._settings.rule(event.kind)
        if self._is_up_to_date(event.kind, scope, event.at) or self._is_up_to_date(
            event.kind, _account(event), event.at
        ):
            return
        counted = self._errors.count(scope, event.kind, event.at - timedelta(seconds=rule.window_seconds))
        if counted.errors < rule.threshold:
            if self._resolving_is_due(event.at):
                self.resolve_quiet(event.at)
            return
        is_one_account = counted.account_id is not None and not scope.startswith("connection:")
        new = NewAlert(
            at=event.at,
            kind=event.kind,
            scope=f"account:{counted.account_id}" if is_one_account else scope,
            wider_scope=scope if is_one_account else None,
            errors=counted.errors,
            window_seconds=rule.window_seconds,
            example=event.subject or event.account_id,
            reason=event.message,
            next_step=get_next_step(event.kind, event.connection_name),
        )
        self._write(new)

    def raise_once(self, event: ErrorEvent) -> None:
        """Raise an alert about a single event, unless one is open for its kind and source.

        There is no notice when it is resolved: no later event would say that the cause is gone.
        """
        if not self._settings.enabled or self._is_up_to_date(event.kind, event.source, event.at):
            return
        new = NewAlert(
            at=event.at,
            kind=event.kind,
            scope=event.source,
            example=event.subject or event.account_id,
            reason=event.message,
            next_step=get_next_step(event.kind, event.connection_name),
        )
        self._write(new)

    def raise_about(self, build: BuildAlert) -> None:
        """Raise the alert that `build` returns, with a notice of its own, also while an earlier one is open.

        What `build` writes is stored together with the alert and its notices, or not at all.
        """
        if self._settings.enabled:
            self._tell(alert_rows.open_event(self._engine, build, self._sender.names))

    def resolve_quiet(self, now: datetime | None = None) -> int:
        """Resolve each alert without a recent error, and return how many; notices are sent in the background."""
        at = now or self._clock.now()
        resolved = alert_rows.resolve_quiet(self._engine, self._quiet_before(at), at, self._sender.names)
        for item in resolved:
            self._forget(item.kind)
        self._tell(Changes(resolved=resolved))
        return len(resolved)

    def repeat_open(self) -> int:
        """Queue another notice of each alert that stays open, and return how many alerts that are."""
        return alert_rows.repeat_open(self._engine, self._clock.now(), _REPEAT, self._sender.names)

    def deliver(self, may_continue: Callable[[], bool] = lambda: True) -> tuple[int, list[str]]:
        """Send what is due and this process can send; return how many notices were sent, and what failed."""
        return self._sender.deliver(may_continue)

    def _write(self, new: NewAlert) -> None:
        changes = alert_rows.open_or_extend(self._engine, new, self._sender.names, self._quiet_before(new.at))
        with self._lock:
            if len(self._written) >= _MAX_SCOPES:
                self._written.clear()
            self._written[new.kind, new.scope] = new.at
        self._tell(changes)

    def _tell(self, changes: Changes) -> None:
        """Log what has changed, and send the other notices in the background."""
        ended = [item for item in changes.resolved if item.window_seconds]  # a single event is over when it happens
        for item in ended:
            self._sender.log(item, alert_rows.RESOLVED)
            telemetry.report(telemetry.ALERTS, kind=item.kind, change="resolved")
        for item in changes.opened:
            self._sender.log(item, alert_rows.OPENED)
            telemetry.report(telemetry.ALERTS, kind=item.kind, change="opened")
        if changes.opened or ended:
            self._sender.start()

    def _quiet_before(self, at: datetime) -> datetime:
        return at - RESOLVE_AFTER

    def _is_up_to_date(self, kind: str, scope: str, at: datetime) -> bool:
        """Return whether this process has updated the open alert within the last seconds."""
        with self._lock:
            written = self._written.get((kind, scope))
        return written is not None and abs((at - written).total_seconds()) < _WRITE_EVERY_SECONDS

    def _resolving_is_due(self, at: datetime) -> bool:
        """Return whether it is time to look for quiet alerts, once a minute in this process."""
        with self._lock:
            if self._resolved_at is not None and abs((at - self._resolved_at).total_seconds()) < _RESOLVE_EVERY_SECONDS:
                return False
            self._resolved_at = at
            return True

    def _forget(self, kind: str) -> None:
        with self._lock:
            for key in [key for key in self._written if key[0] == kind]:
                del self._written[key]


def _scope(event: ErrorEvent) -> str:
    """Return the widest thing that the kind of error is about: the connection, or the source."""
    if event.kind in _CONNECTION_KINDS:
        return f"connection:{event.connection_name}"
    return event.source


def _account(event: ErrorEvent) -> str:
    return f"account:{event.account_id or ''}"


def get_next_step(kind: str, connection: str) -> str:
    """Return what to do about errors of a kind; `connection` is the one that the calls used."""
    name = connection.removeprefix("connection:")
    return _STEPS.get(kind, _DEFAULT).format(kind=kind, connection=name)
