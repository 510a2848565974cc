"""Delivers the notices of the outbox to the channels.

The process that opened an alert sends its notices in a background thread, which never delays or fails the operation
that met the error. Before a process ends, `flush_notices` sends what is due in each database that it has used: its own
notices, and those that an earlier process has left. The step `deliver_alerts` does so every 15 minutes.

What is due for a channel at the same time and says the same of alerts of one kind is one message.
"""

import logging
import threading
from collections.abc import Callable, Sequence

from sqlalchemy import Engine

from adwarm.foundation.redaction import log_unexpected
from adwarm.recovery.channels import LOG_CHANNEL, Channel, LogSender, describe_failure
from adwarm.recovery.messages import build_message, combine_messages
from adwarm.settings import AlertSettings
from adwarm.store.alerts import Channels, ClaimedNotice, StoredAlert, claim_notices, finish_notice

CLAIM_SECONDS = 300.0
"""Longer than a channel takes to send or to give up; a mail server is tried several times."""
FLUSH_SECONDS = 8.0
"""How long the end of a process waits for channels; an orchestrator that stops it waits longer."""
_MAX_MESSAGES = 100
_NOT_DELIVERED = "notices of alerts could not be delivered; the next process that uses this database tries again"
_TOO_LONG = "the channels took longer than %g s; the next process that uses this database sends the other notices"
log = logging.getLogger(__name__)


class NoticeSender:
    """Sends notices to the channels that this process can use. Safe to share between threads.

    Args:
        channels: those of the settings that this process can use.
    """

    def __init__(self, engine: Engine, settings: AlertSettings, channels: Sequence[Channel] = ()) -> None:
        self._engine = engine
        self._channels = {channel.name: channel for channel in channels}
        self._log = LogSender()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_asked_again = False
        self.names = Channels((LOG_CHANNEL,), tuple(channel.name for channel in settings.channels))

    @property
    def channels(self) -> list[Channel]:
        """The channels that this process can use, the log first."""
        return [self._log, *self._channels.values()]

    @property
    def unusable(self) -> list[str]:
        """Names of the channels that this process cannot use; tasks of Airflow send those notices."""
        return [name for name in self.names.queued if name not in self._channels]

    def log(self, alert: StoredAlert, notice: str) -> None:
        """Write a notice to the log."""
        self._log.send(build_message(alert, notice))

    def start(self) -> None:
        """Send what is due in a background thread; returns at once."""
        if not self.names.queued:
            return
        if self.unusable:
            log.info("the DAG adwarm_maintenance sends this notice through: %s", ", ".join(self.unusable))
        if not any(channel.is_thread_safe for channel in self._channels.values()):
            return
        with self._lock:
            self._is_asked_again = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="adwarm-alerts", daemon=True)
                self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait until the background thread has ended, at most `seconds`; return whether it has."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(seconds)
        return thread is None or not thread.is_alive()

    def deliver(self, may_continue: Callable[[], bool] = lambda: True) -> tuple[int, list[str]]:
        """Send what is due through every channel of this process.

        Args:
            may_continue: asked before each notice.

        Returns:
            How many messages were sent, and for each that failed a sentence without secrets.
        """
        return self._deliver(set(self._channels), may_continue)

    def flush_at_exit(self) -> None:
        """Let the next `flush_notices` send what is due in this database; replaces an earlier sender that is idle."""
        with _registration:
            _senders[:] = [item for item in _senders if item._engine.url != self._engine.url or not item.wait(0)]
            _senders.append(self)

    def _run(self) -> None:
        names = {channel.name for channel in self._channels.values() if channel.is_thread_safe}
        while True:
            with self._lock:
                if not self._is_asked_again:
                    self._thread = None
                    return
                self._is_asked_again = False
            try:
                self._deliver(names, lambda: True)
            except Exception as problem:
                log_unexpected(log, problem, _NOT_DELIVERED)

    def _deliver(self, names: set[str], may_continue: Callable[[], bool]) -> tuple[int, list[str]]:
        sent, problems = 0, list[str]()
        for _ in range(_MAX_MESSAGES):
            if not may_continue():
                break
            notices = claim_notices(self._engine, names, CLAIM_SECONDS)
            if not notices:
                break
            problem = self._send(notices)
            if problem is None:
                sent += 1
            else:
                problems.append(problem)
        return sent, problems

    def _send(self, notices: Sequence[ClaimedNotice]) -> str | None:
        """Send claimed notices as one message and record the result; return why it failed, or None."""
        channel, problem = self._channels[notices[0].delivery.channel], None
        try:
            channel.send(combine_messages([build_message(item.alert, item.delivery.notice) for item in notices]))
        except Exception as error:
            problem = describe_failure(channel, error)
            log.warning("a notice of the alert %d was not sent: %s", notices[0].alert.id, problem)
        are_recorded = [finish_notice(self._engine, item, problem) for item in notices]
        if problem is None and not all(are_recorded):
            log.warning("sending a notice through %s took longer than its claim; it may arrive twice", channel.name)
        return problem


_registration = threading.Lock()
_senders: list[NoticeSender] = []
"""One for each database that this process has used, and earlier ones that are still sending."""


def flush_notices(seconds: float = FLUSH_SECONDS) -> None:
    """Send what is due in the databases of this process, for at most `seconds`; errors are logged.

    Called where a process ends: the caller must not call Airflow meanwhile, since a notifier does from another thread.
    """
    with _registration:
        senders = _senders.copy()
        _senders.clear()
    if not senders:
        return
    is_over = threading.Event()
    thread = threading.Thread(target=_flush, args=(senders, seconds, is_over), name="adwarm-alerts-flush", daemon=True)
    thread.start()
    thread.join(seconds)
    is_over.set()
    if thread.is_alive():
        log.warning(_TOO_LONG, seconds)


def _flush(senders: Sequence[NoticeSender], seconds: float, is_over: threading.Event) -> None:
    for sender in senders:
        try:
            sender.deliver(lambda: not is_over.is_set())
        except Exception as problem:
            log_unexpected(log, problem, _NOT_DELIVERED)
        sender.wait(seconds)
