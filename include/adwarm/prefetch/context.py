"""What every part of the engine works with: database, objects, settings, upstreams and admission of one process."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Engine

from adwarm.backpressure import Admission
from adwarm.foundation.clock import Clock
from adwarm.recovery import RecoveryPipeline
from adwarm.settings import Settings
from adwarm.sources.protocol import InsightsSource
from adwarm.store import denials
from adwarm.store.objects import ObjectStore

MAX_CLOCK_OFFSET_SECONDS = 3_600.0
"""Clocks that differ by more are not both right; the platform's is taken for settling."""


@dataclass
class FetchContext:
    """The parts in use.

    Attributes:
        make_source: builds the source of accounts that belong to no other connection; called once per thread.
        owner: names this worker in leases and grants.
        sources: builds the sources of further connections, by name; each account is read by its own.
        release: called when a batch is done, to give back what admission still holds for this worker.
    """

    engine: Engine
    objects: ObjectStore
    settings: Settings
    make_source: Callable[[], InsightsSource]
    admission: Admission
    pipeline: RecoveryPipeline
    clock: Clock
    owner: str
    sources: Mapping[str, Callable[[], InsightsSource]] = field(default_factory=dict)
    release_grants: Callable[[], None] = field(default=lambda: None)
    _local: threading.local = field(default_factory=threading.local)
    _lifted: set[str] = field(default_factory=set, init=False)

    def get_source(self, connection: str) -> InsightsSource:
        """Return the source of a connection, as made for the calling thread."""
        made: dict[str, InsightsSource] = self._local.__dict__.setdefault("sources", {})
        if connection not in made:
            source = made[connection] = self.sources.get(connection, self.make_source)()
            if connection not in self._lifted:  # once a connection, whatever number of threads use it
                self._lifted.add(connection)
                denials.lift_outdated(self.engine, source.connection, source.credential)
        return made[connection]


def platform_time(now: datetime, offset_seconds: float | None) -> datetime:
    """Return `now`, or the platform's own time when the two differ by more than an hour.

    Args:
        now: the local clock.
        offset_seconds: how far the platform's clock is ahead of it; None when the platform did not say.
    """
    offset = timedelta(seconds=offset_seconds or 0.0)
    return now + offset if abs(offset.total_seconds()) > MAX_CLOCK_OFFSET_SECONDS else now
