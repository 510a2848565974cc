"""Problem details (RFC 9457): what the read API answers when it cannot do what was asked.

A problem never contains a secret, a stack trace or the text of an unexpected error.
"""

from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

import orjson

from adwarm.backpressure.token_limits import TOKEN_LIMITS
from adwarm.foundation.errors import NoCapacity, Refused
from adwarm.foundation.redaction import redact

ANSWER_SECONDS: Final = 5.0
"""How long an answer waits for the database, where the caller names no longer time."""
_RETRY_SECONDS = 5.0
CONTENT_TYPE: Final = "application/problem+json"


@dataclass(eq=False)  # not frozen: context managers set the traceback of an exception; compared by identity, as any
class Problem(Exception):
    """An answer other than the one that was asked for. Treat it as immutable.

    Attributes:
        title: short text, the same for every problem of its kind.
        detail: what happened and what to do, in a sentence.
        headers: further response headers, such as `Retry-After`.
        fields: further members of the document, such as `request_id`.
    """

    status: int
    title: str
    detail: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)

    def body(self) -> bytes:
        """Return the document."""
        facts = {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail}
        return orjson.dumps({**{name: value for name, value in facts.items() if value}, **self.fields})


def retry_headers(seconds: float | None) -> dict[str, str]:
    """Return `Retry-After` for a number of seconds, at least 1; 5 when there is no hint."""
    return {"Retry-After": str(max(1, ceil(_RETRY_SECONDS if seconds is None else seconds)))}


def unauthorized(detail: str = "send a valid token as `Authorization: Bearer ...`") -> Problem:
    """Return the problem of a request without a valid token."""
    return Problem(401, "Unauthorized", detail, {"WWW-Authenticate": 'Bearer realm="adwarm"'})


def forbidden(detail: str) -> Problem:
    """Return the problem of a token that lacks a scope."""
    return Problem(403, "Forbidden", detail)


def unknown_report(detail: str = "there is no such account or report, or this token may not read it") -> Problem:
    """Return the problem of an unknown account, and of one that the token may not read: the same for both."""
    return Problem(404, "Not Found", detail)


def too_many(error: NoCapacity | Refused) -> Problem:
    """Return the problem of a refusal; its member `limit` names the limit of the token that is reached, if one is."""
    fields = {"limit": error.code} if error.code in TOKEN_LIMITS else {}
    return Problem(429, "Too Many Requests", redact(str(error)), retry_headers(error.retry_after), fields)
