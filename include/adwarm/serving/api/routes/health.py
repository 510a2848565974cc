"""Routes for those that watch the process: metrics, and health, which answers without a token and says nothing else."""

import asyncio
from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from adwarm.foundation.errors import AdwarmError, BadRequest
from adwarm.serving.api.errors import problems
from adwarm.serving.api.guard import NEEDS_ADMIN, Services
from adwarm.serving.api.models import Health, Readiness
from adwarm.serving.services import METRICS_TYPE, ServingServices
from adwarm.store.database import identify_database
from adwarm.store.schema import require_current, require_objects

router = APIRouter(tags=["health"])
_CHECK_SECONDS = 1.0
DatabaseState = Literal["ok", "unreachable", "needs_upgrade"]
ObjectsState = Literal["ok", "missing"]
metrics_router = APIRouter(tags=["state"])


@dataclass(frozen=True, slots=True)
class StoreState:
    """The state of the database and of the objects."""

    database: DatabaseState = "ok"
    objects: ObjectsState = "ok"

    @property
    def is_ready(self) -> bool:
        """Whether both can be used."""
        return self.database == "ok" and self.objects == "ok"


@dataclass
class ReadinessCheck:
    """Checks database and objects at most once a second, however often anonymous callers ask."""

    services: ServingServices
    _started_at: float = 0.0
    _check: "asyncio.Task[StoreState] | None" = None

    async def store_state(self) -> StoreState:
        """Return the state of database and objects, at most a second old."""
        now = self.services.clock.now().timestamp()
        is_old = not 0 <= now - self._started_at < _CHECK_SECONDS
        if self._check is None or (self._check.done() and is_old):
            self._started_at = now
            self._check = asyncio.get_running_loop().create_task(run_in_threadpool(_read_state, self.services))
        return await asyncio.shield(self._check)


def _read_state(services: ServingServices) -> StoreState:
    try:
        require_current(services.context.engine)
    except BadRequest:
        return StoreState("needs_upgrade")
    except AdwarmError:
        return StoreState("unreachable")
    try:
        require_objects(services.context)
    except AdwarmError:
        return StoreState(objects="missing")
    return StoreState()


@router.get("/healthz", summary="Whether the process is alive", operation_id="get_health")
async def get_health() -> Health:
    """Answers without reading anything."""
    return Health()


@router.get(
    "/readyz",
    summary="Whether the process can serve",
    operation_id="get_readiness",
    responses={
        503: {
            "description": "The database is not usable, or the folder of the stored days is gone.",
            "model": Readiness,
        }
    },
)
async def get_readiness(request: Request, response: Response) -> Readiness:
    """Checks that the database is there with the schema of this version, and the folder of the stored days."""
    check: ReadinessCheck = request.app.state.readiness
    state = await check.store_state()
    if not state.is_ready:
        response.status_code = 503
    return Readiness(
        status="ready" if state.is_ready else "not_ready",
        database=state.database,
        objects=state.objects,
        fetch_mode=check.services.fetch_mode,
        database_id=identify_database(check.services.context.engine),
    )


@metrics_router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    operation_id="get_metrics",
    response_class=Response,
    dependencies=[NEEDS_ADMIN],
    responses={
        200: {"description": "Prometheus' text format.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **problems(),
    },
)
def get_metrics(services: Services) -> Response:
    """Reads by result, queue, breakers, parked scopes, entries, compression and tokens; no label names an account."""
    return Response(services.metrics.expose(), media_type=METRICS_TYPE)
