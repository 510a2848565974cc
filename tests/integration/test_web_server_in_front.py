"""A web server in front of the read API writes a log of its own: an open in both counts once, with ids and without."""

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from adwarm.model import Actor, ReportKey
from adwarm.patterns.ingest.run import ingest
from adwarm.patterns.open_history import load_slots
from adwarm.serving.api.exchange import ACTOR_HEADER, TRIGGER_HEADER, is_reload
from adwarm.serving.open_log import Open, OpenLog
from adwarm.settings import AccessLogSettings, Settings
from adwarm.store import Context, ObjectStore, open_engine, upgrade

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
PATTERN = r"/v1/insights/(?P<account_id>act_\d+)/(?P<date_range>[^/?]+)"
CONFIG = """
daemon off; pid {root}/nginx.pid; error_log {root}/error.log; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;
  uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
  log_format opens escape=json '{{"ts": $msec, "path": "$request_uri", "method": "$request_method",'
    ' "status": $status, "user_agent": "$http_user_agent"{logged_id}}}';
  access_log {root}/log/opens.jsonl opens;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{upstream}; {header} }}
  }}
}}
"""
BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0 Safari/537.36"}


class ReadApi:
    """Answers every report, and records the opens as the read API does."""

    def __init__(self, log: OpenLog) -> None:
        self.log = log

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        _, _, _, account, date_range = scope["path"].split("/")
        request_id = headers.get(b"x-request-id")
        is_poll = is_reload(headers.get(TRIGGER_HEADER))
        actor = Actor.API if is_poll else Actor(headers.get(ACTOR_HEADER, b"human").decode())
        key = ReportKey(account, date_range)
        name = None if request_id is None else request_id.decode()
        self.log.record(Open(datetime.now(UTC), key, actor, "hit", 1.0, 2, name))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        threading.Event().wait(0.05)
    raise TimeoutError(f"nothing listens on {port}")


@contextmanager
def _serve(root: Path, log: OpenLog, *, with_ids: bool) -> Iterator[str]:
    """Run the read API behind nginx; yield the URL of nginx."""
    assert NGINX is not None
    upstream, port = _free_port(), _free_port()
    (root / "log").mkdir()
    values = {"root": root, "port": port, "upstream": upstream}
    values |= {"logged_id": ', "request_id": "$request_id"' if with_ids else ""}
    values |= {"header": "proxy_set_header X-Request-Id $request_id;" if with_ids else ""}
    (root / "nginx.conf").write_text(CONFIG.format(**values))
    server = uvicorn.Server(uvicorn.Config(ReadApi(log), port=upstream, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    nginx = subprocess.Popen([NGINX, "-p", str(root), "-c", str(root / "nginx.conf")], stderr=subprocess.DEVNULL)
    try:
        _wait_for(upstream)
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        nginx.terminate()
        nginx.wait()
        server.should_exit = True
        thread.join()


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
@pytest.mark.parametrize("with_ids", [True, False])
def test_an_open_in_both_logs_counts_once(tmp_path: Path, *, with_ids: bool) -> None:
    """Every open through nginx counts once, two opens in a row count twice, and a poll counts only without ids.

    Without ids, nothing in the log of nginx shows that a request is a poll; only the read API sees the header.
    """
    columns = {"path": "path"} | ({"request_id": "request_id"} if with_ids else {})
    settings = Settings(
        home=tmp_path / "home",
        access_log=AccessLogSettings(url=str(tmp_path / "log"), columns=columns, pattern=PATTERN),
    )
    log = OpenLog(settings)
    log.start()
    with _serve(tmp_path, log, with_ids=with_ids) as url, httpx.Client(base_url=url, headers=BROWSER) as client:
        for account in ("act_1", "act_2", "act_1", "act_1"):
            assert client.get(f"/v1/insights/{account}/last_7d").status_code == 200
        client.get("/v1/insights/act_3/last_7d", headers={"adwarm-trigger": "poll"})
    log.close()
    engine = open_engine(settings.database, settings.sql)
    upgrade(engine)
    context, now = Context(engine, ObjectStore(settings.data), settings), datetime.now(UTC) + timedelta(minutes=1)
    os.utime(tmp_path / "log/opens.jsonl", (now.timestamp(), now.timestamp()))  # libfaketime moves no times of files
    result = ingest(context, now)
    slots = load_slots(context, now - timedelta(hours=1), now)
    opens = slots.groupby("account_id")["opens"].sum().to_dict()
    assert {name: opens.get(name, 0) for name in ("act_1", "act_2")} == {"act_1": 3, "act_2": 1}
    assert opens.get("act_3", 0) == (0 if with_ids else 1)
    assert result.duplicates == (5 if with_ids else 4)
    assert result.rejected == 0
