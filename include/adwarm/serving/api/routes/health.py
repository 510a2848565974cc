"""The health routes, the only ones that answer without a token. They say nothing about data, settings or errors."""

import asyncio
from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter, Request, Response

from adwarm.foundation.errors import AdwarmError, BadRequest
from adwarm.serving.api.models import Health, Readiness
from adwarm.serving.services import ServingServices
from adwarm.store.schema import require_current

router = APIRouter(tags=["health"])
_CHECK_SECONDS = 1.0
DatabaseState = Literal["ok", "unreachable", "needs_upgrade"]


@dataclass
class ReadinessCheck:
    """Checks the database at most once a second, however often anonymous callers ask.

    Attributes:
        services: whose database it is.
    """

    services: ServingServices
    _started_at: float = 0.0
    _check: "asyncio.Task[DatabaseState] | None" = None

    async def database_state(self) -> DatabaseState:
        """Return the state of the database, at most a second old."""
        now = self.services.clock.now().timestamp()
        is_old = not 0 <= now - self._started_at < _CHECK_SECONDS
        if self._check is None or (self._check.done() and is_old):
            self._started_at = now
            self._check = asyncio.get_running_loop().create_task(asyncio.to_thread(_read_state, self.services))
        return await asyncio.shield(self._check)


def _read_state(services: ServingServices) -> DatabaseState:
    try:
        require_current(services.context.engine)
    except BadRequest:
        return "needs_upgrade"
    except AdwarmError:
        return "unreachable"
    return "ok"


@router.get("/healthz", summary="Whether the process is alive", operation_id="get_health")
async def get_health() -> Health:
    """Answers without reading anything."""
    return Health()


@router.get(
    "/readyz",
    summary="Whether the process can serve",
    operation_id="get_readiness",
    responses={503: {"description": "The database is not usable.", "model": Readiness}},
)
async def get_readiness(request: Request, response: Response) -> Readiness:
    """Checks that the database can be reached and has the schema of this version."""
    check: ReadinessCheck = request.app.state.readiness
    state = await check.database_state()
    if state != "ok":
        response.status_code = 503
    return Readiness(
        status="ready" if state == "ok" else "not_ready", database=state, fetch_mode=check.services.fetch_mode
    )
