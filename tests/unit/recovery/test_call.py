"""Tests of recording an error."""

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import Transient
from adwarm.recovery.call import Call, build_error_event


def test_an_event_has_kind_code_and_message_but_no_secret(clock: VirtualClock) -> None:
    """Secrets in the message are redacted."""
    error = Transient("GET /insights?access_token=abcdef123456 failed", code="2/1504044")
    event = build_error_event(error, Call("meta", subject="act_1 last_7d"), clock.now())

    assert (event.kind, event.code, event.subject) == ("Transient", "2/1504044", "act_1 last_7d")
    assert "abcdef" not in event.message


def test_an_error_without_a_message_is_named(clock: VirtualClock) -> None:
    """The name of its class is the message."""
    assert build_error_event(KeyError(), Call("meta"), clock.now()).message == "KeyError"
