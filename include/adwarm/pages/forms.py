"""The checks of every POST: where it comes from, and that its form was made for this login.

| check      | how                                                                                                  |
|------------|------------------------------------------------------------------------------------------------------|
| Origin     | `Origin` (or `Referer` where a browser leaves it out) names the host that was asked; both missing: 403 |
| CSRF token | HMAC of a fixed text by the visitor's credential, in a hidden field; nothing is stored                |
| size       | a form has at most `MAX_FORM_BYTES` bytes and `MAX_FIELDS` fields                                     |
"""

import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from adwarm.pages.access import Visitor

MAX_FORM_BYTES: Final = 65_536
MAX_FIELDS: Final = 200
CSRF_FIELD: Final = "csrf_token"
_PURPOSE = b"adwarm page form"


class FormRejected(Exception):
    """A POST that is not carried out.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def make_csrf_token(visitor: Visitor) -> str:
    """Return the token of a visitor's forms."""
    return hmac.new(visitor.credential, _PURPOSE, sha256).hexdigest()


def check_origin(request: Request) -> None:
    """Check that a POST comes from a page of this server.

    Raises:
        FormRejected: 403, it comes from elsewhere, or does not say where it comes from.
    """
    sent = request.headers.get("origin") or request.headers.get("referer") or ""
    host = request.headers.get("host", "")
    if not host or urlsplit(sent).netloc.lower() != host.lower():
        raise FormRejected(403, "the form was sent from another site; open the page here and send it again")


def check_csrf(visitor: Visitor, fields: Mapping[str, str]) -> None:
    """Check the token of a form.

    Raises:
        FormRejected: 403, it is missing or belongs to another login.
    """
    sent = fields.get(CSRF_FIELD, "")
    if not hmac.compare_digest(sent.encode(), make_csrf_token(visitor).encode()):
        raise FormRejected(403, "the form is older than this login; reload the page and send it again")


async def read_fields(request: Request) -> dict[str, str]:
    """Return the fields of a form, without spaces around the values; of a repeated name, its values in lines.

    Raises:
        FormRejected: 413 or 415, it is too large or no form.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise FormRejected(415, "send the form as application/x-www-form-urlencoded")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise FormRejected(413, f"the form has more than {MAX_FORM_BYTES:,} bytes")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        raise FormRejected(422, f"the form is not valid: UTF-8 text with at most {MAX_FIELDS} fields") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields[name] = f"{fields[name]}\n{value.strip()}" if name in fields else value.strip()
    return fields
