"""A TCP proxy on the loopback interface that does to a connection what a bad network does.

It runs in a thread of its own. Faults may be changed at any time; they apply to what passes from then on. Which
exchanges they hit is drawn from the caller's random generator. An exchange begins when the client sends after the
server has answered, so that each request on a long-lived connection may be hit, in HTTP as in PostgreSQL's protocol.
"""

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_CHUNK = 1 << 16
_START_SECONDS = 20.0
_RST_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class NetworkFaults:
    """What happens to the bytes between a client and a server. The default is nothing.

    Attributes:
        latency_seconds: delay of what is sent, in each direction.
        loss: share of exchanges, 0 to 1, whose connection ends before the request reaches the server.
        reset: share of exchanges whose connection is reset (RST) once `after_bytes` of the answer have passed.
        truncation: share of exchanges whose connection ends normally once `after_bytes` of the answer have passed.
        after_bytes: bytes of an answer that pass before a reset or truncation; a shorter answer passes
            whole.
        slow_close_seconds: how long the end of a connection is withheld from the client.
        bytes_per_second: the most bytes that pass in a second, in each direction; None for no limit.
    """

    latency_seconds: float = 0.0
    loss: float = 0.0
    reset: float = 0.0
    truncation: float = 0.0
    after_bytes: int = 0
    slow_close_seconds: float = 0.0
    bytes_per_second: float | None = None


_NO_FAULTS = NetworkFaults()


@dataclass(frozen=True, slots=True)
class ProxyCounts:
    """What a proxy has done so far.

    Attributes:
        connections: connections of clients.
        exchanges: requests and their answers, as far as they can be told apart.
        lost: exchanges whose request did not reach the server.
        resets: exchanges whose connection was reset.
        truncations: exchanges whose answer was cut off.
        bytes_sent: bytes that the server was sent.
        bytes_received: bytes that clients received.
    """

    connections: int = 0
    exchanges: int = 0
    lost: int = 0
    resets: int = 0
    truncations: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0


class FaultProxy:
    """A context manager that forwards connections of a loopback port to a server. Thread-safe.

    Args:
        server: host and port of the server, or the path of its Unix socket.
        rng: decides which exchanges are hit.
        faults: what happens from the start.

    Attributes:
        port: the port on 127.0.0.1 to connect to.
    """

    def __init__(self, server: tuple[str, int] | Path, rng: random.Random, faults: NetworkFaults = _NO_FAULTS) -> None:
        self._server = server
        self._rng = rng
        self._faults = faults
        self._counts = ProxyCounts()
        self._lock = threading.Lock()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.Task[None]] = set()
        self._started = threading.Event()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(_START_SECONDS):
            raise TimeoutError("the proxy did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_START_SECONDS)

    def set_faults(self, faults: NetworkFaults) -> None:
        """Replace the faults from now on."""
        with self._lock:
            self._faults = faults

    def counts(self) -> ProxyCounts:
        """Return what was done so far."""
        with self._lock:
            return self._counts

    def drop_connections(self) -> None:
        """End every open connection now."""
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._connections])

    def _add(self, **counts: int) -> None:
        with self._lock:
            added = {name: getattr(self._counts, name) + count for name, count in counts.items()}
            self._counts = replace(self._counts, **added)

    @property
    def faults(self) -> NetworkFaults:
        """The faults of now."""
        with self._lock:
            return self._faults

    def _draw(self) -> tuple[NetworkFaults, str]:
        """Return the faults of now, and what happens to a new exchange: `pass`, `loss`, `reset` or `truncation`."""
        with self._lock:
            faults, drawn = self._faults, self._rng.random()
        for name, share in (("loss", faults.loss), ("reset", faults.reset), ("truncation", faults.truncation)):
            if drawn < share:
                return faults, name
            drawn -= share
        return faults, "pass"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, sock=self._socket)
        self._started.set()
        async with server:
            await self._stopping.wait()
            for task in list(self._connections):
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._connections.add(task)
        self._add(connections=1)
        try:
            await self._forward(reader, writer)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()  # the server is away, or the proxy ends: so does the client's connection
        finally:
            self._connections.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self._server, Path):
            upstream = await asyncio.open_unix_connection(str(self._server))
        else:
            upstream = await asyncio.open_connection(*self._server)
        try:
            await _Exchanges(self, (reader, writer), upstream).run()
        finally:
            upstream[1].transport.abort()
            await asyncio.sleep(self.faults.slow_close_seconds)
            writer.close()


_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Exchanges:
    """The exchanges of one connection."""

    def __init__(self, proxy: FaultProxy, client: _Stream, server: _Stream) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._has_answered = True
        self._fate = "pass"
        self._left = 0

    async def run(self) -> None:
        """Forward in both directions until either side ends its connection, or a fault does."""
        work: list[Coroutine[Any, Any, None]] = [self._forward_requests(), self._forward_answers()]
        tasks = [asyncio.ensure_future(item) for item in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _forward_requests(self) -> None:
        while data := await self._client[0].read(_CHUNK):
            if self._has_answered:
                self._has_answered = False
                faults, self._fate = self._proxy._draw()
                self._left = faults.after_bytes
                self._proxy._add(exchanges=1)
            if self._fate == "loss":
                self._proxy._add(lost=1)
                return
            self._proxy._add(bytes_sent=len(data))
            await self._send(self._server[1], data)

    async def _forward_answers(self) -> None:
        while data := await self._server[0].read(_CHUNK):
            self._has_answered = True
            is_cut = self._fate in {"reset", "truncation"}
            if is_cut:
                data = data[: self._left]
                self._left -= len(data)
            self._proxy._add(bytes_received=len(data))
            await self._send(self._client[1], data)
            if is_cut and self._left <= 0:
                self._cut()
                return

    def _cut(self) -> None:
        """End the client's connection in the middle of an answer."""
        if self._fate == "reset":
            self._proxy._add(resets=1)
            self._client[1].get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
            self._client[1].transport.abort()
        else:
            self._proxy._add(truncations=1)

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        faults = self._proxy.faults
        if faults.latency_seconds:
            await asyncio.sleep(faults.latency_seconds)
        size = max(1, len(data) if faults.bytes_per_second is None else int(faults.bytes_per_second / 20))
        for start in range(0, len(data), size):
            writer.write(data[start : start + size])
            await writer.drain()
            if faults.bytes_per_second is not None:
                await asyncio.sleep(min(size, len(data) - start) / faults.bytes_per_second)
