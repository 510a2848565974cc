"""Sends the platform's notices of creative fatigue to a callback URL, as signed webhooks.

The callback is verified first, as at the platform: it answers the challenge of a GET with `hub.mode=subscribe`. Then
each due notice is sent in a POST whose body is signed with the app secret (`X-Hub-Signature-256`). A POST that is not
answered with 2xx is repeated after the delays of `RETRY_DELAYS` on the platform's clock, and then given up.
"""

import hmac
import secrets
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from http.client import HTTPException
from typing import Final, Protocol
from urllib.parse import urlencode

from graph_simulator.config import WebhookConfig
from graph_simulator.dataset import Dataset
from graph_simulator.fatigue_notices import FatigueNotice, list_notices, webhook_body

RETRY_DELAYS: Final = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 120, 360, 720))
"""After a failed attempt the next one comes so much later; the last one 21 hours after the first."""
MAX_NOTICES: Final = 1_000
"""Notices in one body."""
_TIMEOUT_SECONDS = 10.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_SILENT = 0
"""Status of a callback that did not answer."""


class Sender(Protocol):
    """Sends a request to a callback."""

    def __call__(self, url: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Send GET without a body, else POST; return status and body, status 0 without an answer."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """An attempt to deliver a body: when, how many notices, which attempt, and the status; 0 without an answer."""

    at: datetime
    notices: int
    attempt: int
    status: int


@dataclass(slots=True)
class _Pending:
    body: bytes
    notices: int
    due_at: datetime
    attempt: int = 1


@dataclass
class WebhookSender:
    """Sends the webhooks of one platform. Thread-safe; one call at a time sends.

    Attributes:
        config: where they go.
        dataset: whose ads they are about.
        sent_until: notices up to this moment were sent, or are about to be repeated.
        send: sends a request; by HTTP by default.
        is_verified: whether the callback has answered the challenge.
    """

    config: WebhookConfig
    dataset: Dataset
    sent_until: datetime
    send: Sender = field(default_factory=lambda: send_by_http)
    is_verified: bool = False
    _pending: list[_Pending] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self, now: datetime) -> None:
        """Forget what was to be repeated; notices up to `now` are not sent."""
        with self._lock:
            self._pending.clear()
            self.sent_until = now

    def send_due(self, now: datetime) -> list[Delivery]:
        """Send the notices that became due since the last call, and repeat failed deliveries whose time has come.

        Nothing is sent, and nothing is lost, until the callback has been verified.

        Returns:
            The attempts.
        """
        with self._lock:
            if not self._verify():
                return []
            self._queue(self.sent_until, now, now)
            self.sent_until = max(self.sent_until, now)
            return self._send_pending(now)

    def send_between(self, after: datetime, until: datetime, now: datetime) -> list[Delivery]:
        """Send the notices of a past span now, whether they were sent before or not; return the attempts."""
        with self._lock:
            if not self._verify():
                return []
            self._queue(after, until, now)
            return self._send_pending(now)

    def _queue(self, after: datetime, until: datetime, now: datetime) -> None:
        if after >= until:
            return
        notices: list[FatigueNotice] = []
        for account in self.dataset.account_ids():
            notices += list_notices(self.dataset, account, after, until)
        for start in range(0, len(notices), MAX_NOTICES):
            part = notices[start : start + MAX_NOTICES]
            self._pending.append(_Pending(webhook_body(part), len(part), now))

    def _send_pending(self, now: datetime) -> list[Delivery]:
        attempts, kept = [], []
        for item in self._pending:
            if item.due_at > now:
                kept.append(item)
                continue
            status, _ = self.send(self.config.url, item.body, self._headers(item.body))
            attempts.append(Delivery(now, item.notices, item.attempt, status))
            if not 200 <= status < 300 and item.attempt <= len(RETRY_DELAYS):
                item.due_at = now + RETRY_DELAYS[item.attempt - 1]
                item.attempt += 1
                kept.append(item)
        self._pending = kept
        return attempts

    def _headers(self, body: bytes) -> dict[str, str]:
        signature = hmac.new(self.config.app_secret.encode(), body, sha256).hexdigest()
        return {"Content-Type": "application/json", "X-Hub-Signature-256": f"sha256={signature}"}

    def _verify(self) -> bool:
        if not self.is_verified:
            challenge = str(secrets.randbelow(10**9))
            query = {"hub.mode": "subscribe", "hub.challenge": challenge, "hub.verify_token": self.config.verify_token}
            status, answer = self.send(f"{self.config.url}?{urlencode(query)}", None, {})
            self.is_verified = status == 200 and answer == challenge.encode()
        return self.is_verified


def send_by_http(url: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Send a request by HTTP; see `Sender`."""
    request = urllib.request.Request(url, data=body, headers=dict(headers))  # noqa: S310  # the scheme is checked
    try:
        with _DIRECT.open(request, timeout=_TIMEOUT_SECONDS) as answer:
            return answer.status, answer.read(1 << 16)
    except urllib.error.HTTPError as error:
        return error.code, b""
    except (OSError, HTTPException):
        return _SILENT, b""


class WebhookThread:
    """Sends what is due once a second, in a thread of its own, while the block runs.

    Args:
        sender: what sends.
        now: the platform's clock.
    """

    def __init__(self, sender: WebhookSender, now: Callable[[], datetime]) -> None:
        self._sender = sender
        self._now = now
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="adwarm-simulator-webhooks", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(timeout=_TIMEOUT_SECONDS)

    def _run(self) -> None:
        while not self._stop.wait(1.0):
            self._sender.send_due(self._now())
