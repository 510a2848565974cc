"""What the parts of the read API ask of each other. `serving/api/app.py` connects them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from adwarm.model import AccessToken, Actor, Priority, ReportKey


class Authenticator(Protocol):
    """Finds the token of a request."""

    async def authenticate(self, authorization: bytes | None) -> AccessToken:
        """Return the valid token in an Authorization header.

        Raises:
            Problem: 401, there is no valid token; 429, the token is used too often.
        """


@dataclass(frozen=True, slots=True)
class FetchOutcome:
    """How a request for a missing report ended.

    Attributes:
        is_stored: whether the report is stored now.
        request_id: the open request in the queue, or the one that stored the report; None when there is none.
        retry_after: whole seconds after which to ask again.
        reason: why it is not stored, for the caller.
        error_kind: class of the error of the last attempt, such as `TokenDead`; None when no attempt has failed.
    """

    is_stored: bool
    request_id: int | None = None
    retry_after: int | None = None
    reason: str | None = None
    error_kind: str | None = None


class MissHandler(Protocol):
    """Gets what is missing or old through the queue, one flight per key."""

    @property
    def waiting(self) -> int:
        """How many readers wait."""

    async def fetch(self, key: ReportKey, token: AccessToken, priority: Priority, wait_seconds: float) -> FetchOutcome:
        """Request a report and wait up to `wait_seconds` for it; waiting holds no thread and no connection.

        Args:
            key: the report, validated.
            token: whose request it is.
            priority: its class, cut to the token's highest.
            wait_seconds: how long the caller waits; 0 for not at all.

        Raises:
            Problem: 429 or 503, the request is refused; with `Retry-After`.
        """

    def admit_call(self, key: ReportKey, token: AccessToken) -> None:
        """Count a call of a platform for a report that no request makes. Call it in a thread, before the call.

        Raises:
            Refused: no call is left of the token's day.
        """

    def revalidate(self, key: ReportKey, token: AccessToken, priority: Priority) -> None:
        """Request a fresh copy of a stale report without waiting; does nothing for a token with the scope `read`."""


@dataclass(frozen=True, slots=True)
class Open:
    """One open of a report.

    Attributes:
        at: when it was asked for, UTC.
        key: the report key.
        actor: who opened it.
        status: `hit`, `stale`, `miss` or `fetched`.
        latency_ms: how long the answer took.
        sent_bytes: bytes of the body that was sent.
        request_id: the id that came with the request (`X-Request-Id`), or the number of the queued request that it made
            or whose answer it fetched; None when neither exists. An id that the server makes up is in no other log.
    """

    at: datetime
    key: ReportKey
    actor: Actor
    status: str
    latency_ms: float
    sent_bytes: int
    request_id: str | None = None


class OpenRecorder(Protocol):
    """Records opens; never blocks and never fails."""

    def record(self, item: Open) -> None:
        """Add an open; it is on disk within a second."""
