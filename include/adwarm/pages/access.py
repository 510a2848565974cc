"""Who visits the page and what they may do, and the checks of every POST.

The checks of every POST: where it comes from, and that its form was made for this login.

| check      | how                                                                                    |
|------------|----------------------------------------------------------------------------------------|
| Origin     | the browser says that the form is of the origin that it is sent to; see `check_origin` |
| CSRF token | HMAC of a fixed text by the visitor's credential, in a hidden field; nothing is stored |
| size       | a form has at most `MAX_FORM_BYTES` bytes and `MAX_FIELDS` fields                      |
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from adwarm.model import AccessToken

MAX_FORM_BYTES: Final = 65_536
MAX_FIELDS: Final = 200
CSRF_FIELD: Final = "csrf_token"
_PURPOSE = b"adwarm page form"
_SEAL_PURPOSE = b"adwarm page text: "
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


class Permission(StrEnum):
    """What a visitor may do.

    | permission | lets a visitor                                         |
    |------------|--------------------------------------------------------|
    | `view`     | see every tab                                          |
    | `warm`     | warm reports now, retry failed ones                    |
    | `control`  | turn the switches, open gates                          |
    """

    VIEW = "view"
    WARM = "warm"
    CONTROL = "control"


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person who is logged in.

    Attributes:
        name: for the page and for recorded actions.
        via: `airflow` or `token`.
        credential: the secret that proves the login, from which the secret of the forms is derived. Never shown.
        can_log_out: whether the page shows a button that ends the session.
        token: the token that they logged in with, whose limits apply to what they request; None in Airflow.
        needs: what gives each permission to somebody who lacks it, in words.
    """

    name: str
    via: str
    credential: bytes
    permissions: frozenset[Permission]
    can_log_out: bool = False
    token: AccessToken | None = None
    needs: Mapping[Permission, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return the visitor without the credential."""
        return f"Visitor({self.name!r}, {self.via!r}, {sorted(self.permissions)})"

    def may(self, permission: Permission) -> bool:
        """Return whether the visitor has a permission."""
        return permission in self.permissions

    def explain(self, permission: Permission) -> str:
        """Return what a visitor needs for what they may not do."""
        return f"This takes {self.needs.get(permission, f'the permission {permission}')}"


class PageAccess(Protocol):
    """Finds the visitor of a request."""

    async def identify(self, request: Request) -> Visitor | None:
        """Return who sends a request; None when they are not logged in."""
        ...

    def describe_login(self, request: Request) -> Mapping[str, Any]:
        """Return the values of the template `login.html`, which anonymous callers get with 401.

        They are `text`, `takes_token`, `login_url` (or None) and `warning` (or nothing).
        """
        ...


class FormRejected(Exception):
    """A POST that is not carried out."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def make_csrf_token(visitor: Visitor) -> str:
    """Return the token of a visitor's forms."""
    return hmac.new(visitor.credential, _PURPOSE, sha256).hexdigest()


def make_seal(visitor: Visitor, text: str) -> str:
    """Return what proves that the page itself wrote a text into a URL for this visitor."""
    return hmac.new(visitor.credential, _SEAL_PURPOSE + text.encode(), sha256).hexdigest()[:32]


def check_seal(visitor: Visitor, text: str, seal: str) -> bool:
    """Return whether a text in a URL was written by the page for this visitor."""
    return hmac.compare_digest(seal.encode(), make_seal(visitor, text).encode())


def check_origin(request: Request) -> None:
    """Check that a POST comes from a page of this server.

    `Sec-Fetch-Site` has to be `same-origin`. Where a browser does not send it, `Origin` (or `Referer`) has to name the
    host that was asked, as `Host` or, behind a proxy, `X-Forwarded-Host` has it. No page of another site can change
    these headers: browsers write the first three themselves, and ask the server before they send the last one to
    another site, which the page never allows.

    Raises:
        FormRejected: 403, it comes from elsewhere, or does not say where it comes from.
    """
    site = request.headers.get("sec-fetch-site")
    sent = request.headers.get("origin") or request.headers.get("referer") or ""
    is_said = site == "same-origin" and sent != "null"  # of the URL in the address bar, whatever a proxy made of it
    if not (_get_host(sent) in _list_hosts(request) if site is None else is_said):
        raise FormRejected(403, "the form was sent from another site; open the page here and send it again")


def _get_host(url: str) -> str | None:
    """Return host and port of a URL, without the default port; None for what is not a URL of a page."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.netloc or "@" in parts.netloc:
        return None
    return parts.netloc.lower().removesuffix(_DEFAULT_PORTS[parts.scheme])


def _list_hosts(request: Request) -> set[str]:
    """Return the hosts that this server is asked as, without default ports."""
    named = [request.headers.get("host", ""), *request.headers.get("x-forwarded-host", "").split(",")]
    hosts = {name.strip().lower() for name in named if name.strip()}
    return {name.removesuffix(port) for name in hosts for port in _DEFAULT_PORTS.values()}


def check_csrf(visitor: Visitor, fields: Mapping[str, str]) -> None:
    """Check the token of a form.

    Raises:
        FormRejected: 403, it is missing or belongs to another login.
    """
    sent = fields.get(CSRF_FIELD, "")
    if not hmac.compare_digest(sent.encode(), make_csrf_token(visitor).encode()):
        raise FormRejected(403, "the form is older than this login; reload the page and send it again")


async def read_fields(request: Request, max_bytes: int = MAX_FORM_BYTES) -> dict[str, str]:
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
        if len(body) > max_bytes:
            raise FormRejected(413, f"the form has more than {max_bytes:,} bytes")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        raise FormRejected(422, f"the form is not valid: UTF-8 text with at most {MAX_FIELDS} fields") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields[name] = f"{fields[name]}\n{value.strip()}" if name in fields else value.strip()
    return fields
