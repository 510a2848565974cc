"""A server with scripted replies, for faults that no well-behaved platform shows."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson
import pytest
from pydantic import SecretStr

from adwarm.foundation.clock import VirtualClock
from adwarm.settings import SourceSettings
from adwarm.sources.meta.source import MetaSource
from adwarm.sources.meta.transport import MetaCredentials

TOKEN = "EAAcanarytoken0123456789"
JSON = "application/json; charset=UTF-8"


@dataclass
class ScriptedReply:
    """One reply: status, content type, body, headers; `cut` announces more bytes than are sent."""

    body: bytes
    status: int = 200
    kind: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0


@dataclass
class ScriptedServer:
    """A server's address, its next replies, and the requests it received."""

    url: str
    replies: list[ScriptedReply] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    forms: list[str] = field(default_factory=list)

    def add_reply(self, body: object, status: int = 200, kind: str = JSON, cut: int = 0, **headers: str) -> None:
        """Add an answer; a body that is not bytes is sent as JSON."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        self.replies.append(
            ScriptedReply(content, status, kind, {n.replace("_", "-"): v for n, v in headers.items()}, cut)
        )


def _handler(script: Callable[[], ScriptedServer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Take the form, and send the next answer."""
            script().forms.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.do_GET()

        def do_GET(self) -> None:
            """Send the next answer of the script."""
            scripted = script()
            scripted.paths.append(self.path)
            scripted.headers.append(dict(self.headers))
            reply = scripted.replies.pop(0)
            self.send_response_only(reply.status)
            self.send_header("Content-Type", reply.kind)
            self.send_header("Content-Length", str(len(reply.body) + reply.cut))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)
            self.close_connection = bool(reply.cut)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name http.server uses
            """Stay silent."""

    return Handler


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    """A local server with scripted replies."""
    found: list[ScriptedServer] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(lambda: found[0]))
    found.append(ScriptedServer(f"http://127.0.0.1:{server.server_port}"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield found[0]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def meta(scripted: ScriptedServer, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> MetaSource:
    """The Meta source on the scripted server, for responses of at most 50 kB."""
    monkeypatch.setattr("adwarm.sources.meta.transport.MAX_RESPONSE_BYTES", 50_000)
    settings = SourceSettings(graph_url=scripted.url, read_timeout=5)
    return MetaSource(MetaCredentials(SecretStr(TOKEN), app_id="77"), settings, "facebook_default", clock)
