"""Only what the platform signed passes the gate, and what fails has a limit."""

import hashlib
import hmac
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.clock import VirtualClock
from adwarm.serving.problems import Problem
from adwarm.serving.webhook_gate import BODIES_AT_ONCE, UNVERIFIED_PER_SECOND, WebhookGate, sign
from adwarm.settings import Settings
from tests.unit.conftest import NOW

SECRET = "an-app-secret"
TOKEN = "a-verify-token"


def make_gate(secret: str | None = SECRET, token: str | None = TOKEN) -> WebhookGate:
    """A gate with these secrets."""
    settings = Settings(source={"app_secret": secret}, serving={"webhook_verify_token": token})
    return WebhookGate(settings, VirtualClock(NOW))


def _status(call: Any, *arguments: Any) -> int:
    with pytest.raises(Problem) as caught:
        call(*arguments)
    return caught.value.status


def test_a_signature_is_that_of_the_platform() -> None:
    """The signature is HMAC-SHA256 of the body in hex; this one was computed with openssl."""
    body = b'{"object":"ad_account","entry":[]}'
    assert sign(body, b"secret") == hmac.new(b"secret", body, hashlib.sha256).hexdigest()
    assert sign(b"", b"key") == "5d5d139563c95b5967b9bd9a8c9b233a9dedb45072794cd232dc1b74832607d0"


@given(st.binary(max_size=200), st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_body_or_signature_fails(body: bytes, place: int, change: int) -> None:
    """One changed bit of the body, another secret, or another signature is refused."""
    gate = make_gate()
    good = sign(body, SECRET.encode())
    gate.check(body, good)
    changed = bytearray(body or b"x")
    changed[place % len(changed)] ^= change
    assert _status(gate.check, bytes(changed), good) == 403
    assert _status(gate.check, body, sign(body, b"another")) == 403
    assert _status(gate.check, body, "0" * 64) == 403


def test_a_header_without_a_signature_is_refused(subtests: pytest.Subtests) -> None:
    """Nothing but `sha256=` and 64 hex digits counts as a signature; upper-case digits do."""
    for header in [
        None,
        "",
        "sha256=",
        "sha1=" + "0" * 40,
        "sha256=" + "0" * 63,
        "sha256=" + "g" * 64,
        " sha256=" + "0" * 64,
    ]:
        with subtests.test(header=header):
            assert _status(make_gate().parse_signature, header) == 403
            assert make_gate().parse_signature("sha256=" + "AB" * 32) == "ab" * 32


def test_without_both_secrets_there_is_no_gate(subtests: pytest.Subtests) -> None:
    """Without a verify token or an app secret, or with an empty one, every webhook is an unknown path."""
    for secret, token in [(None, TOKEN), (SECRET, None), ("", TOKEN), (None, None)]:
        with subtests.test(secret=secret, token=token):
            gate = make_gate(secret, token)
            assert _status(gate.take) == 404
            assert _status(gate.answer_challenge, "subscribe", token or "", "1") == 404


def test_webhooks_of_every_connection_pass() -> None:
    """The app of each connection in the settings may send webhooks, also without one in `source`."""
    for source in ({"app_secret": SECRET}, {}):
        settings = Settings(
            source=source,
            serving={"webhook_verify_token": TOKEN},
            connections={"eu": {"app_secret": "another-secret"}, "us": {}},
        )
        gate = WebhookGate(settings, VirtualClock(NOW))
        gate.take()
        gate.check(b"x", sign(b"x", b"another-secret"))
        assert _status(gate.check, b"x", sign(b"x", b"")) == 403


def test_the_challenge() -> None:
    """The challenge is returned for the right token and mode only, and only when it is harmless."""
    gate = make_gate()
    assert gate.answer_challenge("subscribe", TOKEN, "1158201444") == "1158201444"
    assert _status(gate.answer_challenge, "subscribe", TOKEN + "x", "1") == 403
    assert _status(gate.answer_challenge, "subscribe", "ü", "1") == 403
    assert _status(gate.answer_challenge, "unsubscribe", TOKEN, "1") == 403
    for odd in ("", "<script>", "1\r\nSet-Cookie: a", "1" * 201):
        assert _status(gate.answer_challenge, "subscribe", TOKEN, odd) == 400


def test_what_fails_is_limited_and_what_passes_is_not() -> None:
    """Signed webhooks never reach the limit; unsigned ones do, and then wait."""
    clock = VirtualClock(NOW)
    settings = Settings(source={"app_secret": SECRET}, serving={"webhook_verify_token": TOKEN})
    gate = WebhookGate(settings, clock)
    for _ in range(200):
        gate.take()
        gate.check(b"x", sign(b"x", SECRET.encode()))
    for _ in range(int(UNVERIFIED_PER_SECOND)):
        gate.take()
    assert _status(gate.take) == 429
    clock.sleep(1.0)
    gate.take()


def test_bodies_at_once_are_limited() -> None:
    """Only so many bodies are received at a time; one that ends, also by an error, makes room."""
    gate = make_gate()
    with ExitStack() as others:
        for _ in range(BODIES_AT_ONCE - 1):
            others.enter_context(gate.receiving())
        with suppress(ValueError), gate.receiving():
            assert _status(gate.receiving().__enter__) == 429
            raise ValueError("gone")
        with gate.receiving():
            assert _status(gate.receiving().__enter__) == 429
