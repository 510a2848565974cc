"""Tests of what is written about an error."""

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import Transient
from adwarm.recovery.journal import build_error_event


def test_an_event_holds_kind_code_and_words_but_no_secret(clock: VirtualClock) -> None:
    """Enough to find the cause, nothing to steal (ER-15)."""
    error = Transient("GET /insights?access_token=abcdef123456 failed", code="2/1504044")
    event = build_error_event(error, "meta", "act_1 last_7d", clock.now())

    assert (event.kind, event.code, event.subject) == ("Transient", "2/1504044", "act_1 last_7d")
    assert "abcdef" not in event.message


def test_an_error_without_words_is_named(clock: VirtualClock) -> None:
    """An empty message would say nothing."""
    assert build_error_event(KeyError(), "meta", None, clock.now()).message == "KeyError"
