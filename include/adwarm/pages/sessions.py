"""The login of the page of `adwarm serve`: a token of the read API is exchanged for a session cookie.

The cookie holds 256 random bits that are made at the login, so nobody can prepare a session for somebody else. Its path
is that of the page as the browser sees it, also behind a proxy with a path of its own. Scripts cannot read it, and
browsers send it only over HTTPS (or to the own machine), and only from pages of the same site.

| the token of a session            | the session                                          |
|-----------------------------------|------------------------------------------------------|
| is revoked or expires             | ends within a second                                 |
| loses or gains a scope            | has the new permissions within a second              |

What was read from SQL is used for `_LIFE_SECONDS`.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Any, Final, TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from cachetools import TTLCache
from fastapi import FastAPI
from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from adwarm.foundation.clock import Clock
from adwarm.foundation.redaction import register_secret
from adwarm.model import AccessToken, TokenScope
from adwarm.pages.access import Permission, Visitor, check_csrf, check_origin, read_fields
from adwarm.pages.application import PageRefused
from adwarm.serving.api.anonymous import recognize_client
from adwarm.serving.problems import Problem
from adwarm.serving.tokens import StoredIds, TokenAuthenticator
from adwarm.store import access_tokens
from adwarm.store.access_tokens import StoredSession

T = TypeVar("T")
COOKIE: Final = "__Secure-adwarm"
"""Name of the cookie; browsers take a name with this prefix only with the attribute `Secure`."""
SESSION_LIFE: Final = timedelta(hours=12)
"""How long a login lasts: a day at work. It never outlives its token."""
_ID_BYTES: Final = 32
_MAX_ID_CHARACTERS: Final = 64
MAX_LOGIN_BYTES: Final = 8_192
"""The most bytes of the login form: a token and an address of the page."""
_LIFE_SECONDS: Final = 1.0
_CACHED: Final = 1_024
_THREADS: Final = 1
_PERMISSIONS: Final = (
    (TokenScope.READ, Permission.VIEW),
    (TokenScope.ENQUEUE, Permission.WARM),
    (TokenScope.ADMIN, Permission.CONTROL),
)
_NEEDS: Final = {
    permission: f"a token with the scope {scope}: adwarm token create NAME --scope {scope}"
    for scope, permission in _PERMISSIONS
}
_TEXT: Final = "Log in with a token of the read API. An administrator makes one: adwarm token create NAME --scope read"
_LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PLAIN: Final = (
    "This page was opened over plain HTTP, and browsers keep its login only over HTTPS: put a proxy with a certificate "
    "in front of it, or open it on the machine that serves it, as http://127.0.0.1"
)


class SessionAccess:
    """Finds the visitor of a request by its session. Belongs to one event loop.

    Args:
        authenticator: checks tokens at the login, with the limits of the read API.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        authenticator: TokenAuthenticator,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._authenticator = authenticator
        self._threads = CapacityLimiter(_THREADS)
        self._read: TTLCache[str, StoredSession | None] = TTLCache(
            _CACHED, _LIFE_SECONDS, timer=lambda: clock.now().timestamp()
        )
        self._ids = StoredIds(lambda: self._run(partial(access_tokens.list_session_hashes, engine)), clock, sleep)

    async def identify(self, request: Request) -> Visitor | None:
        """Return who is logged in with the session of a request; None without a valid one.

        Raises:
            Transient: the database cannot be reached.
        """
        session_id = request.cookies.get(COOKIE, "")
        if not 0 < len(session_id) <= _MAX_ID_CHARACTERS:
            return None
        session = await self._find(_hash(session_id))
        if session is None or not session.is_valid(self._clock.now()) or _why_not(session.token):
            return None
        recognize_client(request.scope)
        token = session.token
        permissions, secret = list_permissions(token), session_id.encode()
        return Visitor(token.name, "token", secret, permissions, can_log_out=True, token=token, needs=_NEEDS)

    def describe_login(self, request: Request) -> Mapping[str, Any]:
        """Return the values of the login page."""
        return {"text": _TEXT, "takes_token": True, "login_url": None, "warning": _PLAIN if _is_plain(request) else ""}

    async def log_in(self, request: Request) -> tuple[str, str]:
        """Exchange the token in a form for a session, and return its id and where the form goes next.

        A session that the browser had before ends.

        Raises:
            FormRejected: the form comes from another site, or is none.
            PageRefused: there is no valid token in it (401), or the token may not log in (403).
        """
        check_origin(request)
        fields = await read_fields(request, MAX_LOGIN_BYTES)
        try:
            header = f"Bearer {fields.get('token', '')}".encode()
            token = await self._authenticator.authenticate(header, partial(recognize_client, request.scope))
        except Problem as problem:
            text = "this token is not valid" if problem.status == 401 else problem.detail
            raise PageRefused(403 if problem.status == 401 else problem.status, "Not logged in", text) from None
        if reason := _why_not(token):
            raise PageRefused(403, "Not logged in", reason)
        session_id = secrets.token_urlsafe(_ID_BYTES)
        register_secret(session_id)
        now = self._clock.now()
        values = (_hash(session_id), token.id, now, now + SESSION_LIFE)
        await self._run(partial(access_tokens.insert_session, self._engine, *values))
        await self._end(_hash(request.cookies.get(COOKIE, "")))
        return session_id, fields.get("next", "")

    async def log_out(self, request: Request) -> None:
        """End the session of a request.

        Raises:
            FormRejected: the form was not made for it.
            PageRefused: there is none.
        """
        visitor = await self.identify(request)
        if visitor is None:
            raise PageRefused(401, "Log in", "log in first")
        check_origin(request)
        check_csrf(visitor, await read_fields(request))
        await self._end(_hash(visitor.credential.decode()))

    async def _find(self, id_hash: str) -> StoredSession | None:
        if id_hash in self._read:
            return self._read[id_hash]
        if not await self._ids.contains(id_hash):
            return None
        session: StoredSession | None = await self._run(partial(access_tokens.find_session, self._engine, id_hash))
        self._read[id_hash] = session
        if session is None:
            self._ids.discard(id_hash)
        return session

    async def _end(self, id_hash: str) -> None:
        await self._run(partial(access_tokens.delete_session, self._engine, id_hash))
        self._read.pop(id_hash, None)

    async def _run(self, work: Callable[[], T]) -> T:
        return await run_sync(work, limiter=self._threads)


def add_session_routes(app: FastAPI, access: SessionAccess) -> None:
    """Add `POST /login` and `POST /logout` to the page."""

    async def log_in(request: Request) -> Response:
        session_id, target = await access.log_in(request)
        response = RedirectResponse(app.state.site.get_tab_url(target), 303)
        # Without a path, a browser takes that of the page, whatever a proxy has put before it.
        response.set_cookie(COOKIE, session_id, path=None, secure=True, httponly=True, samesite="strict")
        return response

    async def log_out(request: Request) -> Response:
        await access.log_out(request)
        response = RedirectResponse("./", 303)
        response.set_cookie(COOKIE, "", max_age=0, path=None, secure=True, httponly=True, samesite="strict")
        response.headers["Clear-Site-Data"] = '"cache"'
        return response

    app.add_api_route("/login", log_in, methods=["POST"])
    app.add_api_route("/logout", log_out, methods=["POST"])


def list_permissions(token: AccessToken) -> frozenset[Permission]:
    """Return what a visitor with this token may do."""
    return frozenset(permission for scope, permission in _PERMISSIONS if token.allows(scope))


def _why_not(token: AccessToken) -> str:
    """Return why a token may not log in; nothing if it may."""
    if token.accounts is not None and not token.allows(TokenScope.ADMIN):
        return (
            "this token is limited to some accounts, and the page shows all of them; log in with a token that was made "
            "without --account"
        )
    return "" if token.allows(TokenScope.READ) else "this token may not read; log in with one that has the scope read"


def _is_plain(request: Request) -> bool:
    """Whether a browser would drop the cookie: plain HTTP, and not on the own machine."""
    if "sec-fetch-site" in request.headers:  # browsers send it only over HTTPS and to the own machine
        return False
    scheme = request.headers.get("x-forwarded-proto", request.url.scheme).partition(",")[0].strip().lower()
    return scheme == "http" and (request.url.hostname or "") not in _LOCAL_HOSTS


def _hash(session_id: str) -> str:
    return sha256(session_id.encode()).hexdigest()
