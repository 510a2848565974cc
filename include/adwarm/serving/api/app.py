"""The read API as an ASGI application, and its OpenAPI document."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from anyio.to_thread import current_default_thread_limiter
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from adwarm.foundation.errors import AdwarmError
from adwarm.maintenance.state_metrics import StateReader
from adwarm.serving.api.dependencies import SINGLE_VALUES, bearer
from adwarm.serving.api.errors import describe_error, describe_invalid, describe_status
from adwarm.serving.api.guard import Guard
from adwarm.serving.api.models import ProblemDocument
from adwarm.serving.api.routes import (
    accounts,
    arrivals,
    batch,
    capacity,
    errors,
    health,
    insights,
    integrity,
    metrics,
    recovery,
    requests,
    scores,
)
from adwarm.serving.problems import CONTENT_TYPE, Problem
from adwarm.serving.services import ServingServices

OPENAPI_PATH: Final = "/v1/openapi.json"
_VERSION = "1"
_THREADS = 4
"""Threads of the routes: few, so that a flood of slow requests leaves connections and memory to the hits."""
_DESCRIPTION = """Reads reports from adwarm's cache. Every route but `/healthz` and `/readyz` needs a token:
`Authorization: Bearer adwarm_...`. Errors are problem details (RFC 9457)."""


def create_app(services: ServingServices) -> FastAPI:
    """Return the application: every route, behind the guard.

    `with_cors` belongs around it, and around whatever answers ahead of it.
    """
    app = _make_app()
    app.state.services = services
    app.state.readiness = health.ReadinessCheck(services)
    reader = StateReader(services.context, services.clock, services.queue)
    services.metrics.show_state(reader)
    services.metrics.show_waiting(lambda: services.misses.waiting)
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
    )
    app.include_router(health.router)
    for module in (insights, batch, scores, accounts, requests, arrivals, capacity, errors, recovery, integrity):
        app.include_router(module.router, prefix="/v1", dependencies=[Depends(bearer), SINGLE_VALUES])
    app.include_router(metrics.router, dependencies=[Depends(bearer)])
    document: dict[str, Any] = {}

    @app.get(OPENAPI_PATH, include_in_schema=False, dependencies=[Depends(bearer)])
    async def get_openapi() -> JSONResponse:
        """Return the OpenAPI document."""
        return JSONResponse(document or app.openapi())

    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_status)
    for kind in (Problem, AdwarmError):
        app.add_exception_handler(kind, _answer_error)
    plain_openapi = app.openapi

    def openapi() -> dict[str, Any]:
        if not document:
            document.update(_finish(plain_openapi()))
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # the documented way to change the document
    return app


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
