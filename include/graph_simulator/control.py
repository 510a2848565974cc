"""Control routes, for programs on this machine only: time, faults, token, call log, report runs, and the planted truth.

`POST /control/clock {"now": "2026-11-25T12:00:00Z", "frozen": false}` or `{"advance_seconds": 3600}`,
`GET /control/calls`, `GET /control/log?after=0`, `GET` and `POST /control/faults`, `GET /control/reports`,
`GET /control/truth?account=act_1&day=2026-11-01`,
`GET /control/sums?account=act_1&level=campaign&since=2026-11-01&until=2026-11-07&daily=true`,
`POST /control/token {"token": "..."}`, `POST /control/reset`.
"""

from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from graph_simulator.app_state import AppState
from graph_simulator.caller_check import find_refusal
from graph_simulator.calls import CallCounts
from graph_simulator.config import canonical_account
from graph_simulator.date_ranges import DateRange
from graph_simulator.error_responses import InvalidValue
from graph_simulator.fault_profile import parse_fault_profile
from graph_simulator.report_runs import ReportRun, progress

SCOPE = "graph_simulator.platform"
"""Where the scope of a request has its `ServedPlatform`."""


class TokenSetting(BaseModel):
    """The body of `POST /control/token`: the token that is valid from now on, in place of the one so far."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(min_length=1)


class ClockSetting(BaseModel):
    """The body of `POST /control/clock`: a moment to set, or seconds to advance."""

    model_config = ConfigDict(extra="forbid")

    now: datetime | None = None
    advance_seconds: float | None = None
    frozen: bool = False

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.now is None) == (self.advance_seconds is None):
            raise ValueError("give now or advance_seconds")
        return self


@dataclass(frozen=True)
class ServedPlatform:
    """What a request of a served platform finds in its scope.

    Attributes:
        bound: the name or address that the server listens on, which callers of the control routes may use.
    """

    state: AppState
    bound: str | None


def served_platform(request: Request) -> ServedPlatform:
    """Return the platform that a request is for."""
    platform: ServedPlatform = request.scope[SCOPE]
    return platform


def _check_caller(request: Request) -> None:
    client = request.client.host if request.client else ""
    refusal = find_refusal(client, request.headers, request.url.scheme, served_platform(request).bound)
    if refusal is not None:
        raise HTTPException(403, refusal)


def _state(request: Request) -> AppState:
    return served_platform(request).state


State = Annotated[AppState, Depends(_state)]


def _set_headers(response: Response, state: State) -> None:
    response.headers.update(state.common_headers())


router = APIRouter(prefix="/control", dependencies=[Depends(_check_caller), Depends(_set_headers)])


@router.post("/clock")
async def _set_clock(setting: ClockSetting, state: State) -> dict[str, str]:
    if setting.now is not None:
        state.set_now(setting.now, frozen=setting.frozen)
    else:
        state.advance(setting.advance_seconds or 0)
    return {"now": state.clock.now().isoformat()}


@router.post("/reset")
async def _reset(state: State) -> dict[str, Any]:
    state.reset()
    return {"reset": True}


@router.get("/calls", response_model=None)
async def _read_calls(state: State) -> CallCounts:
    return state.calls.counts()


@router.get("/log", response_model=None)
async def _read_log(state: State, after: int = 0) -> dict[str, Any]:
    entries, next_after = state.calls.entries(after)
    return {"entries": [asdict(entry) for entry in entries], "next_after": next_after}


@router.get("/reports", response_model=None)
async def _read_reports(state: State) -> list[dict[str, Any]]:
    now = state.clock.now()
    return [_run_status(run, now) for run in state.report_runs.runs()]


@router.get("/truth", response_model=None)
async def _read_truth(state: State, account: str, day: date) -> list[dict[str, Any]]:
    try:
        return [asdict(truth) for truth in state.dataset.truths(canonical_account(account), day)]
    except InvalidValue as error:
        raise HTTPException(400, str(error)) from None


@router.get("/sums", response_model=None)
async def _read_sums(
    state: State, account: str, since: date, until: date, level: str = "ad", *, daily: bool = False
) -> list[dict[str, Any]]:
    try:
        window = DateRange(since, until)
        return [asdict(row) for row in state.sums(canonical_account(account), level, window, daily=daily)]
    except InvalidValue as error:
        raise HTTPException(400, str(error)) from None


@router.get("/faults", response_model=None)
async def _read_faults(state: State) -> dict[str, Any]:
    return state.fault_profile.model_dump(mode="json")


@router.post("/faults", response_model=None)
async def _set_faults(state: State, values: dict[str, Any]) -> dict[str, Any]:
    try:
        state.set_fault_profile(parse_fault_profile(values, "faults"))
    except InvalidValue as error:
        raise HTTPException(400, str(error)) from None
    return state.fault_profile.model_dump(mode="json")


@router.post("/token")
async def _renew_token(setting: TokenSetting, state: State) -> dict[str, bool]:
    state.renew_token(setting.token)
    return {"renewed": True}


def _run_status(run: ReportRun, now: datetime) -> dict[str, Any]:
    current = progress(run, now)
    return {
        "id": run.id,
        "account": run.account,
        "fate": run.outcome,
        "status": current.status,
        "percent": current.percent,
        "created": run.created,
        "ready_at": run.ready_at,
    }
