"""The platform over HTTP: Graph API paths for all callers, control routes (see `control`) for this machine only.

As on the platform, a path without a version is served by the oldest version.
"""

import asyncio
import re
from functools import cache

import orjson
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from graph_simulator.app_state import AppState
from graph_simulator.calls import Call
from graph_simulator.config import SimulatorConfig
from graph_simulator.control import SCOPE, ServedPlatform, router, served_platform
from graph_simulator.creatives import thumbnail
from graph_simulator.error_responses import GraphError, bad_parameter
from graph_simulator.faulty_response import WireResponse
from graph_simulator.parameters import fold_parameters
from graph_simulator.request_handler import VERSIONS

_METHODS = ["GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"]
_VERSION = re.compile(r"v[0-9]+\.[0-9]+")


class PlatformApp:
    """The ASGI app of one platform. The routes are the same for all: making them takes longer than many a test.

    Args:
        state: its state; made from `config` when None.
        bound: the name or address that the server listens on, which callers of the control routes may use.
    """

    def __init__(self, config: SimulatorConfig, state: AppState | None = None, bound: str | None = None) -> None:
        self._platform = ServedPlatform(state or AppState(config), bound)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await _routes()({**scope, SCOPE: self._platform}, receive, send)


@cache
def _routes() -> FastAPI:
    app = FastAPI(title="adwarm simulator", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.include_router(router)
    app.add_api_route("/cdn/{name}", _picture, methods=["GET"])
    app.add_api_route("/{path:path}", _graph, methods=_METHODS)
    return app


async def _graph(request: Request, path: str = "") -> Response:
    state = served_platform(request).state
    try:
        call = await _call(request, path)
    except GraphError as error:
        return WireResponse(state.error_reply(error, VERSIONS[0]))
    with state.calls.open_call(state.account_of(call)):
        if state.config.latency_ms:
            await asyncio.sleep(state.config.latency_ms / 1000)
        return WireResponse(state.reply(call))


async def _picture(request: Request) -> Response:
    now = served_platform(request).state.clock.now()
    status, media, body = thumbnail(request.url.path, request.query_params, now)
    return Response(body, status, media_type=media)


async def _call(request: Request, path: str) -> Call:
    """Return the call that a request makes.

    Raises:
        GraphError: the body cannot be read.
    """
    items = list(request.query_params.multi_items())
    if request.method != "GET":
        items += await _form(request)
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    parts = [part for part in path.split("/") if part]
    version = parts.pop(0) if parts and _VERSION.fullmatch(parts[0]) else VERSIONS[-1]
    return Call(
        version=version,
        parts=tuple(parts),
        params=fold_parameters(items),
        url=str(request.url.replace(query="")),
        bearer=bearer.strip() if scheme.lower() in {"bearer", "oauth"} else None,
        method=request.method,
    )


async def _form(request: Request) -> list[tuple[str, str]]:
    """Return the parameters of a form or of a JSON object.

    Raises:
        GraphError: the body is neither.
    """
    try:
        if request.headers.get("content-type", "").partition(";")[0].strip() == "application/json":
            values = orjson.loads(await request.body() or b"{}")
            if not isinstance(values, dict):
                raise bad_parameter("The body must be an object")
            return [
                (name, value if isinstance(value, str) else orjson.dumps(value).decode())
                for name, value in values.items()
            ]
        async with request.form() as form:
            return [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    except (HTTPException, AttributeError, ValueError):
        raise bad_parameter("The body cannot be read") from None
