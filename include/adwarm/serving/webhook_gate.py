"""Decides whether a webhook comes from the platform: by the verify token of its setup, and by its signature.

The platform signs the bytes of each body with the app secret (HMAC-SHA256, in hex, header `X-Hub-Signature-256`).
Nobody else can sign, so a body with a valid signature is the platform's; it may be a repetition. Source: the platform's
page "Webhooks: Get Started".
"""

import hmac
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Final

from pydantic import SecretStr

from adwarm.foundation.clock import Clock
from adwarm.serving.problems import Problem, forbidden
from adwarm.serving.tokens import RateLimit
from adwarm.settings import Settings

UNVERIFIED_PER_SECOND: Final = 20.0
"""Webhooks per second and process that fail the check; those that pass it are not counted."""
BODIES_AT_ONCE: Final = 16
"""Bodies that are received at a time, so that anonymous callers fill no memory."""
_SIGNATURE = re.compile(r"sha256=([0-9a-fA-F]{64})", re.ASCII)
_CHALLENGE = re.compile(r"[0-9A-Za-z_.-]{1,200}", re.ASCII)


class WebhookGate:
    """Checks the webhooks of one process.

    Args:
        settings: verify token, and the app secrets of the source and of further connections; without the token or
            any secret every webhook is answered as an unknown path.
        clock: the time of the limit.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._verify_token = _reveal(settings.serving.webhook_verify_token)
        sources = (settings.source, *settings.connections.values())
        self._app_secrets = [secret for source in sources if (secret := _reveal(source.app_secret))]
        self._clock = clock
        self._limit = RateLimit()
        self._bodies = 0

    def answer_challenge(self, mode: str, verify_token: str, challenge: str) -> str:
        """Return what the platform expects when its webhook is set up: the challenge.

        Raises:
            Problem: 404, webhooks are off; 429, too many were refused lately; 403, the mode or the verify token is
                another; 400, the challenge is malformed.
        """
        self.take()
        if mode != "subscribe" or not hmac.compare_digest(verify_token.encode(), self._verify_token):
            raise forbidden("hub.verify_token is not the one in ADWARM_SERVING__WEBHOOK_VERIFY_TOKEN")
        self._limit.give_back(UNVERIFIED_PER_SECOND)
        if not _CHALLENGE.fullmatch(challenge):
            raise Problem(400, "Bad Request", "hub.challenge is not 1 to 200 letters, digits, `_`, `.` or `-`")
        return challenge

    def take(self) -> None:
        """Count a webhook as one that fails the check; call it before its body is read.

        Raises:
            Problem: 404, webhooks are off; 429, too many were refused lately.
        """
        if not self._verify_token or not self._app_secrets:
            raise Problem(404, "Not Found", "there is no such path; /v1/openapi.json lists them")
        wait = self._limit.take(UNVERIFIED_PER_SECOND, self._clock.now().timestamp())
        if wait:
            raise _too_many(wait)

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """Receive a body while the block runs.

        Raises:
            Problem: 429, too many bodies are received already.
        """
        if self._bodies >= BODIES_AT_ONCE:
            raise _too_many(1)
        self._bodies += 1
        try:
            yield
        finally:
            self._bodies -= 1

    def parse_signature(self, header: str | None) -> str:
        """Return the signature in a header, in lower-case hex.

        Raises:
            Problem: 403, there is none.
        """
        match = _SIGNATURE.fullmatch(header or "")
        if match is None:
            raise forbidden("the webhook is not signed; X-Hub-Signature-256 holds `sha256=` and 64 hex digits")
        return match[1].lower()

    def check(self, body: bytes, signature: str) -> None:
        """Check the signature of a body, and count the webhook no longer as one that fails.

        Raises:
            Problem: 403, the body is not signed with an app secret of the settings.
        """
        if not any(hmac.compare_digest(sign(body, secret), signature) for secret in self._app_secrets):
            raise forbidden("the signature of the webhook is not valid for ADWARM_SOURCE__APP_SECRET")
        self._limit.give_back(UNVERIFIED_PER_SECOND)


def sign(body: bytes, app_secret: bytes) -> str:
    """Return the signature of a body in lower-case hex."""
    return hmac.new(app_secret, body, sha256).hexdigest()


def _too_many(wait: float) -> Problem:
    headers = {"Retry-After": str(max(1, math.ceil(wait)))}
    return Problem(429, "Too Many Requests", "too many unverified webhooks were sent", headers)


def _reveal(secret: SecretStr | None) -> bytes:
    """Return a secret as bytes; empty without one."""
    return secret.get_secret_value().encode() if secret is not None else b""
