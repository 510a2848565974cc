"""The ASGI application of the page: every route is made from a tab, and none answers an anonymous caller.

| route                   | answers                                                                               |
|-------------------------|---------------------------------------------------------------------------------------|
| `GET /`                 | goes to the first tab                                                                 |
| `GET /{tab}`            | the tab with empty tiles, which the script fills; all of them with `?plain=1`         |
| `GET /tiles/{tab}/{name}` | one tile as HTML                                                                    |
| `GET /downloads/{tab}/{name}` | a file of the tab, such as a table as CSV                                       |
| `GET /reviews/{run_id}` | the stored page of a policy review; `newest` stands for the newest one                |
| `GET /static/{name}`    | style and script                                                                      |
| `GET /pictures/{name}`  | what an ad shows                                                                      |
| `POST /{form}`          | carries out a form: permission, origin and CSRF token are checked before its handler  |

URLs inside the page are relative, so it works below any path. What a visitor sees escaped in HTML is never trusted:
templates escape every value, and the policy of the page allows no inline script or style.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from math import ceil
from typing import Any, Final, ParamSpec, TypeVar
from urllib.parse import urlencode

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from adwarm.backpressure.token_limits import TOKEN_LIMITS
from adwarm.foundation.errors import AdwarmError, BadRequest, NotFound, Refused
from adwarm.foundation.redaction import log_unexpected
from adwarm.pages.access import (
    CSRF_FIELD,
    FormRejected,
    PageAccess,
    Permission,
    Visitor,
    check_csrf,
    check_origin,
    check_seal,
    make_csrf_token,
    make_seal,
    read_fields,
)
from adwarm.pages.rendering import STATIC, get_page_path, get_root, read_static, render, show_plain
from adwarm.pages.tab import Download, Form, InvalidField, PageServices, Redirect, Tab, Tile, TileRequest
from adwarm.serving.http_guard import HttpGuard
from adwarm.store import Context
from adwarm.store.creatives import read_picture

THREADS: Final = 4
"""Threads of the page in a process: few, so that slow tiles leave threads and connections to everything else."""
_VISITOR: Final = "adwarm_visitor"
_FOREVER: Final = {"Cache-Control": "private, max-age=31536000, immutable"}
_MAX_URL_BYTES: Final = 4_096
"""The most bytes of a path with its query; filters of a tab are in the query."""
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
_HEADERS: Final = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "Vary": "Cookie, Authorization",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every answer that does not set them itself."""
P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)
PAGE_PATH: Final = "/adwarm"
_REVIEW_HEADERS: Final = {
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox"
    ),
}


class PageRefused(Exception):
    """A request that is answered with a page that says why not.

    Attributes:
        retry_after: seconds after which to try again; None where that is not known.
    """

    def __init__(self, status: int, title: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.title = title
        self.retry_after = retry_after


def build_page(tabs: Sequence[Tab], get_services: Callable[[], PageServices], access: PageAccess) -> FastAPI:
    """Return the application.

    Args:
        tabs: what it shows; the first listed one is the start page.
        get_services: returns what the tabs work with; called in a thread at each request, so keep the result.
    """
    app = FastAPI(title="adwarm", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    site = _Site(tabs, get_services, access)

    def add(path: str, answer: Callable[[Request], Awaitable[Response]], method: str = "GET") -> None:
        route = Route(path, answer)  # one of FastAPI examines the function, which takes far longer
        route.methods = {method}
        app.router.routes.append(route)

    add("/", site.show_start)
    add("/static/{name}", site.send_static)
    add("/pictures/{name}", site.send_picture)
    add("/reviews/{run_id:path}", site.show_review)
    for tab in tabs:
        add(f"/{tab.name}", partial(site.show_tab, tab))
        for tile in tab.tiles:
            add(f"/tiles/{tab.name}/{tile.name}", partial(site.show_tile, tab, tile))
        for download in tab.downloads:
            add(f"/downloads/{tab.name}/{download.name}", partial(site.send_download, download))
        for form in tab.forms:
            add(f"/{form.name}", partial(site.carry_out, tab, form), "POST")
    app.add_exception_handler(PageRefused, site.answer_refusal)
    app.add_exception_handler(FormRejected, site.answer_rejection)
    app.add_exception_handler(404, site.answer_not_found)
    app.add_exception_handler(405, site.answer_not_found)
    app.add_middleware(_Guard)
    app.state.site = site
    return app


def describe_failure(error: Exception) -> Response:
    """Return the answer to a request that failed: what to do for a known error, and nothing else for any other."""
    if isinstance(error, AdwarmError):
        return show_plain("failure.html", 503, {"text": str(error)})
    return show_plain("failure.html", 500, {"text": "The page failed; the log of the server says why."})


class _Guard(HttpGuard):
    """What holds for every request of the page: the length of its address, its headers, and no bare exception."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()])

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose address is not too long."""
        if len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"]) > _MAX_URL_BYTES:
            await Response("the address is too long", 414)(scope, receive, send)
            return
        await super().answer(scope, receive, send)

    async def answer_error(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with what to do about an error."""
        # The message of an unexpected error may hold anything, so it goes to the log, without secrets.
        log_unexpected(log, error, "the page failed to answer %s", scope["path"][:200])
        await describe_failure(error)(scope, receive, send)


class _Site:
    """The routes."""

    def __init__(self, tabs: Sequence[Tab], get_services: Callable[[], PageServices], access: PageAccess) -> None:
        self._tabs = tabs
        self._get_services = get_services
        self._access = access
        self._threads = CapacityLimiter(THREADS)

    async def show_start(self, request: Request) -> Response:
        """Go to the first tab."""
        await self._require(request, Permission.VIEW)
        return _redirect(next(tab.name for tab in self._tabs if tab.is_listed))

    async def send_static(self, request: Request) -> Response:
        """Return a file of the folder `static`; its URL changes with its content."""
        await self._require(request, Permission.VIEW)
        if (name := request.path_params["name"]) not in STATIC:
            raise PageRefused(404, "Not found", "there is no such file")
        return Response(read_static(name), headers=_FOREVER, media_type=STATIC[name])

    async def send_picture(self, request: Request) -> Response:
        """Return the picture of a creative; its name changes with its content."""
        await self._require(request, Permission.VIEW)
        services = await self._run(self._get_services)
        try:
            data, media_type = await self._run(read_picture, services.context, request.path_params["name"])
        except NotFound as error:
            raise PageRefused(404, "No picture", str(error)) from error
        return Response(data, headers=_FOREVER, media_type=media_type)

    async def show_review(self, request: Request) -> Response:
        """Return the stored page of a policy review."""
        await self._require(request, Permission.VIEW)
        services = await self._run(self._get_services)
        try:
            return await self._run(show_review, services.context, request.path_params["run_id"])
        except NotFound as error:
            raise PageRefused(404, "No page", str(error)) from error

    async def show_tab(self, tab: Tab, request: Request) -> Response:
        """Return a tab."""
        visitor = await self._require(request, Permission.VIEW)
        tile_request = await self._make_tile_request(request, visitor)
        is_plain = tile_request.get("plain") == "1"
        bodies = (
            {tile.name: await self._run(self._load, tab, tile, tile_request) for tile in tab.tiles} if is_plain else {}
        )
        own = {"done", "seal", "plain"}
        query = urlencode({name: value for name, value in tile_request.query.items() if name not in own})
        done = tile_request.get("done")
        message = done if done and check_seal(visitor, done, tile_request.get("seal")) else ""
        values: dict[str, Any] = {"tab": tab, "bodies": bodies, "query": query, "message": message}
        return await self._render(request, "tab.html", visitor, current=tab.name, **values)

    async def show_tile(self, tab: Tab, tile: Tile, request: Request) -> Response:
        """Return one tile; a failing one is a message with 200, because the page shows it in place."""
        visitor = await self._require(request, Permission.VIEW)
        tile_request = await self._make_tile_request(request, visitor)
        return HTMLResponse(await self._run(self._load, tab, tile, tile_request))

    async def send_download(self, download: Download, request: Request) -> Response:
        """Return a file to save."""
        visitor = await self._require(request, Permission.VIEW)
        tile_request = await self._make_tile_request(request, visitor)
        try:
            text = await self._run(download.load, tile_request)
        except AdwarmError as error:
            raise PageRefused(422, "No file", str(error)) from error
        stem, _, suffix = download.file_name.rpartition(".")
        name = f"{stem}-{tile_request.now:%Y-%m-%d}.{suffix}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(text.encode(), headers=headers, media_type=download.media_type)

    async def carry_out(self, tab: Tab, form: Form, request: Request) -> Response:
        """Carry out a form of a visitor who may; one that is not valid and has a tile of its name is shown again."""
        visitor = await self._require(request, form.permission)
        check_origin(request)
        fields = await read_fields(request)
        check_csrf(visitor, fields)
        fields.pop(CSRF_FIELD)
        tile_request = await self._make_tile_request(request, visitor, fields)
        try:
            result = await self._run(form.handle, tile_request)
        except AdwarmError as error:
            if isinstance(error, Refused) and error.code in TOKEN_LIMITS:
                raise PageRefused(429, "Not done", str(error), error.retry_after) from error
            tile = next((tile for tile in tab.tiles if tile.name == form.name), None)
            if tile is None or not isinstance(error, BadRequest):
                raise PageRefused(422, "Not done", str(error)) from error
            wrong = error.field if isinstance(error, InvalidField) else ""
            body = await self._run(self._load, tab, tile, tile_request, problem=str(error), wrong=wrong)
            return await self._render(request, "again.html", visitor, 422, title=tile.title, body=body)
        return _redirect(_add_message(visitor, result), 303)

    async def answer_refusal(self, request: Request, error: Exception) -> Response:
        """Return the page of a refused request; the login page for an anonymous caller."""
        refusal = error if isinstance(error, PageRefused) else PageRefused(500, "Error", "the request failed")
        visitor: Visitor | None = getattr(request.state, _VISITOR, None)
        if visitor is None or not visitor.may(Permission.VIEW):
            return self.show_login(request, refusal.status, str(refusal) if refusal.status != 401 else "")
        values = {"title": refusal.title, "text": str(refusal)}
        answer = await self._render(request, "message.html", visitor, refusal.status, **values)
        if refusal.retry_after is not None:
            answer.headers["Retry-After"] = str(ceil(refusal.retry_after))
        return answer

    async def answer_rejection(self, request: Request, error: Exception) -> Response:
        """Return the page of a form that is not carried out."""
        status = error.status if isinstance(error, FormRejected) else 400
        return await self.answer_refusal(request, PageRefused(status, "Not done", str(error)))

    async def answer_not_found(self, request: Request, error: Exception) -> Response:
        """Return the page for a path that does not exist; 401 for an anonymous caller, like every other path."""
        if await self._identify(request) is None:
            return self.show_login(request, 401)
        if getattr(error, "status_code", 404) == 405:
            message = f"this page does not answer {request.method[:20]}"
            answer = await self.answer_refusal(request, PageRefused(405, "Not possible", message))
            answer.headers["Allow"] = (getattr(error, "headers", None) or {}).get("Allow", "GET, HEAD")
            return answer
        return await self.answer_refusal(request, PageRefused(404, "Not found", "there is no such page"))

    def show_login(self, request: Request, status: int, message: str = "") -> Response:
        """Return the page for callers who are not logged in, or may not see anything."""
        root = get_root(request)
        login = {"next": self._find_target(request), **self._access.describe_login(request)}
        return show_plain("login.html", status, {"message": message, "root": root, **login})

    def get_tab_url(self, text: str) -> str:
        """Return a URL below the page if it leads to a tab, and else that of the start page."""
        name, _, query = text.partition("?")
        return text if any(tab.name == name for tab in self._tabs) and query.isprintable() else "./"

    def _find_target(self, request: Request) -> str:
        """Return where to go after the login: the tab that was asked for."""
        if request.method != "GET":
            return "./"
        query = f"?{request.url.query}" if request.url.query else ""
        return self.get_tab_url(get_page_path(request).lstrip("/") + query)

    async def _require(self, request: Request, permission: Permission) -> Visitor:
        visitor = await self._identify(request)
        if visitor is None:
            raise PageRefused(401, "Log in", "log in first")
        if not visitor.may(permission):
            raise PageRefused(403, "Not allowed", visitor.explain(permission))
        return visitor

    async def _identify(self, request: Request) -> Visitor | None:
        """Find the visitor, and keep it for the page that answers when the request is refused."""
        visitor = await self._access.identify(request)
        setattr(request.state, _VISITOR, visitor)
        return visitor

    async def _make_tile_request(
        self, request: Request, visitor: Visitor, fields: Mapping[str, str] | None = None
    ) -> TileRequest:
        services = await self._run(self._get_services)
        query = {name: value[:500] for name, value in request.query_params.items()}
        return TileRequest(services, visitor, query, services.clock.now(), fields or {})

    async def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something that waits in one of the page's threads."""
        return await run_sync(partial(work, *args, **kwargs), limiter=self._threads)

    def _load(self, tab: Tab, tile: Tile, tile_request: TileRequest, **more: str) -> str:
        template = tile.template or f"{tab.name}/{tile.name}.html"
        try:
            shared = _shared(tile_request.visitor, tile_request.services, tile_request.now)
            values = {**shared, "request": tile_request, **tile.load(tile_request), **more}
            return render(template, values)
        except AdwarmError as error:
            message = str(error)
        except Exception as error:  # one tile must not take the page with it; the log has the traceback
            log_unexpected(log, error, "the tile %s of the tab %s failed", tile.name, tab.name)
            message = "this part of the page failed; the log of the server says why"
        return render("tile_error.html", {"message": message})

    async def _render(
        self, request: Request, name: str, visitor: Visitor, status: int = 200, *, current: str = "", **values: Any
    ) -> Response:
        services = await self._run(self._get_services)
        shared = _shared(visitor, services, services.clock.now())
        listed = [tab for tab in self._tabs if tab.is_listed]
        navigation = {"tabs": listed, "current": current, "root": get_root(request)}
        text = await self._run(render, name, {**shared, **navigation, **values})
        return HTMLResponse(text, status)


def _shared(visitor: Visitor, services: PageServices, now: datetime) -> dict[str, Any]:
    """Return the values of every template that a visitor sees."""
    token = {"csrf_token": make_csrf_token(visitor), "csrf_name": CSRF_FIELD}
    return {
        "visitor": visitor,
        "now": now,
        "noun": services.noun,
        "simulation": services.simulation,
        "problem": "",
        "wrong": "",
        **token,
    }


def _add_message(visitor: Visitor, result: Redirect) -> str:
    """Return the URL of a redirect with its message, sealed, so that no link of somebody else can show one."""
    if result.to.startswith("/") or ":" in result.to.partition("?")[0]:
        raise ValueError("a form goes to a tab of the page; make the URL with TileRequest.link")
    if not result.message:
        return result.to
    message = result.message[:500]
    return (
        f"{result.to}{'&' if '?' in result.to else '?'}"
        f"{urlencode({'done': message, 'seal': make_seal(visitor, message)})}"
    )


def _redirect(to: str, status: int = 307) -> Response:
    return RedirectResponse(to, status)


class PageMount:
    """ASGI application that answers requests below `/adwarm/` with the page, to which `/` leads, and passes on others.

    It is around everything else, so that neither the tokens nor the rules for other origins of the API apply to it.

    Args:
        app: what answers the others, and gets the messages of the lifespan.
    """

    def __init__(self, app: ASGIApp, page: ASGIApp) -> None:
        self._app = app
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] == "http" and scope["path"] in {"/", PAGE_PATH}:
            # Relative, so that it holds behind a proxy with a path of its own.
            await RedirectResponse(f"{PAGE_PATH[1:]}/", 308)(scope, receive, send)
        elif scope["type"] != "http" or not scope["path"].startswith(f"{PAGE_PATH}/"):
            await self._app(scope, receive, send)
        else:
            await self._page({**scope, "root_path": scope.get("root_path", "") + PAGE_PATH}, receive, send)


def show_review(context: Context, run_id: str) -> Response:
    """Return the page of a review; `newest` stands for the newest one.

    Raises:
        NotFound: there is no such review or it has no page; the message says why.
    """
    from adwarm.replay.review_rules import read_page  # takes seconds, and no tab needs it

    return Response(read_page(context, run_id), 200, _REVIEW_HEADERS, "text/html; charset=utf-8")
