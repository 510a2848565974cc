"""`adwarm serve` as a process of its own, over a platform that counts what it is asked."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from adwarm.foundation.clock import SystemClock
from adwarm.model import AccessToken, TokenScope
from adwarm.runtime import Runtime
from adwarm.serving.tokens import make_token
from adwarm.store import access_tokens
from graph_simulator.calls import Call, Reply
from graph_simulator.server import SimulatorServer

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0


@dataclass
class ServeProcess:
    """A running `adwarm serve`.

    Attributes:
        log: file of its standard error.
        settings: further environment, without the prefix.
    """

    log: Path
    settings: dict[str, str] = field(default_factory=dict)
    workers: int = 1
    url: str = ""

    def __post_init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "include")}
        environment |= {f"ADWARM_{name}": value for name, value in self.settings.items()}
        command = [sys.executable, "-m", "adwarm", "serve", "--port", "0", "--json"]
        command += ["--workers", str(self.workers)] if self.workers > 1 else []
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        text = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            text += line
            if line.startswith("}"):
                break
        assert text, self.log.read_text()
        self.url = json.loads(text)["url"]

    def get(self, path: str, token: str, **headers: str) -> httpx.Response:
        """Send GET on a connection of its own."""
        named = {"Authorization": token, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return httpx.get(f"{self.url}{path}", headers=named, timeout=SECONDS)

    def connections(self) -> dict[int, set[int]]:
        """Return the clients' ports of the connections of each worker, by its process id."""
        ports = {}
        for child in psutil.Process(self.process.pid).children():
            if child.status() != psutil.STATUS_ZOMBIE and child.cmdline()[-1:] == ["--multiprocessing-fork"]:
                ports[child.pid] = {item.raddr.port for item in child.net_connections() if item.raddr}
        return ports

    def held(self) -> int:
        """Return how many file descriptors or threads it has, whatever is more."""
        folder = Path(f"/proc/{self.process.pid}")
        return max(len(list((folder / name).iterdir())) for name in ("fd", "task"))

    def resident_bytes(self) -> int:
        """Return its resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def waiting(self, admin: str) -> int:
        """Return how many readers wait, by its metrics."""
        lines = self.get("/metrics", admin).text.splitlines()
        (value,) = [line.split()[1] for line in lines if line.startswith("adwarm_waiting_readers ")]
        return int(float(value))

    def stop(self, sent: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal, wait for its end, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(sent)
        code = self.process.wait(SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


@dataclass
class Installation:
    """A home, a database and a platform, and the processes that serve them.

    Attributes:
        runtime: of this process, on the same home and database.
        platform: what is fetched from.
        folder: where logs go.
    """

    runtime: Runtime
    platform: SimulatorServer
    folder: Path
    started: list[ServeProcess] = field(default_factory=list)

    def serve(self, workers: int = 1, **settings: str) -> ServeProcess:
        """Start a process that serves; further settings without the prefix."""
        self.started.append(ServeProcess(self.folder / "serve.log", settings, workers))
        return self.started[-1]

    def token(self, *scopes: TokenScope, **fields: Any) -> str:
        """Make a token for every account from 1 to 99, and return the value of its Authorization header."""
        new, names = make_token(), frozenset(f"act_{number}" for number in range(1, 100))
        fields = {"accounts": None if TokenScope.ADMIN in scopes else names, **fields}
        token = AccessToken(
            id=new.id,
            name="a test",
            scopes=frozenset(scopes or {TokenScope.ENQUEUE}),
            created_at=SystemClock().now(),
            **fields,
        )
        access_tokens.insert_token(self.runtime.engine, token, new.secret_hash)
        return f"Bearer {new.text}"

    def count_insights(self) -> int:
        """Return how many pages of insights the platform was asked for; looking up an account is another call."""
        return self.platform.calls()["paths"].get("insights", 0)

    @contextmanager
    def hold_platform(self) -> Iterator[Callable[[], None]]:
        """Let no call to the platform end before the yielded function is called, or the block ends."""
        state, gate = self.platform.state, threading.Event()
        reply = state.reply

        def reply_later(call: Call) -> Reply:
            gate.wait(SECONDS)
            return reply(call)

        state.reply = reply_later  # type: ignore[method-assign]
        try:
            yield gate.set
        finally:
            gate.set()
            state.reply = reply  # type: ignore[method-assign]

    def read_log(self) -> str:
        """Return what the processes have logged."""
        return (self.folder / "serve.log").read_text()

    def end(self) -> None:
        """Kill what still runs."""
        for process in self.started:
            process.stop(signal.SIGKILL)


@dataclass
class Visitor:
    """Reads one report over a socket of its own.

    Attributes:
        process: what is read.
        path: path of the report.
        token: the value of its Authorization header.
        wait: seconds that it offers to wait.
        statuses: status of each answer so far.
    """

    process: ServeProcess
    path: str
    token: str
    wait: int = 30
    statuses: list[int] = field(default_factory=list)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection and send a request."""
        host, _, port = self.process.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        self.send(writer)
        return reader, writer

    def send(self, writer: asyncio.StreamWriter, request_id: str | None = None) -> None:
        """Send the request, as the one that comes back for `request_id`."""
        lines = [f"GET {self.path} HTTP/1.1", "Host: localhost", f"Authorization: {self.token}"]
        lines += [f"Prefer: wait={self.wait}", *([f"Adwarm-Request: {request_id}"] if request_id else [])]
        writer.write("\r\n".join([*lines, "", ""]).encode())

    @staticmethod
    async def receive(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of an answer."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = [line.partition(": ") for line in head[1:] if line]
        headers = {name.lower(): value for name, _, value in pairs}
        return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))

    async def read(self) -> bytes:
        """Ask until there is a report, as often as `Retry-After` allows, and return it."""
        reader, writer = await self.connect()
        try:
            while True:
                status, headers, body = await self.receive(reader)
                self.statuses.append(status)
                if status != 202:
                    return body
                await asyncio.sleep(int(headers["retry-after"]))
                self.send(writer, headers["location"].rpartition("/")[2])
        finally:
            writer.close()
