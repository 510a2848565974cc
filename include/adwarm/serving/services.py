"""What the routes of the read API work with."""

from dataclasses import dataclass
from typing import Literal, Protocol

from adwarm.backpressure import RequestQueue
from adwarm.backpressure.status import AdmissionStatus
from adwarm.foundation.clock import Clock
from adwarm.serving.metrics import ServingMetrics
from adwarm.serving.ports import Authenticator, MissHandler, Open, OpenRecorder
from adwarm.serving.reader import Reader
from adwarm.store import Context

FetchMode = Literal["here", "airflow", "schedule"]


class AdmissionState(Protocol):
    """Reads the shared budget."""

    def status(self) -> AdmissionStatus:
        """Return limits, parked scopes and breakers now."""


@dataclass(frozen=True, slots=True)
class ServingServices:
    """The objects of one serving process.

    Attributes:
        context: database, object store and settings.
        clock: the time of freshness and of expiry.
        reader: the read path.
        queue: the request queue.
        admission: reads the state of the shared budget.
        authenticator: finds the token of a request.
        misses: requests what is missing or old.
        opens: records opens.
        metrics: counts reads for Prometheus.
        fetch_mode: how a missing report is fetched, for `/readyz`: `here`, `airflow` or `schedule`.
    """

    context: Context
    clock: Clock
    reader: Reader
    queue: RequestQueue
    admission: AdmissionState
    authenticator: Authenticator
    misses: MissHandler
    opens: OpenRecorder
    metrics: ServingMetrics
    fetch_mode: FetchMode = "schedule"

    def record(self, item: Open) -> None:
        """Count an open in the metrics, and record it."""
        self.metrics.observe_read(item.status, item.actor, item.latency_ms / 1000)
        self.opens.record(item)
