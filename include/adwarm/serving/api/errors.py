"""Turns every error into problem details (RFC 9457).

| error                         | status                                              |
|-------------------------------|-----------------------------------------------------|
| `Problem`                     | its own                                             |
| malformed input, `BadRequest` | 400                                                 |
| `NotAcceptable`               | 406: the client excludes every coding               |
| `NotFound`, `Denied`          | 404; a token learns nothing about denied accounts   |
| `Refused`, `NoCapacity`       | 429, with `Retry-After` and the token's `limit`     |
| `TooMuchData`                 | 413                                                 |
| `TokenDead`, `Transient`,     | 503, with `Retry-After`                             |
| `VersionEnded`                |                                                     |
| anything else                 | 500, with the id under which it is logged           |
"""

import logging
import secrets
from collections.abc import Sequence
from typing import Any, Final

from adwarm.compression import NotAcceptable
from adwarm.foundation.errors import (
    AdwarmError,
    BadRequest,
    Denied,
    NoCapacity,
    NotFound,
    Refused,
    TokenDead,
    TooMuchData,
    Transient,
    VersionEnded,
)
from adwarm.foundation.redaction import log_unexpected, redact
from adwarm.serving.api.models import ProblemDocument
from adwarm.serving.problems import CONTENT_TYPE, Problem, retry_headers, too_many, unknown_report

Header = tuple[bytes, bytes]

SECURITY_HEADERS: Final[tuple[Header, ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
NO_STORE: Final[Header] = (b"cache-control", b"no-store")
log = logging.getLogger(__name__)
_TITLES = {400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 413: "Content Too Large"}
_MAX_ERRORS = 5
_INVALID_JSON = "the body is not valid JSON"


def describe_problem(problem: Problem) -> tuple[list[Header], bytes]:
    """Return the headers of a problem, without the security headers, and its body."""
    body = problem.body()
    named = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in problem.headers.items()]
    return [(b"content-type", CONTENT_TYPE.encode()), (b"content-length", b"%d" % len(body)), NO_STORE, *named], body


Responses = dict[int | str, dict[str, Any]]
_TEXTS = {
    400: "The request is malformed; the detail says what to write.",
    401: "There is no valid token.",
    403: "The token lacks the scope.",
    404: "There is no such account or report, or the token may not read it.",
    406: "`Accept-Encoding` excludes every coding.",
    413: "The body is too large.",
    414: "The path is too long.",
    429: "The token is used too often, or the queue is full.",
    500: "An unexpected error.",
    503: "The database or the platform is not available now.",
}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds after which to ask again.", "schema": {"type": "integer"}}}


def problems(*statuses: int) -> Responses:
    """Return the descriptions of a route's problems: those of every route, and `statuses`."""
    return {status: _describe(status) for status in sorted({401, 403, 414, 429, 500, 503, *statuses})}


def text_header(description: str) -> dict[str, Any]:
    """Return the description of a response header."""
    return {"description": description, "schema": {"type": "string"}}


def _describe(status: int) -> dict[str, Any]:
    headers = _RETRY_AFTER if status in {429, 503} else {}
    content = {CONTENT_TYPE: {"schema": {"$ref": f"#/components/schemas/{ProblemDocument.__name__}"}}}
    return {"description": _TEXTS[status], "content": content, **({"headers": headers} if headers else {})}


def find_problem(error: Exception) -> Problem | None:
    """Return the problem of an expected error; None for an unexpected one."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, NotFound | Denied):
        return unknown_report()
    if isinstance(error, NotAcceptable):
        return Problem(406, "Not Acceptable", str(error))
    if isinstance(error, BadRequest) and not isinstance(error, VersionEnded):
        return Problem(400, "Bad Request", redact(str(error)))
    if isinstance(error, TooMuchData):
        return Problem(413, "Content Too Large", redact(str(error)))
    if isinstance(error, NoCapacity | Refused):
        return too_many(error)
    if isinstance(error, TokenDead | Transient | VersionEnded):
        detail = "the database or the platform is not available now; try again"
        return Problem(503, "Service Unavailable", detail, retry_headers(getattr(error, "retry_after", None)))
    return None


def describe_error(error: Exception) -> Problem:
    """Return the problem of any error; an unexpected one is logged without secrets, under the id in its problem."""
    problem = find_problem(error)
    if problem is not None:
        if isinstance(error, AdwarmError) and problem.status >= 500:
            log.warning("answered %d: %s", problem.status, redact(str(error)))
        return problem
    error_id = secrets.token_hex(8)
    log_unexpected(log, error, "unexpected error %s", error_id)
    detail = "an unexpected error; the administrator finds it in the server's log under this id"
    return Problem(500, "Internal Server Error", detail, fields={"error_id": error_id})


def describe_invalid(errors: Sequence[Any]) -> Problem:
    """Return the problem of input that does not match its schema; it repeats names and rules, never values."""
    lines = []
    for error in errors[:_MAX_ERRORS]:
        path = ".".join(str(part)[:40] for part in error["loc"]) or "body"
        lines.append(_INVALID_JSON if error["type"] == "json_invalid" else f"{path}: {_find_rule(error)}")
    more = f"; and {len(errors) - _MAX_ERRORS} more" if len(errors) > _MAX_ERRORS else ""
    return Problem(400, "Bad Request", "; ".join(lines) + more)


def _find_rule(error: Any) -> str:
    return "there is no such field" if error["type"] == "extra_forbidden" else redact(error["msg"])


def describe_status(status: int, headers: dict[str, str] | None) -> Problem:
    """Return the problem of a status that the router answers with by itself."""
    details = {
        400: _INVALID_JSON,
        404: "there is no such path; /v1/openapi.json lists them",
        405: "this path does not have this method; the header Allow lists those it has",
    }
    detail = details.get(status, "the request could not be answered")
    return Problem(status, _TITLES.get(status, "Error"), detail, dict(headers or {}))
