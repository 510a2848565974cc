"""The ASGI application of the page: every route is made from a tab, and none answers an anonymous caller.

| route                   | answers                                                                               |
|-------------------------|---------------------------------------------------------------------------------------|
| `GET /`                 | goes to the first tab                                                                 |
| `GET /{tab}`            | the tab with empty tiles, which the script fills; all of them with `?plain=1`         |
| `GET /tiles/{tab}/{name}` | one tile as HTML                                                                    |
| `GET /static/{name}`    | style and script                                                                      |
| `POST /{form}`          | carries out a form: permission, origin and CSRF token are checked before its handler  |

URLs inside the page are relative, so it works below any path. What a visitor sees escaped in HTML is never trusted:
templates escape every value, and the policy of the page allows no inline script or style.
"""

import base64
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from importlib import resources
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment
from starlette.concurrency import run_in_threadpool

from adwarm.foundation.errors import AdwarmError
from adwarm.foundation.html_templates import load_templates
from adwarm.foundation.redaction import log_unexpected
from adwarm.pages import charts, formats
from adwarm.pages.access import PageAccess, Permission, Visitor
from adwarm.pages.forms import CSRF_FIELD, FormRejected, check_csrf, check_origin, make_csrf_token, read_fields
from adwarm.pages.services import PageServices
from adwarm.pages.tab import Form, Redirect, Tab, Tile, TileRequest

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-src 'self'; base-uri 'none'; frame-ancestors 'self'"
)
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_STATIC: Final = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
log = logging.getLogger(__name__)


class _Refused(Exception):
    """A request that is answered with a page that says why not."""

    def __init__(self, status: int, title: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.title = title


def build_page(tabs: Sequence[Tab], get_services: Callable[[], PageServices], access: PageAccess) -> FastAPI:
    """Return the application.

    Args:
        tabs: what it shows; the first listed one is the start page.
        get_services: returns what the tabs work with; called in a thread at each request, so keep the result.
        access: finds the visitor of a request.
    """
    app = FastAPI(title="adwarm", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    site = _Site(tabs, get_services, access)
    app.add_api_route("/", site.show_start, methods=["GET"])
    app.add_api_route("/static/{name}", site.send_static, methods=["GET"])
    for tab in tabs:
        app.add_api_route(f"/{tab.name}", partial(site.show_tab, tab), methods=["GET"], name=tab.name)
        for tile in tab.tiles:
            path = f"/tiles/{tab.name}/{tile.name}"
            app.add_api_route(path, partial(site.show_tile, tab, tile), methods=["GET"], name=path)
        for form in tab.forms:
            app.add_api_route(f"/{form.name}", partial(site.carry_out, form), methods=["POST"], name=form.name)
    app.add_exception_handler(_Refused, site.answer_refusal)
    app.add_exception_handler(FormRejected, site.answer_rejection)
    app.add_exception_handler(404, site.answer_not_found)
    app.add_exception_handler(405, site.answer_not_found)
    app.state.site = site
    return app


class _Site:
    """The routes."""

    def __init__(self, tabs: Sequence[Tab], get_services: Callable[[], PageServices], access: PageAccess) -> None:
        self._tabs = tabs
        self._get_services = get_services
        self._access = access

    async def show_start(self, request: Request) -> Response:
        """Go to the first tab."""
        await self._require(request, Permission.VIEW)
        if not request.url.path.endswith("/"):
            return _redirect(f"{request.url.path.rpartition('/')[2]}/")
        return _redirect(next(tab.name for tab in self._tabs if tab.is_listed))

    async def send_static(self, request: Request, name: str) -> Response:
        """Return a file of the folder `static`."""
        await self._require(request, Permission.VIEW)
        if name not in _STATIC:
            raise _Refused(404, "Not found", "there is no such file")
        headers = {**_HEADERS, "Cache-Control": "private, max-age=86400"}
        return Response(_read_static(name), headers=headers, media_type=_STATIC[name])

    async def show_tab(self, tab: Tab, request: Request) -> Response:
        """Return a tab."""
        visitor = await self._require(request, Permission.VIEW)
        question = await self._ask(request, visitor)
        is_plain = question.get("plain") == "1"
        bodies = {tile.name: await self._load(tab, tile, question) for tile in tab.tiles} if is_plain else {}
        query = urlencode({name: value for name, value in question.query.items() if name not in {"done", "plain"}})
        values: dict[str, Any] = {"tab": tab, "bodies": bodies, "query": query, "message": question.get("done")[:500]}
        return await self._render("tab.html", visitor, tab.name, **values)

    async def show_tile(self, tab: Tab, tile: Tile, request: Request) -> Response:
        """Return one tile; a failing one is a message with 200, because the page shows it in place."""
        visitor = await self._require(request, Permission.VIEW)
        body = await self._load(tab, tile, await self._ask(request, visitor))
        return HTMLResponse(body, headers=_HEADERS)

    async def carry_out(self, form: Form, request: Request) -> Response:
        """Carry out a form of a visitor who may."""
        visitor = await self._require(request, form.permission)
        check_origin(request)
        fields = await read_fields(request)
        check_csrf(visitor, fields)
        fields.pop(CSRF_FIELD)
        question = await self._ask(request, visitor, fields)
        try:
            result = await run_in_threadpool(form.handle, question)
        except AdwarmError as error:
            raise _Refused(422, "Not done", str(error)) from error
        if isinstance(result, Redirect):
            separator = "&" if "?" in result.to else "?"
            done = f"{separator}{urlencode({'done': result.message})}" if result.message else ""
            return _redirect(f"{result.to}{done}", 303)
        values = {"title": result.title, "form": form, **result.values}
        return await self._render(result.template, visitor, "", result.status, **values)

    async def answer_refusal(self, request: Request, error: Exception) -> Response:
        """Return the page of a refused request; the login page for an anonymous caller."""
        refusal = error if isinstance(error, _Refused) else _Refused(500, "Error", "the request failed")
        visitor = await self._access.identify(request) if refusal.status != 401 else None
        if visitor is None or not visitor.may(Permission.VIEW):
            return self.show_login(refusal.status, str(refusal) if refusal.status != 401 else "")
        values = {"title": refusal.title, "text": str(refusal)}
        return await self._render("message.html", visitor, "", refusal.status, **values)

    async def answer_rejection(self, request: Request, error: Exception) -> Response:
        """Return the page of a form that is not carried out."""
        status = error.status if isinstance(error, FormRejected) else 400
        return await self.answer_refusal(request, _Refused(status, "Not done", str(error)))

    async def answer_not_found(self, request: Request, error: Exception) -> Response:
        """Return the page for a path that does not exist; 401 for an anonymous caller, like every other path."""
        visitor = await self._access.identify(request)
        if visitor is None:
            return self.show_login(401)
        status = getattr(error, "status_code", 404)
        return await self.answer_refusal(request, _Refused(status, "Not found", "there is no such page"))

    def show_login(self, status: int, message: str = "") -> Response:
        """Return the page for callers who are not logged in, or may not see anything."""
        text = _environment().get_template("login.html").render({**self._access.describe_login(), "message": message})
        style = f"style-src 'sha256-{_hash_style(text)}'"
        policy = f"default-src 'none'; {style}; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
        return HTMLResponse(text, status, {**_HEADERS, "Content-Security-Policy": policy})

    async def _require(self, request: Request, permission: Permission) -> Visitor:
        visitor = await self._access.identify(request)
        if visitor is None:
            raise _Refused(401, "Log in", "log in first")
        if not visitor.may(permission):
            message = f"{visitor.name} lacks the permission `{permission}` that this takes"
            raise _Refused(403, "Not allowed", message)
        return visitor

    async def _ask(self, request: Request, visitor: Visitor, fields: Mapping[str, str] | None = None) -> TileRequest:
        services = await run_in_threadpool(self._get_services)
        query = {name: value[:500] for name, value in request.query_params.items()}
        return TileRequest(services, visitor, query, services.clock.now(), fields or {})

    async def _load(self, tab: Tab, tile: Tile, question: TileRequest) -> str:
        return await run_in_threadpool(self._load_now, tab, tile, question)

    def _load_now(self, tab: Tab, tile: Tile, question: TileRequest) -> str:
        template = tile.template or f"{tab.name}/{tile.name}.html"
        try:
            values = {**self._shared(question.visitor, question.now), "request": question, **tile.load(question)}
            return _environment().get_template(template).render(values)
        except AdwarmError as error:
            message = str(error)
        except Exception as error:  # one tile must not take the page with it; the log has the traceback
            log_unexpected(log, error, "the tile %s of the tab %s failed", tile.name, tab.name)
            message = "this part of the page failed; the log of the server says why"
        return _environment().get_template("tile_error.html").render({"message": message})

    def _shared(self, visitor: Visitor, now: datetime) -> dict[str, Any]:
        token = make_csrf_token(visitor)
        return {"visitor": visitor, "now": now, "csrf_token": token, "csrf_name": CSRF_FIELD}

    async def _render(self, name: str, visitor: Visitor, current: str, status: int = 200, **values: Any) -> Response:
        services = await run_in_threadpool(self._get_services)
        shared = self._shared(visitor, services.clock.now())
        navigation = {"tabs": [tab for tab in self._tabs if tab.is_listed], "current": current}
        template = _environment().get_template(name)
        text = await run_in_threadpool(template.render, {**shared, **navigation, **values})
        return HTMLResponse(text, status, _HEADERS)


@cache
def _environment() -> Environment:
    environment = load_templates("adwarm.pages")
    environment.filters.update(formats.FILTERS)
    environment.globals.update({"charts": charts})
    return environment


@cache
def _read_static(name: str) -> bytes:
    return (resources.files("adwarm.pages") / "static" / name).read_bytes()


def _hash_style(text: str) -> str:
    """Return the hash of the only style element of a page, as policies name it."""
    style = text.partition("<style>")[2].partition("</style>")[0]
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def _redirect(to: str, status: int = 307) -> Response:
    return RedirectResponse(to, status, _HEADERS)
