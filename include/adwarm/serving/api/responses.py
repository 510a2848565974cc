"""The problems and headers of the routes, as the OpenAPI document describes them."""

from typing import Any

from adwarm.serving.api.models import ProblemDocument
from adwarm.serving.problems import CONTENT_TYPE

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
