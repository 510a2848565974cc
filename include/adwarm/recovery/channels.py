"""Channels: where notices of alerts go, and the text of a notice.

A notice is one line as its title, then what failed, since when, how often, why, and what to do. The log is always on.
URLs of Apprise are secrets: they reach no log, no error and no output. A message is plain text: names and errors of
others are in it, and no channel gets markup, a mention or a link from them.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from html import escape
from shlex import quote
from typing import TYPE_CHECKING, Final, Protocol

from adwarm.foundation.errors import AdwarmError, BadRequest, Transient
from adwarm.foundation.redaction import redact
from adwarm.foundation.wording import format_count, format_duration, format_plain
from adwarm.settings.recovery_sections import AppriseChannel
from adwarm.store.alerts import RESOLVED, StoredAlert

if TYPE_CHECKING:
    import apprise

AD_FATIGUE: Final = "AdFatigue"
"""Kind of the alerts on ads that got worse; nothing failed, so their messages have words of their own."""
WEEKLY_DIGEST: Final = "WeeklyDigest"
"""Kind of the weekly digest, whose title and text are those of its message."""
_TITLE_LENGTH = 160
_MOST_TEXTS = 10


@dataclass(frozen=True, slots=True)
class Message:
    """A notice as channels send it. Nothing in it is a secret, and its texts are made plain; see `format_plain`.

    Attributes:
        title: one line.
        text: several lines.
        key: an example of what failed; empty when there is none.
        is_failure: whether it says that something failed; not when an alert has ended, and not in a digest.
    """

    title: str
    text: str
    kind: str
    key: str = ""
    is_failure: bool = True

    def __post_init__(self) -> None:
        for name in ("title", "text", "kind", "key"):
            object.__setattr__(self, name, format_plain(getattr(self, name)))

    @property
    def html(self) -> str:
        """The text for mails: escaped, with its line breaks."""
        return f"<pre>{escape(self.text)}</pre>"


def build_message(alert: StoredAlert, notice: str) -> Message:
    """Return the message of a notice of an alert.

    Args:
        notice: `opened`, `resolved`, or another for a repetition.
    """
    if alert.kind == AD_FATIGUE:
        return _build_fatigue_message(alert)
    if alert.kind == WEEKLY_DIGEST:
        return Message(_one_line(alert.example or ""), redact(alert.reason), alert.kind, is_failure=False)
    is_resolved = notice == RESOLVED
    number = format_count(alert.errors, "error")
    state = "resolved: " if is_resolved else "still open: " if notice.startswith("repeated") else ""
    within = f" in {format_duration(alert.window_seconds)}" if alert.window_seconds and not state else ""
    what = f"{alert.kind} of {alert.scope}" if not alert.window_seconds else f"{number} {alert.kind} of {alert.scope}"
    title = _one_line(f"adwarm: {state}{what}{within}")
    since, last = _time(alert.opened_at), _time(alert.last_at)
    span = f" in the first {format_duration(alert.window_seconds)} and since" if alert.window_seconds else ""
    lines = [
        f"What failed: {alert.scope}, {alert.kind}",
        f"Since: {since}, last {last}" if alert.last_at != alert.opened_at else f"Since: {since}",
        f"How often: {number}{span}",
        *([f"Example: {alert.example}"] if alert.example else []),
        f"Reason: {alert.reason}",
    ]
    if is_resolved:
        ended = "" if alert.resolved_at is None else f" at {_time(alert.resolved_at)}"
        lines.append(f"Resolved{ended}: no further error came. Nothing is left to do.")
    else:
        lines.append(f"Next step: {alert.next_step}")
    lines.append(f"Where to look: adwarm errors --kind {quote(alert.kind)}, adwarm errors --alerts")
    return Message(title, "\n".join(lines), alert.kind, alert.example or "", not is_resolved)


def _build_fatigue_message(alert: StoredAlert) -> Message:
    """Return the message about ads that got worse, of one account or several."""
    whose = alert.scope.removeprefix("account:")
    look = f"adwarm fatigue {quote(whose)} --changes" if whose != alert.scope else "the tab Fatigue of the page"
    lines = [f"Which: {alert.reason}", f"Next step: {alert.next_step}", f"Where to look: {look}"]
    title = _one_line(f"adwarm: {format_count(alert.errors, 'creative')} of {whose} got worse")
    return Message(title, "\n".join(redact(line) for line in lines), alert.kind, alert.example or "")


def combine_messages(messages: Sequence[Message]) -> Message:
    """Return one message for several of a kind: the first ten of them, and how many more there are."""
    first, more = messages[0], len(messages) - _MOST_TEXTS
    if len(messages) == 1:
        return first
    texts = [f"{message.title}\n{message.text}" for message in messages[:_MOST_TEXTS]]
    texts += [f"and {more:,} more: adwarm errors --alerts"] if more > 0 else []
    title = _one_line(f"adwarm: {len(messages):,} alerts, the first: {first.title.removeprefix('adwarm: ')}")
    return replace(first, title=title, text="\n\n".join(texts))


def build_test_message(channel: str) -> Message:
    """Return the message of `adwarm doctor --send-alert`."""
    text = f"This is a test of the channel {channel!r}. Alerts of adwarm arrive here. Nothing has failed."
    return Message("adwarm: test of alerts", text, "Test", "act_1 last_7d")


def _one_line(text: str) -> str:
    line = " ".join(redact(text).split())
    return line if len(line) <= _TITLE_LENGTH else line[: _TITLE_LENGTH - 1] + "…"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


LOG_CHANNEL = "log"
_CLIENT_LOGGERS = ("apprise", "urllib3.connectionpool")
"""Loggers that may repeat the address of a request at the level DEBUG."""
log = logging.getLogger(__name__)


class Channel(Protocol):
    """Sends messages.

    Attributes:
        is_thread_safe: whether a background thread may send while the process does something else.
    """

    name: str
    is_thread_safe: bool

    def check(self) -> str:
        """Return what it is, without a secret, after loading what it needs; nothing is sent.

        Raises:
            AdwarmError: it cannot be loaded; the message says why.
        """
        ...

    def send(self, message: Message) -> None:
        """Send the message.

        Raises:
            AdwarmError: it was not accepted; the message says why, without a secret.
        """
        ...


class LogSender:
    """Writes alerts to the log, where Airflow shows them with the task."""

    name = LOG_CHANNEL
    is_thread_safe = True

    def check(self) -> str:
        """Return what it is."""
        return "errors in the log"

    def send(self, message: Message) -> None:
        """Log the message: an error, or when nothing failed, information."""
        level = logging.ERROR if message.is_failure else logging.INFO
        log.log(level, "ALERT %s\n%s", message.title, message.text)


class AppriseSender:
    """Sends alerts through a URL of Apprise, such as `slack://...`, `mailto://...` or `json://...`."""

    is_thread_safe = True

    def __init__(self, settings: AppriseChannel) -> None:
        self.name = settings.name
        self._url = settings.url.get_secret_value()

    def check(self) -> str:
        """Return the service of the URL.

        Raises:
            BadRequest: Apprise is not installed or does not know the URL.
        """
        self._load()
        return f"Apprise, {self._url.partition('://')[0]}"

    def send(self, message: Message) -> None:
        """Send the message.

        Raises:
            BadRequest: Apprise is not installed or does not know the URL.
            Transient: the service did not accept the message.
        """
        client = self._load()
        with _collect_warnings(self._secrets) as warnings:
            try:
                accepted = client.notify(
                    message.text, message.title, "failure" if message.is_failure else "success", body_format="text"
                )
            except Exception as error:
                reason = redact(f"{type(error).__name__}: {error}", self._secrets, hide_urls=True)
                raise Transient(f"the channel {self.name!r} failed: {reason}") from None
        if not accepted:
            reason = "; ".join(warnings) or "the service did not accept the message"
            raise Transient(f"the channel {self.name!r} failed: {reason}")

    @property
    def _secrets(self) -> list[str]:
        """The URL and its parts."""
        rest = self._url.partition("://")[2]
        return [self._url, rest, *(part for part in rest.replace("@", "/").replace("?", "/").split("/") if part)]

    def _load(self) -> "apprise.Apprise":
        try:
            import apprise
        except ImportError:
            raise BadRequest(
                f"the channel {self.name!r} needs the package apprise; install it, or take the channel out of "
                "ADWARM_ALERTS__CHANNELS"
            ) from None
        client = apprise.Apprise()
        with _collect_warnings(self._secrets):
            is_known = client.add(self._url)
        if not is_known:
            raise BadRequest(
                f"the URL of the channel {self.name!r} is not an Apprise URL; check it in ADWARM_ALERTS__CHANNELS"
            )
        return client


class _Collector(logging.Filter):
    """Takes the records of a sending library out of the log, and keeps its warnings without secrets."""

    def __init__(self, secrets: list[str]) -> None:
        super().__init__()
        self._secrets = secrets
        self.warnings: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record goes on to the handlers."""
        if not record.name.startswith("apprise"):
            return record.levelno > logging.DEBUG
        if record.levelno >= logging.WARNING:
            self.warnings.append(redact(record.getMessage(), self._secrets, hide_urls=True))
        return False


@contextmanager
def _collect_warnings(secrets: list[str]) -> Iterator[list[str]]:
    collector = _Collector(secrets)
    loggers = [logging.getLogger(name) for name in _CLIENT_LOGGERS]
    before = [(logger.disabled, logger.level) for logger in loggers]
    for logger in loggers:
        logger.addFilter(collector)
        # Airflow disables the loggers that exist when it configures its own, and its level may be above warnings.
        logger.disabled = False
        logger.setLevel(logging.WARNING)
    try:
        yield collector.warnings
    finally:
        for logger, (was_disabled, level) in zip(loggers, before, strict=True):
            logger.removeFilter(collector)
            logger.disabled = was_disabled
            logger.setLevel(level)


def describe_failure(channel: Channel, error: Exception) -> str:
    """Return why a channel failed. The message of an error that is not adwarm's is left out: it may hold a secret."""
    if isinstance(error, AdwarmError):
        return redact(str(error))
    return f"the channel {channel.name!r} failed: {type(error).__name__}"
