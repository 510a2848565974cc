"""The read API over an empty database, with tokens of every kind and reports that a test stores."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from adwarm.backpressure import RequestQueue
from adwarm.foundation.clock import VirtualClock
from adwarm.model import AccessToken, Account, Actor, Priority, ReportKey, TokenScope
from adwarm.serving.api import app
from adwarm.serving.api.app import create_app
from adwarm.serving.hit_parts import HitParts
from adwarm.serving.misses import FetchOutcome
from adwarm.serving.open_log import Open
from adwarm.serving.services import ServingMetrics, ServingServices
from adwarm.serving.tokens import TokenAuthenticator, make_token
from adwarm.settings import Settings
from adwarm.store import access_tokens, accounts
from adwarm.store.entries import Entry
from tests.unit.conftest import ReaderHarness


@dataclass
class ScriptedMisses:
    """A miss handler that queues every request, or answers as a test says."""

    queue: RequestQueue
    outcome: FetchOutcome | Exception | None = None
    fetched: list[tuple[ReportKey, str, Priority]] = field(default_factory=list)
    revalidated: list[ReportKey] = field(default_factory=list)
    waiting: int = 0

    async def fetch(self, key: ReportKey, token: AccessToken, priority: Priority, wait_seconds: float) -> FetchOutcome:
        """Queue the report."""
        self.fetched.append((key, token.id, priority))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome or FetchOutcome(False, self.queue.enqueue(key, priority).id, 3)

    def admit_call(self, key: ReportKey, token: AccessToken) -> None:
        """Admit every call."""

    def revalidate(self, key: ReportKey, token: AccessToken, priority: Priority) -> None:
        """Note the report."""
        if token.allows(TokenScope.ENQUEUE):
            self.revalidated.append(key)


@dataclass
class RecordedOpens:
    """A recorder of opens in memory."""

    items: list[Open] = field(default_factory=list)

    def record(self, item: Open) -> None:
        """Keep the open."""
        self.items.append(item)


@dataclass
class CountedReads:
    """Counts reads in memory."""

    items: list[tuple[str, str, bool]] = field(default_factory=list)

    def count(
        self, at: datetime, key: ReportKey, actor: Actor, status: str, latency_ms: float, entry: Entry | None
    ) -> None:
        """Keep account and status, and whether there was an entry."""
        self.items.append((key.account_id, status, entry is not None))


@dataclass
class Api:
    """The application with everything a test looks at.

    Attributes:
        reading: stores reports.
        app: the routes behind the hit route.
        client: sends requests to the whole application.
        services: its services.
        misses: what was requested.
        opens: what was opened.
        clock: its time.
    """

    reading: ReaderHarness
    app: FastAPI
    client: TestClient
    services: ServingServices
    misses: ScriptedMisses
    opens: RecordedOpens
    clock: VirtualClock

    @property
    def engine(self) -> Engine:
        """The database."""
        return self.reading.engine

    def token(self, *scopes: TokenScope, **fields: Any) -> str:
        """Make a token and return the value of its Authorization header."""
        return make_header(self.engine, self.clock.now(), *scopes, **fields)

    def get(self, path: str, token: str, **options: Any) -> Any:
        """Send GET with a token."""
        return self.client.get(path, headers={"Authorization": token, **options.pop("headers", {})}, **options)

    def post(self, path: str, token: str, body: Any, **headers: str) -> Any:
        """Send POST with a token and a JSON body."""
        return self.client.post(path, json=body, headers={"Authorization": token, **headers})


def make_header(engine: Engine, at: datetime, *scopes: TokenScope, **fields: Any) -> str:
    """Store a token and return the value of its Authorization header; its scope is `read` by default."""
    new = make_token()
    token = AccessToken(
        id=new.id, name="a test", scopes=frozenset(scopes or {TokenScope.READ}), created_at=at, **fields
    )
    access_tokens.insert_token(engine, token, new.secret_hash)
    return f"Bearer {new.text}"


@pytest.fixture
def services(reading: ReaderHarness, tmp_path: Path) -> ServingServices:
    """Services over the database of the harness."""
    context = reading.harness.prefetch.context
    settings = Settings(home=tmp_path / "home", serving={"cors_origins": ("https://dash.example",)})
    context = replace(context, settings=settings)
    queue = RequestQueue(reading.engine, settings.backpressure, owner="test")
    return ServingServices(
        context,
        reading.harness.clock,
        reading.chain(context),
        queue,
        TokenAuthenticator(reading.engine, reading.harness.clock, sleep=lambda _: asyncio.sleep(0)),
        ScriptedMisses(queue),
        RecordedOpens(),
        CountedReads(),
        ServingMetrics(),
    )


@pytest.fixture
def parts(services: ServingServices) -> Iterator[HitParts]:
    """What hits are made of; pointers age by the clock of the harness."""
    parts = HitParts(services.context, services.clock)
    parts.pointers._monotonic = lambda: services.clock.now().timestamp()
    yield parts
    parts.close()


@pytest.fixture
def api(reading: ReaderHarness, services: ServingServices, parts: HitParts) -> Iterator[Api]:
    """The application as it is served, whose accounts 1 and 2 are stored."""
    accounts.save(reading.engine, [Account(f"act_{number}") for number in (1, 2)], reading.harness.clock.now())
    routes: list[FastAPI] = []

    async def close() -> None:
        """Leave the parts to their fixture."""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "create_app", lambda services: routes.append(create_app(services)) or routes[0])
        application = app.build_application(services, parts, [], close)
    with TestClient(application, raise_server_exceptions=False) as client:
        yield Api(reading, routes[0], client, services, services.misses, services.opens, reading.harness.clock)


class _Lines(logging.Handler):
    """Keeps every formatted record, tracebacks included."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What every logger writes during the test."""
    yield from _collect(logging.getLogger())


@pytest.fixture
def server_lines() -> Iterator[list[str]]:
    """What the web server's logger writes during the test, whatever other tests have set up for the root logger."""
    yield from _collect(logging.getLogger("uvicorn.error"))


def _collect(logger: logging.Logger) -> Iterator[list[str]]:
    handler, level, was_disabled = _Lines(), logger.level, logger.disabled
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.disabled = False
    yield handler.lines
    logger.removeHandler(handler)
    logger.setLevel(level)
    logger.disabled = was_disabled
