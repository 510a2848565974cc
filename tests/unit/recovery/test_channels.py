"""Channels, each against a local receiver."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from adwarm.foundation.errors import BadRequest, Transient
from adwarm.recovery.channels import AppriseSender, LogSender, describe_failure
from adwarm.recovery.messages import Message
from adwarm.settings.recovery_sections import AppriseChannel
from tests.support.alert_sink import run_sink

MESSAGE = Message("adwarm: 10 errors", "What failed: meta\nReason: down", "Transient", "act_1 last_7d")


@contextmanager
def captured(name: str = "", level: int = logging.DEBUG) -> Iterator[list[str]]:
    """Collect what a logger and its children write, at any level."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(f"{record.levelname} {record.getMessage()}")  # type: ignore[method-assign]
    logger = logging.getLogger(name)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def sender(url: str) -> AppriseSender:
    """A channel of Apprise named `hook`."""
    return AppriseSender(AppriseChannel(name="hook", url=url))


def test_the_log_gets_errors_and_the_end_as_information() -> None:
    """An alert is an error with its whole text, a resolved one information."""
    with captured("adwarm.recovery.channels") as lines:
        LogSender().send(MESSAGE)
        LogSender().send(Message("adwarm: resolved", "over", "Transient", is_failure=False))
    assert lines == [
        "ERROR ALERT adwarm: 10 errors\nWhat failed: meta\nReason: down",
        "INFO ALERT adwarm: resolved\nover",
    ]


def test_apprise_delivers_one_message_and_never_logs_its_url() -> None:
    """The receiver gets title and text; no part of the URL is in the log, also at the level DEBUG."""
    with run_sink() as sink, captured() as lines:
        channel = sender(sink.url)
        assert channel.check() == "Apprise, json"
        assert sink.received == []
        channel.send(MESSAGE)
    (body,) = sink.received
    assert (body["title"], body["message"], body["type"]) == (MESSAGE.title, MESSAGE.text, "failure")
    assert not any("top-secret" in line for line in lines)


def test_a_service_that_refuses_is_an_error_without_the_url() -> None:
    """The error names the channel and the response; the log stays free of the URL."""
    with run_sink() as sink, captured() as lines:
        sink.status = 500
        with pytest.raises(Transient, match=r"'hook' failed: .*500") as caught:
            sender(sink.url).send(MESSAGE)
    assert "top-secret" not in str(caught.value)
    assert not any("top-secret" in line for line in lines)


def test_a_service_that_does_not_respond_is_an_error_without_the_url() -> None:
    """So is a port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with captured() as lines, pytest.raises(Transient, match="'hook' failed") as caught:
        sender(f"json://user:hunter22@127.0.0.1:{port}/top-secret").send(MESSAGE)
    for text in [str(caught.value), *lines]:
        assert "top-secret" not in text
        assert "hunter22" not in text


def test_a_url_of_no_service_is_refused() -> None:
    """The error says which setting to change, and repeats nothing of the URL."""
    with pytest.raises(BadRequest, match="ADWARM_ALERTS__CHANNELS") as caught:
        sender("nonsense://top-secret").check()
    assert "top-secret" not in str(caught.value)


def test_unexpected_errors_of_a_channel_are_named_without_their_text() -> None:
    """Their text may hold the secret of the channel."""
    assert describe_failure(LogSender(), ValueError("https://top-secret")) == "the channel 'log' failed: ValueError"
    assert "hidden" in describe_failure(LogSender(), BadRequest("password=hunter22"))
