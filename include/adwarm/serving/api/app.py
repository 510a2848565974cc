"""The read API as one ASGI application: its routes and OpenAPI document, and what starts and ends with it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, Final, Protocol

from anyio.to_thread import current_default_thread_limiter
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adwarm.foundation.errors import AdwarmError
from adwarm.maintenance.state_metrics import StateReader
from adwarm.serving.api.dashboard import mount_dashboard
from adwarm.serving.api.errors import describe_error, describe_invalid, describe_status
from adwarm.serving.api.guard import CHECKS_QUERY, Guard, bearer
from adwarm.serving.api.hit_route import HitRoute
from adwarm.serving.api.models import ProblemDocument
from adwarm.serving.api.routes import batch, health, insights, requests, scores, state
from adwarm.serving.hit_parts import HitParts
from adwarm.serving.problems import CONTENT_TYPE, Problem
from adwarm.serving.services import ServingServices
from adwarm.settings import ServingSettings

OPENAPI_PATH: Final = "/v1/openapi.json"
_VERSION = "1"
_THREADS = 4
"""Threads of the routes: few, so that a flood of slow requests leaves connections and memory to the hits."""
_DESCRIPTION = """Reads reports from adwarm's cache. Every route but `/healthz` and `/readyz` needs a token:
`Authorization: Bearer adwarm_...`. Errors are problem details (RFC 9457)."""
ALLOWED_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "If-None-Match",
    "Prefer",
    "Adwarm-Actor",
    "Adwarm-Priority",
    "Adwarm-Request",
    "Adwarm-Trigger",
)
EXPOSED_HEADERS: Final = (
    "ETag",
    "Age",
    "Cache-Status",
    "Retry-After",
    "Location",
    "Preference-Applied",
    "Adwarm-Actions",
    "Adwarm-Degraded",
    "Adwarm-Reason",
    "Adwarm-Request",
    "Adwarm-Source",
    "Adwarm-Window",
)
_PREFLIGHT_SECONDS = 600


def create_app(services: ServingServices) -> FastAPI:
    """Return the application: every route, behind the guard.

    `with_cors` belongs around it, and around whatever answers ahead of it.
    """
    app = _make_app()
    app.state.services = services
    app.state.readiness = health.ReadinessCheck(services)
    reader = StateReader(services.context, services.clock, services.queue)
    services.metrics.show_state(reader)
    app.add_middleware(Guard, authenticator=services.authenticator)
    return app


def describe_api() -> dict[str, Any]:
    """Return the OpenAPI document of the read API; needs neither settings nor a database."""
    return _make_app().openapi()


def _make_app() -> FastAPI:
    app = FastAPI(
        title="adwarm read API",
        version=_VERSION,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=_limit_threads,
        routes=_routes(),
    )
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_status)
    for kind in (Problem, AdwarmError):
        app.add_exception_handler(kind, _answer_error)
    plain_openapi = app.openapi  # it keeps the document that it returns, which is finished once
    app.openapi = lambda: app.openapi_schema or _finish(plain_openapi())  # type: ignore[method-assign]
    return app


@cache
def _routes() -> list[BaseRoute]:
    """Return what the applications of a process share: FastAPI takes long to examine the functions of routes."""
    router = APIRouter()
    router.include_router(health.router)
    for module in (insights, batch, scores, requests, state):
        router.include_router(module.router, prefix="/v1", dependencies=[Depends(bearer), CHECKS_QUERY])
    router.include_router(health.metrics_router, dependencies=[Depends(bearer)])
    router.get(OPENAPI_PATH, include_in_schema=False, dependencies=[Depends(bearer)])(_get_openapi)
    return router.routes


async def _get_openapi(request: Request) -> JSONResponse:
    """Return the OpenAPI document."""
    return JSONResponse(request.app.openapi())


@asynccontextmanager
async def _limit_threads(app: FastAPI) -> AsyncIterator[None]:
    del app
    current_default_thread_limiter().total_tokens = _THREADS
    yield


def _finish(document: dict[str, Any]) -> dict[str, Any]:
    """Add the schema of problems, and take out what FastAPI adds for its own form of errors."""
    schemas = document["components"]["schemas"]
    schemas[ProblemDocument.__name__] = ProblemDocument.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            operation["responses"] = dict(sorted(operation["responses"].items()))
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document


def _respond(problem: Problem) -> Response:
    return Response(problem.body(), problem.status, problem.headers, CONTENT_TYPE)


async def _answer_error(request: Request, error: Exception) -> Response:
    del request
    return _respond(describe_error(error))


async def _answer_invalid(request: Request, error: Exception) -> Response:
    del request
    return _respond(describe_invalid(error.errors() if isinstance(error, RequestValidationError) else ()))


async def _answer_status(request: Request, error: Exception) -> Response:
    if isinstance(error.__cause__, Problem):  # FastAPI hides what receiving the body raised
        return _respond(error.__cause__)
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (500, None)
    headers = dict(headers or {})
    if status == 405:  # the guard answers HEAD from GET
        allowed = headers.get("Allow", "")
        headers["Allow"] = allowed.replace("GET", "GET, HEAD") + ", OPTIONS"
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=headers)
    return _respond(describe_status(status, headers))


def with_cors(app: ASGIApp, settings: ServingSettings) -> ASGIApp:
    """Return `app`, which pages on the origins of `serving.cors_origins` may call; unchanged when there are none.

    A preflight is answered without a token, and grants nothing to an origin that is not listed. Put it around every
    other part, so that pages can read errors too.
    """
    if not settings.cors_origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=settings.cors_origins,
        allow_methods=("GET", "HEAD", "POST"),
        allow_headers=ALLOWED_HEADERS,
        expose_headers=EXPOSED_HEADERS,
        max_age=_PREFLIGHT_SECONDS,
    )


class Startable(Protocol):
    """Something that runs beside the application."""

    def start(self) -> None:
        """Begin."""


def build_application(
    services: ServingServices, parts: HitParts, startables: list[Startable], close: Callable[[], Awaitable[None]]
) -> ASGIApp:
    """Return the read API: reports first, then the other routes, and around both the rules for pages of other origins.

    Args:
        startables: started when the application starts, in the process and event loop that serve.
        close: called when it ends, after the last answer.
    """

    async def start() -> None:
        for item in startables:
            item.start()

    settings = services.context.settings.serving
    app = create_app(services)
    if settings.dashboard is not None:
        mount_dashboard(app, settings.dashboard)
    return with_cors(HitRoute(Lifespan(app, start, close), services, parts), settings)


class Lifespan:
    """Calls `start` and `stop` when an application has started and has ended."""

    def __init__(self, app: ASGIApp, start: Callable[[], Awaitable[None]], stop: Callable[[], Awaitable[None]]) -> None:
        self._app = app
        self._start = start
        self._stop = stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; messages of the lifespan call `start` or `stop` first."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return

        async def send_after(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await self._start()
            elif message["type"].startswith("lifespan.shutdown"):
                await self._stop()
            await send(message)

        await self._app(scope, receive, send_after)
