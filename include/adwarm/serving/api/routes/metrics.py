"""The metrics route for Prometheus. It wants a token like any other: Prometheus sends one by `authorization`."""

from fastapi import APIRouter, Response

from adwarm.serving.api.dependencies import NEEDS_ADMIN, Services
from adwarm.serving.api.errors import problems
from adwarm.serving.metrics import METRICS_TYPE

router = APIRouter(tags=["state"])


@router.get(
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
