"""Tests of calls within a time limit."""

import contextvars
import threading

import pytest

from adwarm.foundation.errors import NotFound
from adwarm.recovery.fallback import call_with_timeout

word: contextvars.ContextVar[str] = contextvars.ContextVar("word")


def test_the_value_and_the_error_come_back() -> None:
    """Result and error are those of the call in the other thread."""
    assert call_with_timeout(lambda: "rows", 1.0) == "rows"
    with pytest.raises(NotFound):
        call_with_timeout(_nothing, 1.0)


def test_a_slow_call_is_abandoned() -> None:
    """The caller goes on, and the thread does not block the exit of the process."""
    release = threading.Event()
    with pytest.raises(TimeoutError, match=r"0\.01 s"):
        call_with_timeout(lambda: release.wait(5), 0.01)
    release.set()


def test_an_error_as_a_value_is_a_value() -> None:
    """A call may return an exception without raising it."""
    assert isinstance(call_with_timeout(ValueError, 1.0), ValueError)


def test_the_callers_context_variables_are_kept() -> None:
    """Trace ids are those of the caller."""
    word.set("warm")

    assert call_with_timeout(word.get, 1.0) == "warm"


def _nothing() -> str:
    raise NotFound("no entry")
