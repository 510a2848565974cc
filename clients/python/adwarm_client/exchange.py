"""What the clients exchange with the API, without any I/O: requests, responses, steps, and errors.

An operation is a generator of steps. It yields what it needs done (`ApiRequest`, `Pause`, `Work`) and is sent the
result. So the synchronous and the asynchronous client share everything but the doing.
"""

import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import orjson

from adwarm_client import api_headers
from adwarm_client.errors import (
    AdwarmError,
    BadRequest,
    Corrupt,
    Denied,
    NotFound,
    Refused,
    TokenDead,
    Transient,
)
from adwarm_client.keys import ReportKey
from adwarm_client.redaction import redact

MAX_DOCUMENT_BYTES: Final = 64 * 2**20
"""Larger answers are refused, also once decompressed."""
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
_WINDOW = re.compile(r"[0-9-]{10}\.\.[0-9-]{10}")
_REFUSAL_SECONDS = 5.0
_MAX_DETAIL = 500

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request, without the token and the base URL.

    Attributes:
        method: `GET` or `POST`.
        target: path with its query, percent-encoded.
        content: JSON body; None for no body.
        wait_seconds: how long the server may hold the answer back, added to the timeout.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A response; its body is as it was sent, in its content coding.

    Attributes:
        headers: by lower-case name.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float = 0.0

    @property
    def coding(self) -> str:
        """The content coding, `identity` when there is none."""
        return self.headers.get("content-encoding", "").strip().lower() or "identity"

    @property
    def retry_after(self) -> float | None:
        """Seconds after which to ask again; None when the server does not say."""
        text = self.headers.get("retry-after", "").strip()
        return float(text) if _SECONDS.fullmatch(text) else None


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """Call a function that blocks or computes for a while; its result is sent back."""

    call: Callable[[], Any]


Step = ApiRequest | Pause | Work
Steps = Generator[Step, Any, T]


class NotReady(Transient):
    """The report is not stored yet for the days asked for; ask again after `retry_after` seconds.

    Attributes:
        request_id: the queued request that will store it. Give it to the next call, so that both are one open.
        stored_window: other days that are stored, which a call with `allow_partial=True` returns; None without any.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        request_id: int | None = None,
        stored_window: str | None = None,
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.request_id = request_id
        self.stored_window = stored_window


def decode_body(response: ApiResponse) -> bytes:
    """Return the body of a response without its content coding.

    Raises:
        Corrupt: the body is damaged, or its coding was not asked for.
        TooMuchData: it decodes to more than `MAX_DOCUMENT_BYTES`.
    """
    from adwarm_client.codings import decode  # with it come libraries that take time to load

    return decode(response.body, response.coding, MAX_DOCUMENT_BYTES)


def decode_json(response: ApiResponse) -> Any:
    """Return the JSON document in a response.

    Raises:
        Corrupt: the body is damaged, or no JSON.
        TooMuchData: it is too large.
    """
    try:
        return orjson.loads(decode_body(response))
    except orjson.JSONDecodeError:
        raise Corrupt("the answer is not JSON; check that the base URL is that of adwarm's API") from None


def to_error(response: ApiResponse, account_id: str = "") -> AdwarmError:
    """Return the error that an unsuccessful response stands for, with the detail of its problem document."""
    message, status = f"{_read_detail(response)} (HTTP {response.status})", response.status
    code = str(status)
    if status == 401:
        return TokenDead(message, code=code)
    if status == 403:
        return Denied(message, code=code, account_id=account_id)
    if status == 404:
        return NotFound(message, code=code)
    if status == 429:
        seconds = response.retry_after
        return Refused(message, code=code, retry_after=_REFUSAL_SECONDS if seconds is None else seconds)
    if status >= 500:
        return Transient(message, code=code, retry_after=response.retry_after)
    return BadRequest(message, code=code)


def to_not_ready(
    key: ReportKey, response: ApiResponse, retry_after: float | None = None, request_id: int | None = None
) -> NotReady:
    """Return the error of a report that is not stored for the days asked for; it names other days that are stored.

    Args:
        response: a 202, or a problem with `stored_window`.
        retry_after: when to ask again; what the response says by default.
    """
    stored_window = read_stored_window(response)
    reason = _read_fields(response).get("reason")
    why = f": {redact(reason)[:_MAX_DETAIL]}" if isinstance(reason, str) else ""
    message = f"{key} is not stored yet{why}" if response.status == 202 else f"{key}: {_read_detail(response)}"
    if stored_window is not None:
        message += f"; other days are stored, {stored_window}, which allow_partial=True returns"
    seconds = response.retry_after if retry_after is None else retry_after
    return NotReady(message, retry_after=seconds, request_id=request_id, stored_window=stored_window)


def read_stored_window(response: ApiResponse) -> str | None:
    """Return the days that a 202 or a problem names as stored in place of those asked for, or None."""
    window = _read_fields(response).get("stored_window")
    return window if isinstance(window, str) and _WINDOW.fullmatch(window) else None


def find_request_id(response: ApiResponse) -> int | None:
    """Return the id of the queued request that a 202 names, or None."""
    candidates = [
        response.headers.get(api_headers.REQUEST.lower(), ""),
        response.headers.get("location", "").rstrip("/").rpartition("/")[2],
    ]
    return next((int(text) for text in candidates if re.fullmatch(r"[0-9]{1,18}", text)), None)


def _read_detail(response: ApiResponse) -> str:
    """Return the detail or the title of a problem document; never any other body, which may be a page of a proxy."""
    fallback = "the server refused the request" if response.status < 500 else "the server cannot answer now"
    if response.status in {404, 405}:
        fallback = "the server does not answer as adwarm does; check that the base URL is that of its API"
    problem = _read_fields(response)
    text = problem.get("detail") or problem.get("title")
    if isinstance(text, str):
        return redact(text)[:_MAX_DETAIL]
    # Every refusal of the read API is a problem document; what stands between may answer for it while it is down.
    is_other = 400 <= response.status < 500
    return f"{fallback}, and is not adwarm's read API: check the base URL" if is_other else fallback


def _read_fields(response: ApiResponse) -> dict[str, Any]:
    """Return the members of a JSON object; none of any other body."""
    if "json" not in response.headers.get("content-type", ""):
        return {}
    try:
        document = decode_json(response)
    except AdwarmError:
        return {}
    return document if isinstance(document, dict) else {}
