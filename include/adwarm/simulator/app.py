"""The platform over HTTP: Graph API paths for everybody, control routes for callers on this machine only.

Control: `POST /control/clock {"now": "2026-11-25T12:00:00Z", "frozen": false}`, `GET /control/calls`,
`POST /control/reset`.
"""

import asyncio
import ipaddress
from datetime import datetime
from typing import Any

import orjson
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict

from adwarm.simulator.calls import CallCounts
from adwarm.simulator.config import SimulatorConfig
from adwarm.simulator.errors import GraphError
from adwarm.simulator.platform import Call, Platform

_MEDIA = "application/json; charset=UTF-8"


class ClockSetting(BaseModel):
    """What `POST /control/clock` takes."""

    model_config = ConfigDict(extra="forbid")

    now: datetime
    frozen: bool = False


def create_app(config: SimulatorConfig, platform: Platform | None = None) -> FastAPI:
    """Return the server of one platform; a new one unless `platform` is given."""
    behind = platform or Platform(config)
    app = FastAPI(title="adwarm simulator", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.platform = behind
    app.include_router(_control(behind))

    async def graph(request: Request, version: str, path: str = "") -> Response:
        if config.latency_ms:
            await asyncio.sleep(config.latency_ms / 1000)
        return _answer(behind, await _call(request, version, path))

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
    )


def _answer(platform: Platform, call: Call) -> Response:
    status, body = 200, b""
    headers: dict[str, str] = {}
    try:
        body = orjson.dumps(platform.answer(call))
    except GraphError as error:
        status, headers = error.status, error.headers
        body = orjson.dumps(error.body(platform.calls.counts()["total"]))
    platform.calls.record(call.account, call.kind, status)
    headers = {**platform.usage_headers(call), **headers, "facebook-api-version": call.version}
    return Response(body, status_code=status, media_type=_MEDIA, headers=headers)


def _from_this_machine(request: Request) -> None:
    host = request.client.host if request.client else ""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise HTTPException(403, "the control routes answer callers on this machine only")


def _control(platform: Platform) -> APIRouter:
    router = APIRouter(prefix="/control", dependencies=[Depends(_from_this_machine)])

    @router.post("/clock")
    async def set_clock(setting: ClockSetting) -> dict[str, str]:
        platform.set_now(setting.now, frozen=setting.frozen)
        return {"now": platform.clock.now().isoformat()}

    @router.get("/calls", response_model=None)
    async def read_calls() -> CallCounts:
        return platform.calls.counts()

    @router.post("/reset")
    async def reset() -> dict[str, Any]:
        platform.reset()
        return {"reset": True}

    return router
