"""A read API that answers as `adwarm serve` does, from memory, in the state that a test puts it into.

It speaks the headers of the read API, zstd, and deltas against the copy that the browser has (`dcz`).
"""

import base64
import json
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import uvicorn
import zstandard
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from adwarm.serving.api.dashboard import mount_dashboard

from .sample_report import make_document, make_scores

DCZ_MAGIC = bytes.fromhex("5e2a4d1820000000")
DAYS = {"last_7d": 7, "last_28d": 28}
FRESH_SECONDS = 3_600


@dataclass
class StoredReport:
    """One key of the stub.

    Attributes:
        versions: the documents as bytes, the newest last; none while it is missing.
        fetched_at: when the newest one was fetched.
        is_stale: whether it counts as old.
    """

    versions: list[bytes] = field(default_factory=list)
    fetched_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    is_stale: bool = False


class StubApi:
    """The server, and the switches that a test throws. Call `close` at the end."""

    def __init__(self, dashboard: Path, home: Path) -> None:
        self.token = f"adwarm_{secrets.token_urlsafe(24)}"
        self.reports: dict[str, StoredReport] = {}
        self.breakers: list[dict[str, Any]] = []
        self.position = 3
        self._revision = 0
        self._server = _Server(_make_app(self, dashboard))
        self.url = self._server.url

    def close(self) -> None:
        """Stop the server."""
        self._server.close()

    def store(self, account: str, *, age_seconds: float = 240, is_stale: bool = False) -> None:
        """Store the reports of an account, with a last day that differs from what was stored before."""
        now = datetime.now(UTC)
        self._revision += 1
        for name, length in DAYS.items():
            report = self.reports.setdefault(f"{account}/{name}", StoredReport())
            days = [now.date() - timedelta(days=back) for back in range(length, 0, -1)]
            fetched_at = now - timedelta(seconds=age_seconds)
            document = make_document(account, name, days, fetched_at, self._revision)
            report.versions.append(json.dumps(document, separators=(",", ":")).encode())
            report.fetched_at, report.is_stale = fetched_at, is_stale

    def announce(self, account: str) -> None:
        """Make an account known whose reports are not stored."""
        for name in DAYS:
            self.reports[f"{account}/{name}"] = StoredReport()

    def revoke_token(self) -> None:
        """End the token."""
        self.token = secrets.token_urlsafe(24)

    def open_breaker(self) -> None:
        """Open the breaker of the source."""
        now = datetime.now(UTC)
        self.breakers = [
            {
                "source": "meta",
                "account": None,
                "state": "open",
                "error_rate": 0.83,
                "calls": 24,
                "since": (now - timedelta(minutes=4)).isoformat(),
                "probe_at": (now + timedelta(seconds=40)).isoformat(),
                "why": "20 of 24 calls failed",
            }
        ]


class _Server:
    def __init__(self, app: FastAPI) -> None:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(app, log_level="warning", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)


def _make_app(api: StubApi, dashboard: Path) -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.middleware("http")
    async def check_token(request: Request, answer: Callable[..., Any]) -> Response:
        if request.headers.get("authorization") != f"Bearer {api.token}":
            return _problem(401, "Unauthorized", "send a valid token")
        response: Response = await answer(request)
        return response

    @app.get("/v1/accounts")
    def list_accounts() -> dict[str, Any]:
        names = {"act_1001": "Northwind Outdoor", "act_1002": "Harbor Coffee", "act_1003": "Atlas Luggage"}
        facts = {"status": "active", "data_zone": "Europe/Berlin", "currency": "EUR"}
        return {
            "accounts": [{"id": account, "name": name, **facts} for account, name in names.items()],
            "reports": ["default"],
            "presets": list(DAYS),
        }

    @app.get("/v1/insights/{account}/{date_range}")
    def read_report(account: str, date_range: str, request: Request) -> Response:
        return _read(api, f"{account}/{date_range}", request)

    @app.get("/v1/scores/{account}")
    def list_scores(account: str) -> dict[str, Any]:
        now = datetime.now(UTC)
        scores = make_scores(now)
        return {"account": account, "as_of": now.date().isoformat(), "scores": scores, "next_cursor": None}

    @app.get("/v1/queue")
    def get_queue() -> dict[str, Any]:
        return {"size": 100, "pending": api.position, "has_active_worker": True, "fetch_mode": "here", "classes": {}}

    @app.get("/v1/breakers")
    def list_breakers() -> dict[str, Any]:
        return {"at": datetime.now(UTC).isoformat(), "breakers": api.breakers}

    @app.get("/v1/requests/{request_id}")
    def get_request(request_id: int) -> dict[str, Any]:
        return {"id": request_id, "status": "pending", "position": api.position}

    mount_dashboard(app, dashboard)
    return app


def _read(api: StubApi, key: str, request: Request) -> Response:
    report = api.reports.get(key)
    if report is None:
        return _problem(404, "Not Found", "there is no such account or report, or this token may not read it")
    if not report.versions:
        body = {"status": "queued", "request_id": 42, "location": "/v1/requests/42", "retry_after": 1, "reason": None}
        return JSONResponse(body, 202, {"Retry-After": "1", "Cache-Control": "no-store"})
    is_miss = "adwarm-request" in request.headers
    ttl = -600 if report.is_stale else FRESH_SECONDS
    cache_status = f'adwarm; {"fwd=miss; stored" if is_miss else "hit"}; ttl={ttl}; key="{key}"'
    return _send(report, request, cache_status)


def _send(report: StoredReport, request: Request, cache_status: str) -> Response:
    raw = report.versions[-1]
    digest = sha256(raw).hexdigest()
    is_hook = request.headers.get("adwarm-client", "").startswith("hook/")
    headers = {
        "Cache-Control": f"private, max-age={604_800 if is_hook else 0}",
        "Vary": "Authorization, Accept, Accept-Encoding, Available-Dictionary, Adwarm-Client",
        "Use-As-Dictionary": f'match="{request.url.path}"',
        "Age": str(int((datetime.now(UTC) - report.fetched_at).total_seconds())),
        "Cache-Status": cache_status,
    }
    condition = request.headers.get("if-none-match", "")
    if condition.startswith(f'"{digest[:32]}-'):
        return Response(status_code=304, headers={**headers, "ETag": condition})
    body, coding = _encode(raw, report.versions[:-1], request)
    headers |= {"ETag": f'"{digest[:32]}-columnar-{coding}"', "Content-Encoding": coding}
    return Response(body, headers=headers, media_type="application/vnd.adwarm.report+json;version=2")


def _encode(raw: bytes, earlier: list[bytes], request: Request) -> tuple[bytes, str]:
    accepted = {item.strip().partition(";")[0] for item in request.headers.get("accept-encoding", "").split(",")}
    available = request.headers.get("available-dictionary", "").strip().strip(":")
    for version in earlier if "dcz" in accepted and available else ():
        digest = sha256(version).digest()
        if base64.b64encode(digest).decode() == available:
            data = zstandard.ZstdCompressionDict(version, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
            settings = zstandard.ZstdCompressionParameters.from_level(9, window_log=23)
            frame = zstandard.ZstdCompressor(dict_data=data, compression_params=settings).compress(raw)
            return DCZ_MAGIC + digest + frame, "dcz"
    if "zstd" in accepted:
        return zstandard.ZstdCompressor(level=9).compress(raw), "zstd"
    return raw, "identity"


def _problem(status: int, title: str, detail: str) -> Response:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")
