"""Bounds of a call below the transport: a call ends by its deadline and within its size limit.

A socket's timeout restarts with every byte, so a response of one byte per second would hold a call for days. Here each
read from the socket gets no more time than the call has left: for its head, and for the whole, which ends with the time
of the call's earlier attempts, its account and its batch (`foundation.time_limit`). The bytes are counted in
the same place, so that no endless line, header or chunk fills the memory. Compressed bodies are decompressed in bounded
steps.
"""

import http.client
import io
import ipaddress
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from http.cookiejar import DefaultCookiePolicy
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager

from adwarm.foundation.clock import seconds_left
from adwarm.foundation.compute_turn import waiting
from adwarm.foundation.errors import TooMuchData, Transient

_CHUNK = 65_536
_STEP = 262_144
_HEAD_BYTES = 8 * 2**20
_SHORTEST_SECONDS = 0.001
_UNCOMPRESSED = frozenset({"", "identity"})
_COMPRESSED = frozenset({"gzip", "x-gzip"})
_GZIP = 31


class CallBounds:
    """The time and bytes that one call may still take. Used by one thread at a time; `start` begins the next call.

    Args:
        head_seconds: time until the head of the response is complete, and the longest pause between two reads.
        max_bytes: decoded bytes of a body; on the wire, the head has an allowance of its own.
        monotonic: a clock in seconds that never goes back.
        when_too_large: what to do about a response of more bytes; ends the message of the error.
    """

    def __init__(
        self,
        head_seconds: float,
        whole_seconds: float,
        max_bytes: int,
        monotonic: Callable[[], float] = time.monotonic,
        when_too_large: str = "ask for fewer days or fields",
    ) -> None:
        self._head_seconds, self._whole_seconds, self.max_bytes = head_seconds, whole_seconds, max_bytes
        self._monotonic = monotonic
        self._when_too_large = when_too_large
        self.start()

    def start(self) -> None:
        """Start a call."""
        self.is_late = self.is_too_large = False
        self._in_head = True
        self._started = self._monotonic()
        self._left_at_start = min(self._whole_seconds, seconds_left())
        self._bytes_left = self.max_bytes + _HEAD_BYTES

    def connect_timeout_seconds(self, connect: float) -> tuple[float, float]:
        """Return the timeouts of connecting and of the first read of a call that begins now, in seconds.

        Args:
            connect: the longest time to connect to one address.
        """
        left = max(_SHORTEST_SECONDS, self._left_at_start)
        return min(connect, left), min(self._head_seconds, left)

    @property
    def is_in_body(self) -> bool:
        """Whether the head of the response is complete."""
        return not self._in_head

    def mark_head_complete(self) -> None:
        """Switch from the deadline of the head to that of the whole call."""
        self._in_head = False

    def read_timeout_seconds(self) -> float:
        """Return the seconds that the next read may take.

        Raises:
            TimeoutError: none are left.
        """
        whole = min(self._head_seconds, self._left_at_start) if self._in_head else self._left_at_start
        left = self._started + whole - self._monotonic()
        if left <= 0:
            self.is_late = True
            raise TimeoutError("the call's time is up")
        return min(self._head_seconds, left)

    def count_bytes(self, count: int) -> None:
        """Count received bytes.

        Raises:
            ConnectionAbortedError: the call exceeds its size limit.
        """
        self._bytes_left -= count
        if self._bytes_left < 0:
            self.is_too_large = True
            raise ConnectionAbortedError("more bytes came than a call may take")

    def too_large_error(self) -> TooMuchData:
        """Return the error for a response of more than `max_bytes`."""
        message = f"Meta's response is larger than {self.max_bytes:,} bytes; {self._when_too_large}"
        return TooMuchData(message, code="too_large", smaller_page=True)


class _BoundedReads(io.RawIOBase):
    """Reads from a socket within the bounds of a call."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase, bounds: CallBounds) -> None:
        super().__init__()
        self._sock, self._raw, self._bounds = sock, raw, bounds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self._sock.settimeout(self._bounds.read_timeout_seconds())
        with waiting():
            count = cast("int | None", self._raw.readinto(buffer))
        self._bounds.count_bytes(count or 0)
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class BoundedAdapter(HTTPAdapter):
    """An adapter whose responses are read within `bounds`."""

    def __init__(self, bounds: CallBounds) -> None:
        self._pools = _bounded_pools(bounds)
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Create the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self._bound(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Return the pools of connections through `proxy`."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        self._bound(manager)
        return manager

    def _bound(self, manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = self._pools


class BoundedSession(requests.Session):
    """A session whose calls are bounded. It follows no redirect, stores no cookies and asks for no other encodings than
    those that are decompressed in steps.

    Args:
        url: an address that is called; on this machine's loopback, which a proxy cannot reach, none is used.
    """

    def __init__(self, bounds: CallBounds, url: str) -> None:
        super().__init__()
        adapter = BoundedAdapter(bounds)
        self.mount("https://", adapter)
        self.mount("http://", adapter)
        self.stream = True
        self.headers["Accept-Encoding"] = "gzip"
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.trust_env = not _is_loopback(urlsplit(url).hostname or "")

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None: where a response has a target, requests reads its body at once, whatever its size."""


def read_body(response: requests.Response, bounds: CallBounds) -> bytes:
    """Read and decode a body; on an error, the connection is closed.

    Raises:
        TooMuchData: the body exceeds the size limit.
        Transient: its encoding was not requested, or it is damaged.
        OSError, HTTPError: it cannot be read.
    """
    try:
        coding = response.headers.get("Content-Encoding", "").strip().lower()
        if coding in _UNCOMPRESSED:
            return _read_all(response, bounds, None)
        if coding in _COMPRESSED:
            return _read_all(response, bounds, _Decompressor())
        raise Transient(f"Meta's response is coded in a way that was not asked for ({coding[:20]!r})", code="encoding")
    except BaseException:
        response.close()
        raise


class _Decompressor:
    """Decompresses gzip, also of several members, in bounded steps."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(_GZIP)
        self.is_whole = True

    def decompress(self, data: bytes) -> Iterator[bytes]:
        """Yield the decompressed `data` in steps, so that the caller can stop at its limit.

        Raises:
            zlib.error: the data is damaged.
        """
        step = b""
        while data or len(step) == _STEP:  # after a full step, more may come out without further input
            if self._inner.eof:
                if not data:
                    return
                self._inner = zlib.decompressobj(_GZIP)
            step = self._inner.decompress(data, _STEP)
            self.is_whole = self._inner.eof
            data = self._inner.unused_data if self._inner.eof else self._inner.unconsumed_tail
            yield step


def _read_all(response: requests.Response, bounds: CallBounds, decompressor: _Decompressor | None) -> bytes:
    content = bytearray()
    try:
        while data := response.raw.read(_CHUNK, decode_content=False):
            for step in (data,) if decompressor is None else decompressor.decompress(data):
                content += step
                if len(content) > bounds.max_bytes:
                    raise bounds.too_large_error()
    except zlib.error:
        raise Transient("Meta's response is damaged: it cannot be unpacked", code="encoding") from None
    if decompressor is not None and not decompressor.is_whole:
        raise Transient("Meta's response is cut short: it cannot be unpacked to its end", code="encoding")
    return bytes(content)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bounded_pools(bounds: CallBounds) -> dict[str, type[HTTPConnectionPool]]:
    class BoundedResponse(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
            super().__init__(sock, *args, **kwargs)
            plain = self.fp.detach()
            self.fp = io.BufferedReader(_BoundedReads(sock, plain, bounds))

    class Plain(HTTPConnection):
        response_class = BoundedResponse

    class Secure(HTTPSConnection):
        response_class = BoundedResponse

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
