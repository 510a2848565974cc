"""Channels: where notices of alerts go. The log is always on.

URLs of Apprise are secrets: they reach no log, no error and no output. A message is plain text: names and errors of
others are in it, and no channel gets markup, a mention or a link from them.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from adwarm.foundation.errors import AdwarmError, BadRequest, Transient
from adwarm.foundation.redaction import redact
from adwarm.recovery.messages import Message
from adwarm.settings.recovery_sections import AppriseChannel

if TYPE_CHECKING:
    import apprise


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
                f"the channel {self.name!r} needs Apprise, which is not installed; run pip install 'adwarm[alerts]'"
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
