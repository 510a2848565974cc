"""The platform over HTTP: Graph API paths for everybody, control routes (see `control`) for this machine only.

A path without a version is answered by the oldest one there is, as on the platform.
"""

import asyncio
import re
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from graph_simulator.app_state import AppState
from graph_simulator.calls import Call
from graph_simulator.config import SimulatorConfig
from graph_simulator.control import control_routes
from graph_simulator.faulty_response import WireResponse
from graph_simulator.graph_errors import GraphError, bad_parameter
from graph_simulator.parameters import folded
from graph_simulator.request_handler import VERSIONS

_METHODS = ["GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"]
_VERSION = re.compile(r"v[0-9]+\.[0-9]+")


def create_app(config: SimulatorConfig, platform: AppState | None = None) -> FastAPI:
    """Return the server of one platform; a new one unless `platform` is given."""
    behind = platform or AppState(config)
    app = FastAPI(title="adwarm simulator", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.platform = behind
    app.include_router(control_routes(behind))

    async def graph(request: Request, path: str = "") -> Response:
        try:
            call = await _call(request, path)
        except GraphError as refusal:
            return WireResponse(behind.refuse(refusal, VERSIONS[0]))
        with behind.calls.open_call(behind.account_of(call)):
            if config.latency_ms:
                await asyncio.sleep(config.latency_ms / 1000)
            return WireResponse(behind.reply(call))

    app.add_api_route("/{path:path}", graph, methods=_METHODS)
    return app


async def _call(request: Request, path: str) -> Call:
    """Return the call that a request is.

    Raises:
        GraphError: its body cannot be read.
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
        params=folded(items),
        url=str(request.url.replace(query="")),
        bearer=bearer.strip() if scheme.lower() in {"bearer", "oauth"} else None,
        method=request.method,
    )


async def _form(request: Request) -> list[tuple[str, str]]:
    """Return the parameters of a form, or of an object of JSON."""
    try:
        if request.headers.get("content-type", "").partition(";")[0].strip() == "application/json":
            found = orjson.loads(await request.body() or b"{}")
            if not isinstance(found, dict):
                raise bad_parameter("The body must be an object")
            return [
                (name, item if isinstance(item, str) else orjson.dumps(item).decode()) for name, item in found.items()
            ]
        async with request.form() as form:
            return [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    except (HTTPException, AttributeError, ValueError):
        raise bad_parameter("The body cannot be read") from None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
