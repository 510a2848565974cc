"""What the routes of the read API work with."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from adwarm.backpressure import RequestQueue
from adwarm.backpressure.status import AdmissionStatus
from adwarm.foundation.clock import Clock
from adwarm.model import Actor, ReportKey
from adwarm.serving.drainers import Fetcher
from adwarm.serving.metrics import ServingMetrics
from adwarm.serving.ports import Authenticator, MissHandler, Open, OpenRecorder
from adwarm.serving.read_chain import ReadChain
from adwarm.serving.reader import Reader
from adwarm.store import Context
from adwarm.store.entries import Entry


class AdmissionState(Protocol):
    """Reads the shared budget."""

    def status(self, accounts: int | None = None, at: float | None = None) -> AdmissionStatus:
        """Return limits, parked scopes and breakers; see `SqlAdmission.status`."""


class TrafficCounter(Protocol):
    """Counts reads and first opens by hour, account and actor, and reads by entry."""

    def count(
        self, at: datetime, key: ReportKey, actor: Actor, status: str, latency_ms: float, entry: Entry | None
    ) -> None:
        """Count one read; never blocks and never fails."""


@dataclass(frozen=True, slots=True)
class ServingServices:
    """The objects of one serving process.

    Attributes:
        context: database, object store and settings.
        clock: the time of freshness and of expiry.
        chain: the read path with its fallbacks.
        queue: the request queue.
        admission: reads the state of the shared budget.
        authenticator: finds the token of a request.
        misses: requests what is missing or old.
        opens: records opens.
        counter: counts reads for `adwarm status`.
        metrics: counts reads for Prometheus.
        fetch_mode: how a missing report is fetched: this process `drains` the queue, `triggers` the DAG that does, or
            `waits` for its next run.
    """

    context: Context
    clock: Clock
    chain: ReadChain
    queue: RequestQueue
    admission: AdmissionState
    authenticator: Authenticator
    misses: MissHandler
    opens: OpenRecorder
    counter: TrafficCounter
    metrics: ServingMetrics
    fetch_mode: Fetcher = "waits"

    @property
    def reader(self) -> Reader:
        """The stored entries."""
        return self.chain.reader

    def record(self, item: Open, entry: Entry | None = None) -> None:
        """Record an open, and count it as a read of `entry`; never blocks and never fails."""
        self.metrics.observe_read(item.status, item.actor, item.latency_ms / 1000)
        self.counter.count(item.at, item.key, item.actor, status=item.status, latency_ms=item.latency_ms, entry=entry)
        if item.actor is not Actor.WARMER:
            self.opens.record(item)
