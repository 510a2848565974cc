"""The read API of a home under a virtual clock: readers open reports through the real application, in this process."""

import asyncio
import dataclasses
import random
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pandas as pd
import pyarrow as pa

from adwarm.access_log.open_tables import read_open_files
from adwarm.foundation.clock import VirtualClock
from adwarm.model import AccessToken, Account, Mode, ReportKey, TokenScope
from adwarm.patterns.ingest.run import ingest
from adwarm.planning.decide import decide
from adwarm.prefetch.warm_batch import warm_batch
from adwarm.read_api import build_read_api
from adwarm.runtime import Runtime
from adwarm.serving import flights
from adwarm.serving.misses import QueueMissHandler
from adwarm.serving.tokens import make_token
from adwarm.settings import PlanningSettings, ServingSettings, Settings
from adwarm.store import access_tokens, accounts
from adwarm.store.open_files import OpenFiles
from adwarm_client.api_headers import REQUEST
from tests.unit.conftest import ScriptedSource

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FIRST_OPEN_QUIET = timedelta(minutes=30)


@dataclass
class ZonedSource(ScriptedSource):
    """A source whose accounts all count their days in one zone."""

    zone: str = "UTC"

    def get_account(self, account_id: str) -> Account:
        """Return an account in the zone."""
        return Account(account_id, self.zone, self.zone, "EUR")


@dataclass(frozen=True)
class ReaderOpen:
    """A reader opens a report; `is_first` when nobody opened it in the 30 minutes before."""

    at: datetime
    key: ReportKey
    is_first: bool


@dataclass
class Served:
    """Opens that were answered.

    Attributes:
        opens: how many.
        first_opens: first opens.
        first_hits: first opens that found a fresh entry.
        answers: how many opens found the report fresh (`hit`), found it old (`stale`), or waited for it (`fetched`).
    """

    opens: int = 0
    first_opens: int = 0
    first_hits: int = 0
    answers: dict[str, int] = field(default_factory=dict)

    def add(self, item: ReaderOpen, answer: str) -> None:
        """Count an answer."""
        self.opens += 1
        self.first_opens += item.is_first
        self.first_hits += item.is_first and answer == "hit"
        self.answers[answer] = self.answers.get(answer, 0) + 1

    @property
    def first_open_ratio(self) -> float:
        """First opens that found a fresh entry / first opens."""
        return self.first_hits / self.first_opens


class ServedHome:
    """A home whose only access log is the open log of its read API.

    As in production the server holds no credential of the platform: what it enqueues is fetched by another runtime,
    here at once, so that each report is as old as the open that asked for it.

    Args:
        home: its folder; what is in it stays.
        zone: of every account; the default zone of the settings is another one.
        now: where its clock starts.
        pointer_seconds: how long the server reuses a pointer, by the real clock; 0 where reports are fetched while it
            serves, since the virtual clock moves by hours in a second.
    """

    def __init__(self, home: Path, zone: str, now: datetime, pointer_seconds: float = 0) -> None:
        self.clock, self.source = VirtualClock(now), ZonedSource(zone=zone)
        serving = ServingSettings(pointer_seconds=pointer_seconds)
        settings = Settings(home=home, workers=2, serving=serving, planning=PlanningSettings(step_minutes=60))
        self.runtime = Runtime(settings, self.clock, lambda: self.source, sources={})
        self.server = Runtime(settings, self.clock)

    def add_accounts(self, account_ids: Iterable[str]) -> None:
        """Store accounts, as account discovery does; the API requests no report of an account that it does not know."""
        found = [self.source.get_account(account_id) for account_id in sorted(set(account_ids))]
        accounts.save(self.runtime.engine, found, self.clock.now())

    def make_headers(self, *scopes: TokenScope, **fields: Any) -> dict[str, str]:
        """Store a token, by default one that may fetch all day, and return the header that sends it."""
        new = make_token()
        chosen = {"daily_new_keys": 100_000, "daily_refetches": 100_000, **fields}
        known = {field.name for field in dataclasses.fields(AccessToken)}
        token = AccessToken(
            id=new.id,
            name="readers",
            scopes=frozenset(scopes),
            created_at=self.clock.now(),
            **{name: value for name, value in chosen.items() if name in known},
        )
        access_tokens.insert_token(self.runtime.engine, token, new.secret_hash)
        return {"Authorization": f"Bearer {new.text}"}

    @asynccontextmanager
    async def serve(
        self, headers: dict[str, str], base_url: str = "http://localhost"
    ) -> AsyncIterator[httpx.AsyncClient]:
        """Run the read API while the block runs; its opens are rotated at the end."""
        app: Any = build_read_api(self.server)
        transport = httpx.ASGITransport(app=app)
        async with (
            _lifespan(app),
            httpx.AsyncClient(transport=transport, base_url=base_url, headers=headers, timeout=60) as client,
        ):
            yield client

    def open_all(self, opens: Sequence[ReaderOpen], headers: dict[str, str]) -> Served:
        """Open reports, each at its time; see `_open`.

        An hour of the virtual clock may pass in a millisecond. What the server keeps for two seconds of the real clock,
        and what it requests beside an answer, would meet other opens on a slower machine: only its readers request.
        """
        served = Served()

        async def read() -> None:
            async with self.serve(headers) as client:
                for item in opens:
                    self.clock.set(item.at)
                    served.add(item, await self._open(client, item.key))

        if opens:
            with mock.patch.object(flights, "_TICKET_SECONDS", 0), mock.patch.object(QueueMissHandler, "revalidate"):
                asyncio.run(read())
        return served

    async def _open(self, client: httpx.AsyncClient, key: ReportKey) -> str:
        """Open a report as the clients do, and return what the reader found.

        A report that is missing is enqueued by the API; the reader comes back for it with the number of the request.
        One that is old is shown, and requested for the next reader.
        """
        response = await client.get(path_of(key))
        if response.status_code == 202:
            request_id = str(response.json()["request_id"])
            await asyncio.to_thread(self._drain)
            response = await client.get(path_of(key), headers={REQUEST: request_id})
            assert describe_answer(response) == "hit", response.text
            return "fetched"
        answer = describe_answer(response)
        if answer == "stale":
            body = {"account": key.account_id, "range": key.date_range}
            requested = await client.post("/v1/requests", json=body)
            # A reader may see an entry for a second after another one replaced it; then there is nothing to request.
            assert requested.status_code == 202 or requested.json()["status"] == "fresh", requested.text
            await asyncio.to_thread(self._drain)
        return answer

    def _drain(self) -> None:
        """Fetch everything that is enqueued, as the DAG of the queue does."""
        self.runtime.queue_worker().drain(60)

    def learn(self, now: datetime) -> int:
        """Read the open log up to `now`; return the opens in the hours that were read."""
        self.clock.set(now)
        return ingest(self.runtime.context, now).opens

    def warm(self, now: datetime) -> int:
        """Plan at `now` and carry the plan out; return how many warms it has."""
        self.clock.set(now)
        run_id = f"adwarm_intelligent_warming/{now.isoformat()}"
        summary = decide(self.runtime.context, now, run_id, Mode.LIVE)
        for number in range(summary.batches):
            warm_batch(self.runtime.prefetch_engine(), run_id, number)
        return summary.planned

    def list_logged(self) -> list[dict[str, Any]]:
        """Return every rotated open, oldest first."""
        files = OpenFiles(self.runtime.settings.data)
        listed = [file for found in files.list_files(files.list_days()).values() for file in found]
        tables = [table for table in read_open_files(files, listed) if isinstance(table, pa.Table)]
        return sorted((row for table in tables for row in table.to_pylist()), key=lambda row: row["ts"])

    def close(self) -> None:
        """Close the database."""
        self.runtime.engine.dispose()
        self.server.engine.dispose()


def path_of(key: ReportKey) -> str:
    """Return the path of a report."""
    return f"/v1/insights/{key.account_id}/{key.date_range}"


def describe_answer(response: httpx.Response) -> str:
    """Return `hit` or `stale`, or the status code of an answer without a report."""
    if response.status_code != 200:
        return str(response.status_code)
    return "stale" if "ttl=-" in response.headers["cache-status"] else "hit"


def find_first_opens(events: pd.DataFrame) -> list[ReaderOpen]:
    """Return the opens of a log with `ts`, `account_id` and `date_range`, in order."""
    ordered = events.sort_values("ts", kind="stable", ignore_index=True)
    before = ordered.groupby(["account_id", "date_range"], observed=True)["ts"].diff()
    is_first = before.isna() | (before > FIRST_OPEN_QUIET)
    columns = (ordered["ts"], ordered["account_id"], ordered["date_range"], is_first)
    return [
        ReaderOpen(ts.to_pydatetime(), ReportKey(str(account), str(date_range)), bool(first))
        for ts, account, date_range, first in zip(*columns, strict=True)
    ]


def make_log(start: datetime, days: int, seed: int = 3) -> pd.DataFrame:
    """Return a made-up log: four accounts on working days, twice a day, each at times of its own with some jitter."""
    rng = random.Random(seed)
    rows = [
        {"ts": start + DAY * day + timedelta(hours=hour + number, minutes=rng.gauss(20, 6)), **_key(number)}
        for day in range(days)
        if (start + DAY * day).weekday() < 5
        for number in range(4)
        for hour in (7, 13)
    ]
    return pd.DataFrame(rows)


def between(opens: Sequence[ReaderOpen], since: datetime, until: datetime) -> list[ReaderOpen]:
    """Return the opens from `since` to before `until`."""
    return [item for item in opens if since <= item.at < until]


def hours_of(start: datetime) -> Iterator[datetime]:
    """Yield the 24 hours from `start`."""
    return (start + HOUR * hour for hour in range(24))


def _key(number: int) -> dict[str, str]:
    return {"account_id": f"act_{number + 1}", "date_range": ("today", "last_7d")[number % 2]}


@asynccontextmanager
async def _lifespan(app: Any) -> AsyncIterator[None]:
    """Start an ASGI application, and end it after the block, as a server does."""
    inbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    outbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    task = asyncio.create_task(
        app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, inbox.get, outbox.put)
    )
    for phase in ("startup", "shutdown"):
        await inbox.put({"type": f"lifespan.{phase}"})
        answer = await outbox.get()
        assert answer["type"] == f"lifespan.{phase}.complete", answer
        if phase == "startup":
            yield
    await task
