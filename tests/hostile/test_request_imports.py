"""Nothing is imported while requests are answered: an import opens files, which may be used up by then."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adwarm.foundation.clock import SystemClock
from adwarm.model import AccessToken, Account, TokenScope
from adwarm.runtime import Runtime
from adwarm.serving.tokens import make_token
from adwarm.settings import Settings
from adwarm.store import access_tokens, accounts
from tests.hostile.server import HostileServer, UnconfiguredServer

_IMPORT = re.compile(r"^import time: +\d+ \| +\d+ \| *(\S+)$", re.MULTILINE)
ORIGIN = {"Origin": "http://127.0.0.1", "Host": "127.0.0.1"}


@pytest.fixture
def upstream() -> Iterator[HostileServer]:
    """A platform that answers."""
    with UnconfiguredServer() as elsewhere, HostileServer({}, elsewhere) as server:
        yield server


def test_no_request_imports_a_module(tmp_path: Path, upstream: HostileServer) -> None:
    """After its start, `adwarm serve` imports nothing for any route, hit, miss, error, shape, coding, login or page.

    It starts without pandas, and none of these needs it.
    """
    runtime, token = Runtime(Settings(home=tmp_path)), make_token()
    now = SystemClock().now()
    accounts.save(runtime.engine, [Account("act_1001")], now)
    rights = frozenset(TokenScope)
    stored = AccessToken(id=token.id, name="t", scopes=rights, created_at=now, daily_new_keys=1_000)
    access_tokens.insert_token(runtime.engine, stored, token.secret_hash)
    log = tmp_path / "server.log"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ADWARM_")},
        "ADWARM_HOME": str(tmp_path),
        "ADWARM_SOURCE__GRAPH_URL": upstream.url,
        "ADWARM_SOURCE__ACCESS_TOKEN": "test-token-of-imports",
    }
    words = [sys.executable, "-X", "importtime", "-m", "adwarm", "serve", "--port", "0", "--json"]
    with log.open("wb") as errors:
        process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=errors)
        try:
            assert process.stdout is not None
            url = re.search(rb'"url": ?"([^"]+)"', process.stdout.readline() + process.stdout.readline())
            assert url is not None, log.read_text()[-2_000:]
            started = log.stat().st_size
            with httpx.Client(base_url=url[1].decode(), timeout=60) as client:
                _ask_everything(client, token.text)
        finally:
            process.terminate()
            process.wait(60)
    text = log.read_text(errors="replace")
    assert " ".join(_IMPORT.findall(text[started:])) == ""
    assert {"pandas", "scipy", "xgboost"}.isdisjoint(_IMPORT.findall(text)), "a process of 160 MB becomes one of 200 MB"


def _ask_everything(client: httpx.Client, token: str) -> None:
    bearer = {"Authorization": f"Bearer {token}"}
    assert client.get("/healthz").status_code == 200
    assert client.get("/v1/insights/act_1001/last_7d").status_code == 401
    answer = client.get("/v1/insights/act_1001/last_7d", headers={**bearer, "Prefer": "wait=20"})
    assert answer.status_code == 200, answer.text
    for shape in ("rows", "ndjson", "csv", "arrow", "columnar", "none"):
        for coding in ("identity", "gzip", "br", "zstd"):
            client.get(f"/v1/insights/act_1001/last_7d?shape={shape}", headers={**bearer, "Accept-Encoding": coding})
    document = client.get("/v1/openapi.json", headers=bearer).json()
    for path, methods in document["paths"].items():
        named = re.sub(r"\{range[^}]*\}", "last_14d", re.sub(r"\{account[^}]*\}", "act_1001", path))
        for method in methods:
            for body in (b"{", b'{"account": "act_1001", "range": "last_28d"}'):
                client.request(method, re.sub(r"\{[^}]*\}", "1", named), headers=bearer, content=body)
    client.get("/metrics", headers=bearer)
    assert client.get("/adwarm/now").status_code == 401
    answer = client.post("/adwarm/login", data={"token": token}, headers=ORIGIN)
    assert answer.status_code == 303, answer.text
    cookie = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
    for tab in re.findall(r'href="([a-z-]+)"', client.get("/adwarm/now", headers=cookie).text):
        client.get(f"/adwarm/{tab}?plain=1", headers=cookie)
