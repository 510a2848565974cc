"""Puts the rooms together for one process: the only place that knows which parts are in use."""

import os
import random
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from sqlalchemy import Engine

from adwarm.backpressure import BlockAdmission, MemoryAwareAdmission, RequestQueue, SqlAdmission
from adwarm.backpressure.memory_pressure import machine_turn
from adwarm.fetch_plan.request_cost import StoredDaysPricer
from adwarm.foundation.clock import Clock, SystemClock
from adwarm.foundation.errors import BadRequest
from adwarm.model import Scope
from adwarm.prefetch import PrefetchEngine
from adwarm.prefetch.queue_worker import BATCH_SIZE
from adwarm.recovery import RecoveryOptions, RecoveryPipeline
from adwarm.serving import QueueWorker, Reader
from adwarm.settings import Settings, load_settings
from adwarm.sources.protocol import InsightsSource
from adwarm.store import Context, ObjectStore, open_engine, upgrade
from adwarm.store.error_events import ErrorLog
from adwarm.store.healing_runs import HealingStore
from adwarm.store.isolated_sources import IsolationStore
from adwarm.store.schema import get_current_revision, get_head_revision, require_current

SourceFactory = Callable[[], InsightsSource]


@dataclass
class Runtime:
    """Everything a task or a command works with.

    Attributes:
        clock: the time the run acts at; leases and grants go by the database's own clock.
        make_source: builds an upstream; from the settings unless the caller brings a connection.
        sources: builds the upstreams of further connections, by name; from the settings unless the caller brings them.
    """

    settings: Settings = field(default_factory=load_settings)
    clock: Clock = field(default_factory=SystemClock)
    make_source: SourceFactory | None = None
    sources: Mapping[str, SourceFactory] | None = None

    @cached_property
    def engine(self) -> Engine:
        """The database, with the schema this code needs.

        The embedded SQLite file is upgraded by itself; a server's schema is changed only by `adwarm db upgrade`.
        """
        engine = open_engine(self.settings.database, self.settings.sql)
        if engine.dialect.name != "sqlite":
            require_current(engine)
        elif get_current_revision(engine) != get_head_revision():
            upgrade(engine)
        return engine

    @cached_property
    def objects(self) -> ObjectStore:
        """The object store."""
        return ObjectStore(self.settings.data)

    @cached_property
    def context(self) -> Context:
        """Database, objects and settings, as most functions take them."""
        return Context(self.engine, self.objects, self.settings)

    @cached_property
    def owner(self) -> str:
        """Names this process in leases and grants."""
        return f"{socket.gethostname()[:40]}:{os.getpid()}:{random.SystemRandom().randrange(16**6):06x}"

    @cached_property
    def admission(self) -> SqlAdmission:
        """The shared budget."""
        return SqlAdmission(
            self.engine,
            self.settings.backpressure,
            owner=self.owner,
            rng=random.SystemRandom(),
            on_overlong_park=self._alert_long_park,
        )

    @cached_property
    def block_admission(self) -> BlockAdmission:
        """The shared budget, taken in blocks of permits and spent in this process."""
        permits, longest = self.settings.backpressure.block_permits, self.settings.account_seconds
        return BlockAdmission(self.admission, permits, longest_call_seconds=longest)

    @cached_property
    def single_call_admission(self) -> MemoryAwareAdmission:
        """The shared budget for a process that makes one call; where memory is short its machine makes one a second."""
        limit, machine = self.settings.backpressure.memory_percent, socket.gethostname()[:40]
        turn = machine_turn(self.engine, machine)
        return MemoryAwareAdmission(self.admission, SystemClock(), limit, turn=turn)

    @cached_property
    def queue(self) -> RequestQueue:
        """The requests that wait for a worker."""
        return RequestQueue(self.engine, self.settings.backpressure, owner=self.owner)

    @cached_property
    def pipeline(self) -> RecoveryPipeline:
        """Retry, heal, fall back, alert."""
        return RecoveryPipeline(
            self.settings.recovery,
            ErrorLog(self.engine),
            self.clock,
            random.SystemRandom(),
            RecoveryOptions(ledger=HealingStore(self.engine), isolation=IsolationStore(self.engine)),
        )

    @cached_property
    def reader(self) -> Reader:
        """The read path."""
        return Reader(self.engine, self.settings, self.clock)

    @property
    def log_url(self) -> str:
        """Where the access log is.

        Raises:
            BadRequest: no log is configured.
        """
        if not self.settings.log_url:
            raise BadRequest("no access log is configured; set ADWARM_ACCESS_LOG_URL to a file, folder, glob or URL")
        return self.settings.log_url

    @cached_property
    def request_costs(self) -> StoredDaysPricer:
        """What the planner asks which requests a key would take."""
        return StoredDaysPricer(self.engine, self.settings)

    def _alert_long_park(self, scope: Scope, seconds: float) -> None:
        """Tell a person that a platform asked for a silence that is too long to be meant."""
        longest = self.settings.backpressure.longest_park_seconds
        words = (
            f"the platform asked for {seconds:,.0f} s of silence; {scope} is parked for at most {longest:,.0f} s "
            "(ADWARM_BACKPRESSURE__LONGEST_PARK_SECONDS)"
        )
        self.pipeline.alert(str(scope), "OverlongPark", words)

    def prefetch_engine(self) -> PrefetchEngine:
        """Return an engine that makes keys fresh."""
        return PrefetchEngine(
            self.engine,
            self.objects,
            self.settings,
            self.make_source or source_factory(self.settings, self.clock),
            MemoryAwareAdmission(self.block_admission, SystemClock(), self.settings.backpressure.memory_percent),
            self.pipeline,
            self.clock,
            self.owner,
            connection_factories(self.settings, self.clock) if self.sources is None else self.sources,
            release_grants=self.block_admission.release_idle,
        )

    def queue_worker(self, batch_size: int = BATCH_SIZE) -> QueueWorker:
        """Return a worker for the request queue."""
        return QueueWorker(self.prefetch_engine(), self.queue, batch_size)


def source_factory(settings: Settings, clock: Clock | None = None) -> SourceFactory:
    """Return what builds the source that the settings name.

    Raises:
        BadRequest: a setting it needs is missing; the message says which.
    """
    from adwarm.sources.factory import build_factory

    return build_factory(settings, clock=clock)


def connection_factories(settings: Settings, clock: Clock | None = None) -> dict[str, SourceFactory]:
    """Return what builds the sources of the further connections that the settings name.

    Raises:
        BadRequest: a setting that one of them needs is missing.
    """
    if not settings.connections:
        return {}
    from adwarm.sources.factory import build_factories

    return build_factories(settings, clock)
