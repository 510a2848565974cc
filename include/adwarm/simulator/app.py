"""The platform over HTTP: Graph API paths for everybody, control routes (see `control`) for this machine only."""

import asyncio

from fastapi import FastAPI, Request, Response

from adwarm.simulator.call import Call
from adwarm.simulator.config import SimulatorConfig
from adwarm.simulator.control import control_routes
from adwarm.simulator.faults.wire import WireResponse
from adwarm.simulator.platform import Platform


def create_app(config: SimulatorConfig, platform: Platform | None = None) -> FastAPI:
    """Return the server of one platform; a new one unless `platform` is given."""
    behind = platform or Platform(config)
    app = FastAPI(title="adwarm simulator", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.platform = behind
    app.include_router(control_routes(behind))

    async def graph(request: Request, version: str, path: str = "") -> Response:
        call = await _call(request, version, path)
        with behind.calls.open_call(behind.account_of(call)):
            if config.latency_ms:
                await asyncio.sleep(config.latency_ms / 1000)
            return WireResponse(behind.reply(call))

    app.add_api_route("/{version}/{path:path}", graph, methods=["GET", "POST"])
    app.add_api_route("/{version}", graph, methods=["GET", "POST"])
    return app


async def _call(request: Request, version: str, path: str) -> Call:
    params = dict(request.query_params)
    if request.method == "POST":
        async with request.form() as form:
            params.update({name: value for name, value in form.items() if isinstance(value, str)})
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    return Call(
        version=version,
        parts=tuple(part for part in path.split("/") if part),
        params=params,
        url=str(request.url.replace(query="")),
        bearer=bearer.strip() if scheme.lower() in {"bearer", "oauth"} else None,
        method=request.method,
    )
