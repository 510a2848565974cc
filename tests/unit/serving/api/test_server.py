"""The server: limits on the head of a request, slow clients, a graceful end, and what it says of itself."""

import asyncio
import contextlib
import importlib
import os
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from adwarm.foundation.errors import BadRequest
from adwarm.serving import api as serving_api
from adwarm.serving.api import server as api_server
from adwarm.serving.api.app import Lifespan
from adwarm.serving.api.connections import REQUEST_SECONDS
from adwarm.serving.api.server import QuietServer, _listen, _options, run_server, serve_in_thread


class Running:
    """A server in a thread of its own."""

    def __init__(self, app: Any) -> None:
        self.listening = _listen("127.0.0.1", 0)
        self.ready = threading.Event()
        self.server = QuietServer(uvicorn.Config(app, **_options()), self.ready.set)
        self.thread = threading.Thread(target=self.server.run, args=([self.listening],), daemon=True)
        self.thread.start()
        assert self.ready.wait(20)

    def connect(self) -> socket.socket:
        """Return a new connection."""
        return socket.create_connection(self.listening.getsockname(), timeout=20)

    def stop(self) -> None:
        """End it as SIGTERM does."""
        self.server.should_exit = True
        self.thread.join(20)


class App:
    """Answers `ok`, and remembers its lifespan."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.may_answer: Callable[[], Any] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                self.events.append(phase)
                await send({"type": f"lifespan.{phase}.complete"})
            return
        if self.may_answer is not None:
            self.events.append("waiting")
            await asyncio.to_thread(self.may_answer)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
        self.events.append("answered")


@pytest.fixture
def app() -> App:
    """An application that answers `ok`."""
    return App()


@pytest.fixture
def running(app: App) -> Iterator[Running]:
    """A running server."""
    server = Running(app)
    yield server
    server.stop()


def _receive_all(client: socket.socket) -> bytes:
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def _receive_answer(client: socket.socket) -> bytes:
    answer = b""
    while not answer.endswith(b"\r\n\r\nok"):
        part = client.recv(65_536)
        assert part, answer
        answer += part
    return answer


def test_it_answers_without_naming_itself(running: Running) -> None:
    """Two requests on one connection are answered; no header tells the server's name."""
    with running.connect() as client:
        for _ in range(2):
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            answer = _receive_answer(client)
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"server:" not in answer.lower()


@pytest.mark.parametrize("head", [b"GET /" + b"a" * 20_000, b"GET / HTTP/1.1\r\nx: " + b"a" * 20_000])
def test_a_large_head_is_refused(running: Running, app: App, head: bytes) -> None:
    """A request line or headers of more than 16 KiB end the connection, and reach no application."""
    with running.connect() as client:
        client.sendall(head)
        assert _receive_all(client).startswith(b"HTTP/1.1 431")
    assert app.events == ["startup"]


def test_headers_of_several_requests_do_not_add_up(running: Running) -> None:
    """Each request of a connection has the whole limit."""
    with running.connect() as client:
        for _ in range(4):
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 10_000 + b"\r\n\r\n")
            assert _receive_answer(client).startswith(b"HTTP/1.1 200")


def test_slow_heads_are_closed(running: Running) -> None:
    """Connections that wait for the rest of a head, or never sent one, are closed; answered ones stay open."""
    with running.connect() as idle, running.connect() as slow, running.connect() as used:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        used.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert _receive_answer(used).startswith(b"HTTP/1.1 200")
        (loop,) = {connection.loop for connection in running.server.server_state.connections}  # type: ignore[union-attr]
        while len(running.server.server_state.connections) < 3:
            pass
        limit = running.server.config.http.keywords["limit"]  # type: ignore[union-attr]
        loop.call_soon_threadsafe(lambda: limit.close_overdue(loop.time() + REQUEST_SECONDS + 1))
        assert (_receive_all(idle), _receive_all(slow)) == (b"", b"")
        used.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert _receive_answer(used).startswith(b"HTTP/1.1 200")


def test_a_stop_lets_running_requests_end(app: App) -> None:
    """A request that runs when the server stops is answered, and the lifespan ends after it."""
    held = threading.Event()
    app.may_answer = lambda: held.wait(20)
    running = Running(app)
    with running.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        while "waiting" not in app.events:
            pass
        running.server.should_exit = True
        held.set()
        assert b"200 OK" in _receive_all(client)
    running.thread.join(20)
    assert app.events == ["startup", "waiting", "answered", "shutdown"]


def test_an_address_in_use_is_an_error_that_says_so() -> None:
    """The message names the address and the options to change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadRequest, match=rf"cannot listen on 127.0.0.1:{port} .*--port"):
            run_server(App(), "127.0.0.1", port, lambda url: None)


def test_it_says_where_it_listens(monkeypatch: pytest.MonkeyPatch, app: App) -> None:
    """The port of 0 is replaced by the real one, and the URL is given once requests are answered."""
    urls: list[str] = []

    def stop(self: QuietServer, counter: int) -> Any:
        async def end() -> bool:
            return True

        return end()

    monkeypatch.setattr(api_server.QuietServer, "on_tick", stop)
    monkeypatch.setattr(api_server, "favor_loop", lambda: urls.append("favored"))
    run_server(app, "127.0.0.1", 0, urls.append)
    assert urls[:1] == ["favored"]
    assert len(urls) == 2
    assert urls[1].startswith("http://127.0.0.1:")
    assert not urls[1].endswith(":0")
    assert app.events == ["startup", "shutdown"]


def test_it_serves_in_a_thread_while_a_block_runs(app: App) -> None:
    """Requests are answered inside the block; after it the lifespan has ended and nothing listens."""
    with serve_in_thread(app) as url:
        assert httpx.get(url).text == "ok"
    assert app.events == ["startup", "answered", "shutdown"]
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def _import_without(path: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a new copy of the server's module that was imported while uvicorn lacked a name."""
    module, _, names = path.partition(":")
    part, _, method = names.partition(".")
    original = importlib.import_module(module)
    lacking = types.ModuleType(module)
    vars(lacking).update(vars(original))
    delattr(lacking, part)
    if method:
        cls = vars(original)[part]
        setattr(lacking, part, type(part, (), {name: item for name, item in vars(cls).items() if name != method}))
    monkeypatch.setitem(sys.modules, module, lacking)
    for name in ("connections", "server"):
        monkeypatch.setattr(serving_api, name, getattr(serving_api, name))  # restored after the test
        monkeypatch.delitem(sys.modules, f"{serving_api.__name__}.{name}")
    copy = importlib.import_module(f"{serving_api.__name__}.server")
    monkeypatch.setitem(sys.modules, module, original)
    return copy


@pytest.mark.parametrize(
    "name", ["HttpToolsProtocol", "RequestResponseCycle", "STATUS_LINE", "HttpToolsProtocol._start_asgi_task"]
)
def test_it_serves_without_what_uvicorn_does_not_promise(monkeypatch: pytest.MonkeyPatch, app: App, name: str) -> None:
    """Without a name that is not public, uvicorn's own protocol answers, and it is said which limits are missing."""
    copy = _import_without(f"uvicorn.protocols.http.httptools_impl:{name}", monkeypatch)
    assert name.rpartition(".")[2] in copy.missing_limits
    with copy.serve_in_thread(app) as url:
        assert [httpx.get(url).text for _ in range(2)] == ["ok", "ok"]
    assert api_server.missing_limits == ""


OLDER = "hasattr(parts.Process, 'wait_until_ready') and delattr(parts.Process, 'wait_until_ready')"
WORKERS = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})

def build():
    return app

if __name__ == "__main__":
    import sys, uvicorn, uvicorn.supervisors.multiprocess as parts
    exec(sys.argv[1])
    from adwarm.serving.api.server import run_workers
    run_workers("script:build", 2, "127.0.0.1", 0, lambda url: print(url, flush=True))
"""


@pytest.mark.slow
@pytest.mark.parametrize("change", ["pass", "del parts.Multiprocess", OLDER])
def test_workers_serve_without_what_uvicorn_does_not_promise_real_clock(tmp_path: Path, change: str) -> None:
    """Two processes answer on one port, and end with SIGTERM, with uvicorn's supervisor and without its parts."""
    script = tmp_path / "script.py"
    script.write_text(WORKERS)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, str(script), change]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url, answer = process.stdout.readline().strip(), ""
            while not answer and process.poll() is None:  # without its own supervisor the URL comes first
                with contextlib.suppress(httpx.TransportError):
                    answer = httpx.get(url).text
            assert answer == "ok"
        finally:
            process.terminate()
        assert process.wait(60) == 0


def test_an_application_that_does_not_start_is_an_error() -> None:
    """The block does not run, and the thread ends."""

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(BadRequest, match="did not start"), serve_in_thread(broken):
        pytest.fail("it did not start")
    assert "adwarm-serve" not in {thread.name for thread in threading.enumerate()}


def test_parts_start_and_end_with_the_application(app: App) -> None:
    """`start` comes after the application's own startup, `stop` after its shutdown, before the server hears of it."""
    sent: list[str] = []

    async def note(text: str) -> None:
        app.events.append(text)

    async def receive() -> Any:
        return {}

    async def send(message: Any) -> None:
        sent.append(message["type"])
        app.events.append(message["type"])

    asyncio.run(Lifespan(app, lambda: note("start"), lambda: note("stop"))({"type": "lifespan"}, receive, send))
    assert app.events == [
        "startup",
        "start",
        "lifespan.startup.complete",
        "shutdown",
        "stop",
        "lifespan.shutdown.complete",
    ]


def test_no_log_holds_the_query_of_a_request(lines: list[str], server_lines: list[str]) -> None:
    """A query may hold a token; neither an answer nor an error logs it."""

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await App()(scope, receive, send)
        raise RuntimeError("no answer")

    for app in (App(), broken):
        running = Running(app)
        with running.connect() as client:
            client.sendall(b"GET /v1/insights?token=mysecretphrase HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(200)
        running.stop()
    assert any("no answer" in line for line in server_lines)
    assert "mysecretphrase" not in "".join(lines + server_lines)
