"""A hit route over the prefetch harness, called as a server would call it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import Refused
from adwarm.model import AccessToken, Priority, ReportKey, TokenScope
from adwarm.serving.api.connections import RepeatedAnswer
from adwarm.serving.api.hit_route import HitRoute
from adwarm.serving.hit_parts import HitParts
from adwarm.serving.misses import FetchOutcome
from adwarm.serving.open_log import Open
from adwarm.serving.problems import unauthorized
from adwarm.serving.services import ServingMetrics, ServingServices
from adwarm.serving.tokens import Credentials, parse_credentials
from adwarm.store import Context, read_traffic
from tests.unit.conftest import NOW, ReaderHarness

TOKEN = "Bearer adwarm_good_secret"


@dataclass
class Answer:
    """A response: status, headers by lower-case name, and body."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class ScriptedMisses:
    """A miss handler that does what a test says, and remembers the calls."""

    on_fetch: Callable[[ReportKey], FetchOutcome] = lambda key: FetchOutcome(False, 17, 3, "it is queued")
    fetched: list[tuple[ReportKey, Priority, float]] = field(default_factory=list)
    revalidated: list[tuple[ReportKey, Priority]] = field(default_factory=list)
    admitted: list[ReportKey] = field(default_factory=list)
    refusal: Refused | None = None
    is_held: bool = False
    canceled: int = 0
    waiting: int = 0

    async def fetch(self, key: ReportKey, token: AccessToken, priority: Priority, wait_seconds: float) -> FetchOutcome:
        self.fetched.append((key, priority, wait_seconds))
        try:
            if self.is_held:
                await asyncio.Event().wait()
            return await asyncio.to_thread(self.on_fetch, key)
        except asyncio.CancelledError:
            self.canceled += 1
            raise

    def admit_call(self, key: ReportKey, token: AccessToken) -> None:
        self.admitted.append(key)
        if self.refusal is not None:
            raise self.refusal

    def revalidate(self, key: ReportKey, token: AccessToken, priority: Priority) -> None:
        self.revalidated.append((key, priority))


@dataclass
class OpenList:
    """Remembers opens."""

    items: list[Open] = field(default_factory=list)

    def record(self, item: Open) -> None:
        self.items.append(item)


@dataclass
class OneToken:
    """Accepts one token."""

    token: AccessToken = field(
        default_factory=lambda: AccessToken(
            id="t", name="test", scopes=frozenset({TokenScope.ENQUEUE}), accounts=None, created_at=NOW
        )
    )

    async def authenticate(self, authorization: bytes | None, on_valid: Callable[[], None]) -> AccessToken:
        if authorization != TOKEN.encode():
            raise unauthorized()
        on_valid()
        return self.token

    def find(self, credentials: Credentials, now: datetime) -> AccessToken | None:
        return self.token if credentials == parse_credentials(TOKEN.encode()) else None

    def take(self, token: AccessToken, now: datetime) -> bool:
        return True


@dataclass
class HitHarness:
    """A hit route with scripted neighbors; its monotonic clock is the virtual one."""

    reading: ReaderHarness
    home: Path
    misses: ScriptedMisses = field(default_factory=ScriptedMisses)
    opens: OpenList = field(default_factory=OpenList)
    tokens: OneToken = field(default_factory=OneToken)
    settings: dict[str, Any] = field(default_factory=dict)
    at_once: int = 0
    """Answers that needed no task."""
    repeated: RepeatedAnswer | None = None
    """What answers the last of them again."""
    passed_on: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        context = self.reading.harness.prefetch.context
        serving = context.settings.serving.model_copy(update=self.settings)
        settings = context.settings.model_copy(update={"serving": serving, "home": self.home})
        self.context = Context(context.engine, context.objects, settings)
        self.parts = HitParts(self.context, self.clock)
        self.parts.pointers._monotonic = lambda: self.clock.now().timestamp()
        services = ServingServices(
            self.context,
            self.clock,
            self.reading.chain(self.context),
            None,  # type: ignore[arg-type]  # the hit route uses no queue
            self.tokens,
            self.misses,
            self.opens,
            self.parts.counter,
            ServingMetrics(),
        )
        self.route = HitRoute(self._inner, services, self.parts)

    @property
    def clock(self) -> VirtualClock:
        return self.reading.harness.clock

    @property
    def engine(self) -> Engine:
        return self.reading.engine

    async def _inner(self, scope: Any, receive: Any, send: Any) -> None:
        self.passed_on.append(scope["path"])

    async def request(
        self, path: str, method: str = "GET", receive: Callable[[], Awaitable[Any]] | None = None, **headers: str
    ) -> Answer:
        """Send one request: at once where that is possible, as `adwarm serve` does, else in a task.

        Underscores in the names of headers are hyphens, and `None` leaves the token out.
        """
        named = {"authorization": TOKEN, **{name.replace("_", "-"): text for name, text in headers.items()}}
        target, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "path": target,
            "raw_path": target.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), text.encode()) for name, text in named.items() if text],
        }
        messages: list[Any] = []
        repeated = self.route.answer_at_once(scope, lambda *parts: messages.append(parts))
        if repeated is not None:
            self.at_once += 1
            self.repeated = repeated
            ((status, lines, content),) = messages
            pairs = (line.partition(b": ") for line in lines.removesuffix(b"\r\n\r\n").split(b"\r\n"))
            return Answer(status, {name.decode(): text.decode("latin-1") for name, _, text in pairs}, content)

        async def send(message: Any) -> None:
            messages.append(message)

        async def nothing() -> Any:
            await asyncio.Event().wait()

        await self.route(scope, receive or nothing, send)
        if not messages:
            return Answer(0, {}, b"")
        start, body = messages
        return Answer(
            start["status"], {name.decode(): text.decode("latin-1") for name, text in start["headers"]}, body["body"]
        )

    def count_reads(self) -> tuple[int, ...]:
        """Return hits, stale reads and misses that are stored as traffic."""
        self.parts.counter.flush()
        totals = read_traffic.get_totals(self.engine, NOW - timedelta(days=1), NOW + timedelta(days=30))
        return tuple(int(totals[name]) for name in ("hits", "stale", "misses"))

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Send one request in an event loop of its own."""
        return asyncio.run(self.request(path, method, **headers))
