"""Wires the packages together for one process: the only module that chooses implementations.

What not every process uses is imported by the property that creates it.
"""

import logging
import os
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from adwarm.backpressure import MachineGuard, ProcessAdmission, RequestQueue, SqlAdmission
from adwarm.backpressure.scope_state import MAX_PARK_SECONDS
from adwarm.compression.stored_bytes import VerifiedPayloads
from adwarm.foundation.clock import Clock, ShiftedClock, SystemClock
from adwarm.foundation.errors import StorageError
from adwarm.foundation.simulation_note import read_note
from adwarm.model import Scope
from adwarm.recovery import Healer, IsolationTracker, RecoveryPipeline, StoredAlerts
from adwarm.recovery.alert_delivery import NoticeSender
from adwarm.recovery.call import STORED_DATA, Call
from adwarm.recovery.channels import AppriseSender, Channel
from adwarm.settings import HealerSettings, Settings, load_settings
from adwarm.settings.recovery_sections import AppriseChannel, NotifierChannel
from adwarm.store import Context, ObjectStore, open_engine, report_versions, upgrade
from adwarm.store.error_events import ErrorLog
from adwarm.store.gates import SqlGates
from adwarm.store.healing_runs import HealingStore
from adwarm.store.schema import needs_upgrade, require_current

if TYPE_CHECKING:
    from adwarm.actions.audit import ActionServices
    from adwarm.maintenance.account_discovery import AccountDiscovery
    from adwarm.maintenance.steps import MaintenanceParts
    from adwarm.pages.tab import PageServices
    from adwarm.planning.key_facts import KeyExplainer
    from adwarm.prefetch import PrefetchEngine
    from adwarm.prefetch.queue_worker import QueueWorker
    from adwarm.serving import ReadChain, Reader
    from adwarm.serving.local_caches import LocalCaches
    from adwarm.sources.pool import Reload, SourceFactory, SourcePool

log = logging.getLogger(__name__)


@dataclass
class Runtime:
    """The objects that a task or a command works with, each created on first use.

    Attributes:
        settings: read from the environment by default.
        clock: the time the run acts at. Leases and grants use the database's own clock.
        make_source: creates the upstream source; built from the settings when None.
        sources: creates the sources of further connections, by name; built from the settings when None.
        make_notifier: creates the channel of a notifier of Airflow; None outside Airflow, where tasks send its notices.
        reloads: reads connections again whose token is dead, by name, the default one by the empty name; those of the
            settings are read from the settings.
    """

    settings: Settings = field(default_factory=load_settings)
    clock: Clock = field(default_factory=SystemClock)
    make_source: "SourceFactory | None" = None
    sources: "Mapping[str, SourceFactory] | None" = None
    make_notifier: Callable[[NotifierChannel], Channel] | None = None
    reloads: "Mapping[str, Reload]" = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.simulation = read_note(self.settings.home)
        if self.simulation and self.simulation.at and isinstance(self.clock, SystemClock):
            self.clock = ShiftedClock(self.simulation.at)

    @cached_property
    def engine(self) -> Engine:
        """The database, with the schema that this version needs.

        The embedded SQLite file is upgraded automatically; a server only by `adwarm db upgrade`.
        """
        engine = open_engine(self.settings.database, self.settings.sql)
        if engine.dialect.name != "sqlite":
            require_current(engine)
        elif needs_upgrade(engine):
            upgrade(engine)
        self._choose_queries(engine)
        self._make_notice_sender(engine)
        return engine

    def _choose_queries(self, engine: Engine) -> None:
        """Let the settings return the queries of reports that are in use, which a change of settings replaces later."""
        settings, now = self.settings, self.clock.now()
        configured = {name: settings.configured_spec(name) for name in settings.reports}
        try:
            settings.use_specs(report_versions.register(engine, configured, now))
        except StorageError as error:  # a database that cannot be written can still be read
            log.warning("the queries of reports were not registered: %s", error)
            settings.use_specs(report_versions.load_specs(engine, configured))

    @cached_property
    def objects(self) -> ObjectStore:
        """The object store."""
        return ObjectStore(self.settings.data)

    @cached_property
    def context(self) -> Context:
        """Database, object store and settings, as most functions take them."""
        return Context(self.engine, self.objects, self.settings, self._report_damage)

    @cached_property
    def owner(self) -> str:
        """Name of this process in leases and grants."""
        return f"{socket.gethostname()[:40]}:{os.getpid()}:{random.SystemRandom().randrange(16**6):06x}"

    @cached_property
    def admission(self) -> SqlAdmission:
        """Admission of calls against the shared limits."""
        return SqlAdmission(
            self.engine,
            self.settings.backpressure,
            owner=self.owner,
            rng=random.SystemRandom(),
            on_overlong_park=self._alert_long_park,
        )

    @cached_property
    def call_admission(self) -> ProcessAdmission:
        """Admission of the calls of this process, which also holds them to the limit of its machine."""
        seconds = self.settings.account_seconds
        return ProcessAdmission(self.admission, self.machine_guard, longest_call_seconds=seconds)

    @cached_property
    def machine_guard(self) -> MachineGuard:
        """Holds the calls of this process to the limit of its machine."""
        return MachineGuard(self.engine, self.settings.backpressure, self.owner, SystemClock())

    @cached_property
    def queue(self) -> RequestQueue:
        """The queue of requests."""
        return RequestQueue(self.engine, self.settings.backpressure, owner=self.owner)

    @cached_property
    def pipeline(self) -> RecoveryPipeline:
        """Retries, healing, fallbacks and alerts around a call."""
        return RecoveryPipeline(
            self.settings.recovery,
            self.errors,
            self.clock,
            random.SystemRandom(),
            alerts=self.alerts,
            ledger=HealingStore(self.engine),
            gates=SqlGates(self.engine),
            is_source_failing=self.admission.is_source_failing,
            owner=self.owner,
            healers=build_healers(self.settings.recovery.healers, self),
        )

    @cached_property
    def isolation(self) -> IsolationTracker:
        """Which connections, accounts and fallbacks are isolated."""
        return IsolationTracker(SqlGates(self.engine), self.settings.recovery, self.clock)

    @cached_property
    def errors(self) -> ErrorLog:
        """The error history."""
        return ErrorLog(self.engine, self.settings.retention)

    @cached_property
    def notice_sender(self) -> NoticeSender:
        """Sends notices of alerts to the channels that this process can use."""
        return self._make_notice_sender(self.engine)

    def _make_notice_sender(self, engine: Engine) -> NoticeSender:
        """Return a sender for a database; the end of the process sends what is due there."""
        channels: list[Channel] = []
        for channel in self.settings.alerts.channels:
            if isinstance(channel, AppriseChannel):
                channels.append(AppriseSender(channel))
            elif isinstance(channel, NotifierChannel) and self.make_notifier is not None:
                channels.append(self.make_notifier(channel))
        sender = NoticeSender(engine, self.settings.alerts, channels)
        if channels:
            sender.flush_at_exit()
        return sender

    @cached_property
    def alerts(self) -> StoredAlerts:
        """Raises, resolves and delivers alerts."""
        return StoredAlerts(self.engine, self.settings.alerts, self.errors, self.notice_sender, self.clock)

    @cached_property
    def source_pool(self) -> "SourcePool":
        """The sources of this process, by connection and thread.

        Raises:
            BadRequest: a required setting is missing.
        """
        from adwarm.sources.factory import build_reload
        from adwarm.sources.pool import SourcePool

        connections = connection_factories(self.settings, self.clock) if self.sources is None else self.sources
        of_settings = [""] if self.make_source is None else []
        of_settings += connections if self.sources is None else []
        reloads = {name: build_reload(self.settings, name, self.clock) for name in of_settings}
        return SourcePool(self.default_source_factory, connections, {**reloads, **self.reloads})

    @cached_property
    def verified(self) -> VerifiedPayloads:
        """The stored payloads that this process knows to be whole."""
        return VerifiedPayloads()

    @cached_property
    def caches(self) -> "LocalCaches":
        """The caches of this process that healing may clear."""
        from adwarm.serving.local_caches import LocalCaches

        return LocalCaches()

    @cached_property
    def reader(self) -> "Reader":
        """The read path."""
        from adwarm.serving import Reader

        reader = Reader(self.context, self.clock)
        self.caches.add(reader)
        return reader

    @cached_property
    def read_chain(self) -> "ReadChain":
        """The read path with the fallback chain of the settings."""
        from adwarm.serving import ReadChain

        return ReadChain(self.reader, self.prefetch_engine)

    @property
    def default_source_factory(self) -> "SourceFactory":
        """Creates the source of accounts that belong to no further connection.

        Raises:
            BadRequest: a required setting is missing.
        """
        return self.make_source or source_factory(self.settings, self.clock)

    def _report_damage(self, error: Exception, account_id: str | None, subject: str | None) -> None:
        """Record damaged data that a reader has met, and let the healers of the settings act on it."""
        self.pipeline.heal(error, call=Call(STORED_DATA, account_id=account_id, subject=subject))

    def _alert_long_park(self, scope: Scope, seconds: float) -> None:
        """Alert that the platform asked for a longer park than any is, which is probably a fault."""
        message = (
            f"the platform asked for a pause of {seconds:,.0f} s; {scope} is parked for at most "
            f"{MAX_PARK_SECONDS:,.0f} s; `adwarm status --all` shows it, and `adwarm gate open` ends it"
        )
        self.pipeline.alert(self.settings.source.kind, "OverlongPark", message)

    def prefetch_engine(self) -> "PrefetchEngine":
        """Return a new engine that fetches keys."""
        from adwarm.prefetch import PrefetchEngine

        return PrefetchEngine(
            context=self.context,
            sources=self.source_pool,
            admission=self.call_admission,
            pipeline=self.pipeline,
            clock=self.clock,
            owner=self.owner,
            verified=self.verified,
        )

    def source_factories(self) -> "dict[str, SourceFactory]":
        """Return what returns the calling thread's source of each connection, by the name of the connection.

        The default one comes first: that of the settings is `default`.

        Raises:
            BadRequest: a required setting is missing; the message names it.
        """
        pool = self.source_pool
        first = "default" if self.make_source is None else pool.get_name("")
        names = {first: "", **{name: name for name in pool.factories}}
        return {name: partial(pool.get, key) for name, key in names.items()}

    def account_discovery(self, *, with_retries: bool = True) -> "AccountDiscovery":
        """Return a new discovery of accounts; without retries, a call that fails is not made again."""
        from adwarm.maintenance.account_discovery import AccountDiscovery

        pipeline = self.pipeline if with_retries else None
        return AccountDiscovery(self.context, self.call_admission, pipeline, self.clock)

    def maintenance_parts(self) -> "MaintenanceParts":
        """Return what the steps of maintenance work with; they act at the time of the machine or of its home."""
        from adwarm.maintenance.platform_calls import PlatformCalls
        from adwarm.maintenance.steps import MaintenanceParts

        clock = self.clock if isinstance(self.clock, SystemClock) else SystemClock()
        calls = PlatformCalls(self.context, self.call_admission, clock, self.source_factories, self.isolation)
        return MaintenanceParts(
            context=self.context,
            queue=self.queue,
            admission=self.admission,
            calls=calls,
            pipeline=self.pipeline,
            isolations=self.isolation,
            alerts=self.alerts,
            clock=clock,
            owner=self.owner,
        )

    def queue_worker(self, batch_size: int | None = None) -> "QueueWorker":
        """Return a new worker for the request queue; it takes `batch_size` requests at a time, None for its default."""
        from adwarm.prefetch.queue_worker import BATCH_SIZE, QueueWorker

        return QueueWorker(self.prefetch_engine(), self.queue, batch_size or BATCH_SIZE)

    @cached_property
    def action_services(self) -> "ActionServices":
        """What the actions of people work with."""
        from adwarm.actions.audit import ActionServices

        return ActionServices(
            context=self.context,
            clock=self.clock,
            queue=self.queue,
            admission=self.admission,
            isolation=self.isolation,
            owner=self.owner,
        )

    @cached_property
    def key_explainer(self) -> "KeyExplainer":
        """Explains why keys were or were not warm."""
        from adwarm.planning.key_facts import KeyExplainer

        return KeyExplainer(self.context)

    @cached_property
    def page_services(self) -> "PageServices":
        """What the web page reads and acts with."""
        from adwarm.pages.tab import PageServices
        from adwarm.sources.factory import find_noun

        return PageServices(
            context=self.context,
            clock=self.clock,
            admission=self.admission,
            queue=self.queue,
            chain=self.read_chain,
            isolation=self.isolation,
            alerts=self.alerts,
            errors=self.errors,
            actions=self.action_services,
            get_explainer=lambda: self.key_explainer,
            noun=find_noun(self.settings),
            simulation=self.simulation,
        )


def build_healers(entries: Sequence[HealerSettings], runtime: Runtime) -> list[Healer]:
    """Return the healers that settings describe, in their order, for the process of `runtime`."""
    from adwarm.prefetch.healers import PartitionRefetch, SessionRestart, TokenRefresh
    from adwarm.recovery.healing import CustomHealer
    from adwarm.recovery.retry import ErrorFilter
    from adwarm.serving.local_caches import CacheClear

    def build(entry: HealerSettings) -> Healer:
        errors, cooldown = ErrorFilter.of(entry), entry.cooldown_seconds
        match entry.action:
            case "token_refresh":
                return TokenRefresh(lambda: runtime.source_pool, errors, cooldown)
            case "session_restart":
                return SessionRestart(lambda: runtime.source_pool, errors, cooldown)
            case "partition_refetch":
                return PartitionRefetch(runtime.context, runtime.queue, runtime.clock, errors, cooldown)
            case "cache_clear":
                return CacheClear(runtime.engine, lambda: runtime.caches, errors, cooldown, entry.scope)
            case "custom":
                return CustomHealer(entry.call or "", errors, cooldown)

    return [build(entry) for entry in entries]


def source_factory(settings: Settings, clock: Clock | None = None) -> "SourceFactory":
    """Return a factory of the source that the settings name.

    Raises:
        BadRequest: a required setting is missing; the message names it.
    """
    from adwarm.sources.factory import build_factory

    return build_factory(settings, clock=clock)


def connection_factories(settings: Settings, clock: Clock | None = None) -> "dict[str, SourceFactory]":
    """Return factories of the sources of the further connections in the settings, by name.

    Raises:
        BadRequest: a required setting of one of them is missing.
    """
    if not settings.connections:
        return {}
    from adwarm.sources.factory import build_factories

    return build_factories(settings, clock)
