"""Control routes, for callers on this machine only: time, faults, the call log, reports, and what is true.

`POST /control/clock {"now": "2026-11-25T12:00:00Z", "frozen": false}` or `{"advance_seconds": 3600}`,
`GET /control/calls`, `GET /control/log?after=0`, `GET` and `POST /control/faults`, `GET /control/reports`,
`GET /control/truth?account=act_1&day=2026-11-01`,
`GET /control/sums?account=act_1&level=campaign&since=2026-11-01&until=2026-11-07&daily=true`, `POST /control/reset`.
"""

import ipaddress
from dataclasses import asdict
from datetime import date, datetime
from typing import Any, Self

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, model_validator

from adwarm.foundation.errors import BadRequest
from adwarm.model import Window, normalize_account_id
from graph_simulator.app_state import Platform
from graph_simulator.calls import CallCounts
from graph_simulator.fault_profile import read_storm
from graph_simulator.reports.job import progress


class ClockSetting(BaseModel):
    """What `POST /control/clock` takes: a moment to be, or a time to let pass."""

    model_config = ConfigDict(extra="forbid")

    now: datetime | None = None
    advance_seconds: float | None = None
    frozen: bool = False

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.now is None) == (self.advance_seconds is None):
            raise ValueError("give now or advance_seconds")
        return self


def control_routes(platform: Platform) -> APIRouter:
    """Return the control routes of a platform."""

    def dated(response: Response) -> None:
        response.headers.update(platform.dated())

    router = APIRouter(prefix="/control", dependencies=[Depends(_from_this_machine), Depends(dated)])
    _add_time(router, platform)
    _add_records(router, platform)
    _add_sums(router, platform)
    _add_faults(router, platform)
    return router


def _add_time(router: APIRouter, platform: Platform) -> None:
    @router.post("/clock")
    async def set_clock(setting: ClockSetting) -> dict[str, str]:
        if setting.now is not None:
            platform.set_now(setting.now, frozen=setting.frozen)
        else:
            platform.advance(setting.advance_seconds or 0)
        return {"now": platform.clock.now().isoformat()}

    @router.post("/reset")
    async def reset() -> dict[str, Any]:
        platform.reset()
        return {"reset": True}


def _add_records(router: APIRouter, platform: Platform) -> None:
    @router.get("/calls", response_model=None)
    async def read_calls() -> CallCounts:
        return platform.calls.counts()

    @router.get("/log", response_model=None)
    async def read_log(after: int = 0) -> dict[str, Any]:
        entries, next_after = platform.calls.entries(after)
        return {"entries": [asdict(entry) for entry in entries], "next_after": next_after}

    @router.get("/reports", response_model=None)
    async def read_reports() -> list[dict[str, Any]]:
        now = platform.clock.now()
        found = [(job, progress(job, now)) for job in platform.desk.jobs()]
        return [
            {
                "id": job.id,
                "account": job.account,
                "fate": job.fate,
                "status": seen.status,
                "percent": seen.percent,
                "created": job.created,
                "ready_at": job.ready_at,
            }
            for job, seen in found
        ]

    @router.get("/truth", response_model=None)
    async def read_truth(account: str, day: date) -> list[dict[str, Any]]:
        try:
            return [asdict(truth) for truth in platform.world.truths(normalize_account_id(account), day)]
        except BadRequest as error:
            raise HTTPException(400, str(error)) from None


def _add_sums(router: APIRouter, platform: Platform) -> None:
    @router.get("/sums", response_model=None)
    async def read_sums(
        account: str, since: date, until: date, level: str = "ad", *, daily: bool = False
    ) -> list[dict[str, Any]]:
        try:
            window = Window(since, until)
            return [asdict(row) for row in platform.sums(normalize_account_id(account), level, window, daily=daily)]
        except BadRequest as error:
            raise HTTPException(400, str(error)) from None


def _add_faults(router: APIRouter, platform: Platform) -> None:
    @router.get("/faults", response_model=None)
    async def read_faults() -> dict[str, Any]:
        return platform.storm.model_dump(mode="json")

    @router.post("/faults", response_model=None)
    async def set_faults(values: dict[str, Any]) -> dict[str, Any]:
        try:
            platform.set_storm(read_storm(values, "faults"))
        except BadRequest as error:
            raise HTTPException(400, str(error)) from None
        return platform.storm.model_dump(mode="json")


def _from_this_machine(request: Request) -> None:
    host = request.client.host if request.client else ""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise HTTPException(403, "the control routes answer callers on this machine only")
