"""A stub of the read API: an ASGI app whose answers a test decides, and clients that call it."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import zstandard

from adwarm.compression.document import encode_document
from adwarm.model import ColumnTable, Row
from adwarm_client import Client
from adwarm_client.document import CONTENT_TYPE, Document, Header, QueryFields, Summary

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
TOKEN = "adwarm_id1234_very-secret-part"
URL = "http://localhost:8950"


def make_document(until: int = 24, report: str = "default") -> bytes:
    """Return a document of 30 ads over the week that ends on that day of November 2026."""
    rows: list[Row] = [_row(day, ad) for day in range(until - 6, until + 1) for ad in range(30)]
    header = Header(
        account_id="act_1",
        date_range="last_7d",
        report=report,
        since=date(2026, 11, until - 6),
        until=date(2026, 11, until),
        time_zone="UTC",
        currency="EUR",
        query=QueryFields("0123456789ab", "ad", ("ad_id", "ad_name", "clicks", "spend")),
        source="meta",
        api_version="v26.0",
        fetched_at=AT,
        days_fetched_at=AT,
        complete=True,
        settled=False,
        data_version=3,
        missing=None,
    )
    summary = Summary(ColumnTable.from_rows([{"ad_id": "7", "reach": "70"}]), AT, versions=7, missing=None)
    return encode_document(Document(header, summary, ColumnTable.from_rows(rows)))


def _row(day: int, ad: int) -> Row:
    numbers = random.Random(day * 100 + ad)
    row: Row = {"date_start": f"2026-11-{day:02}", "ad_id": f"1202103456{ad:03}", "ad_name": str(ad)}
    return {**row, "clicks": str(numbers.randrange(1000)), "spend": f"{numbers.random() * 100:.2f}"}


@dataclass
class Sent:
    """A response of the stub."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class StubApi:
    """Answers like the read API, and keeps what it was asked.

    Attributes:
        document: what it serves.
        scripted: answers that come first, in this order.
        requests: the requests so far.
    """

    document: bytes = field(default_factory=make_document)
    cache_status: str = 'adwarm; hit; ttl=600; key="act_1 last_7d"'
    scripted: list[Sent] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)
    change: Callable[[Sent], Sent] = lambda sent: sent

    def publish(self, document: bytes) -> None:
        """Serve another document from now on."""
        self.document = document

    def respond(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        self.requests.append(request)
        sent = self.scripted.pop(0) if self.scripted else self.change(self._report(request.headers))
        return httpx.Response(sent.status, headers=dict(sent.headers), stream=httpx.ByteStream(sent.body))

    def _report(self, headers: httpx.Headers) -> Sent:
        etag = f'"{sha256(self.document).hexdigest()[:32]}:columnar:'
        facts = {"Cache-Status": self.cache_status, "Age": "42", "Content-Type": CONTENT_TYPE}
        condition = headers.get("If-None-Match", "")
        if condition.startswith(etag):
            return Sent(304, {**facts, "ETag": condition})
        body = zstandard.ZstdCompressor(level=9).compress(self.document)
        return Sent(200, {**facts, "ETag": f'{etag}zstd"', "Content-Encoding": "zstd"}, body)


def json_answer(status: int, body: Any, **headers: str) -> Sent:
    """Return a JSON answer, a problem document for errors."""
    kind = "application/problem+json" if status >= 400 else "application/json"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Sent(status, {"Content-Type": kind, **named}, orjson.dumps(body))


@dataclass
class ClientHarness:
    """A stub, the folder of its clients, and the seconds that they slept."""

    api: StubApi
    folder: Path
    slept: list[float] = field(default_factory=list)

    def client(self, url: str = URL, token: str = TOKEN, **arguments: Any) -> Client:
        """Return a client that calls the stub."""
        http = httpx.Client(transport=httpx.MockTransport(self.api.respond))
        folder = arguments.pop("cache_folder", self.folder)
        return Client(url, token, folder, http=http, sleep=self.slept.append, **arguments)


@pytest.fixture
def stub(tmp_path: Path) -> ClientHarness:
    """A stub of the read API."""
    return ClientHarness(StubApi(), tmp_path / "cache")
