"""The wire below the transport: a call ends by its deadline and within its bytes, whatever comes at whatever pace.

A socket's own timeout starts anew with every byte, so an answer at one byte a second would hold a call for days. Here
each read from the socket is given no more than what is left of the call: until its head is complete, and until its end.
The same place counts bytes, so that no endless line, header or chunk fills the memory, and compressed answers are
opened in bounded steps.
"""

import http.client
import io
import socket
import time
import zlib
from collections.abc import Callable
from http.cookiejar import DefaultCookiePolicy
from typing import Any, cast

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager

from adwarm.foundation.errors import TooMuchData, Transient

_CHUNK = 65_536
_HEAD_ROOM = 8 * 2**20
_PLAIN = frozenset({"", "identity"})
_PACKED = frozenset({"gzip", "x-gzip", "deflate"})
_GZIP_OR_ZLIB, _RAW_DEFLATE = 47, -15


class CallBounds:
    """What one call may still take. Used by one thread at a time; `begin` starts the next call.

    Args:
        head_seconds: until the head of the answer is complete, and the longest silence.
        whole_seconds: until its last byte.
        most_bytes: decoded bytes of a body; on the wire the head has some room besides.
        monotonic: seconds that never go back.
    """

    def __init__(
        self,
        head_seconds: float,
        whole_seconds: float,
        max_bytes: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._head_seconds, self._whole_seconds, self.max_bytes = head_seconds, whole_seconds, max_bytes
        self._monotonic = monotonic
        self.start()

    def start(self) -> None:
        """Start a call."""
        self.is_late = self.is_too_large = False
        self._in_head = True
        self._began = self._monotonic()
        self._bytes_left = self.max_bytes + _HEAD_ROOM

    def mark_head_complete(self) -> None:
        """From here on the deadline of the whole call counts."""
        self._in_head = False

    def read_timeout_seconds(self) -> float:
        """Return the seconds that the next read may take.

        Raises:
            TimeoutError: none are left.
        """
        whole = min(self._head_seconds, self._whole_seconds) if self._in_head else self._whole_seconds
        left = self._began + whole - self._monotonic()
        if left <= 0:
            self.is_late = True
            raise TimeoutError("the call's time is up")
        return min(self._head_seconds, left)

    def count_bytes(self, count: int) -> None:
        """Count bytes that came.

        Raises:
            ConnectionAbortedError: they are too many.
        """
        self._bytes_left -= count
        if self._bytes_left < 0:
            self.is_too_large = True
            raise ConnectionAbortedError("more bytes came than a call may take")


class _BoundedReads(io.RawIOBase):
    """Reads of a socket within a call's bounds."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase, bounds: CallBounds) -> None:
        super().__init__()
        self._sock, self._raw, self._bounds = sock, raw, bounds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self._sock.settimeout(self._bounds.read_timeout_seconds())
        count = cast("int | None", self._raw.readinto(buffer))
        self._bounds.count_bytes(count or 0)
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class BoundedAdapter(HTTPAdapter):
    """Connections whose answers are read within `bounds`."""

    def __init__(self, bounds: CallBounds) -> None:
        self._pools = _bounded_pools(bounds)
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self._bound(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Return the pools of connections through `proxy`."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        self._bound(manager)
        return manager

    def _bound(self, manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = self._pools


def apply_bounds(session: requests.Session, bounds: CallBounds) -> None:
    """Let every call of `session` keep within `bounds`, accept what can be opened in steps, and keep no cookie."""
    adapter = BoundedAdapter(bounds)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers["Accept-Encoding"] = "gzip, deflate"
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))


def read_body(response: requests.Response, bounds: CallBounds) -> bytes:
    """Read and decode a body; the connection of one that is not read to its end is closed.

    Raises:
        TooMuchData: it is larger than it may be.
        Transient: it is coded in a way that was not asked for, or damaged.
        OSError, HTTPError: it does not come.
    """
    try:
        coding = response.headers.get("Content-Encoding", "").strip().lower()
        if coding in _PLAIN:
            return _read_all(response, bounds, None)
        if coding in _PACKED:
            return _read_all(response, bounds, _Decompressor())
        raise Transient(f"Meta's answer is coded in a way that was not asked for ({coding[:20]!r})", code="encoding")
    except BaseException:
        response.close()
        raise


def too_large_error(most: int) -> TooMuchData:
    """Return the error about an answer of more than `most` bytes."""
    words = f"Meta's answer is larger than {most} bytes; ask for fewer days or fields"
    return TooMuchData(words, code="too_large", smaller_page=True)


class _Decompressor:
    """Opens gzip (of several members too), zlib and bare deflate, never more than asked at a time."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._fresh = True

    def decompress(self, data: bytes, most: int) -> bytes:
        """Return what `data` adds, at most `most` bytes and one more, which tells that there is more.

        Raises:
            zlib.error: it is damaged.
        """
        found = bytearray()
        while data and len(found) <= most:
            if self._inner.eof:
                self._inner, self._fresh = zlib.decompressobj(_GZIP_OR_ZLIB), True
            try:
                found += self._inner.decompress(data, most + 1 - len(found))
            except zlib.error:
                if not self._fresh:
                    raise
                self._inner = zlib.decompressobj(_RAW_DEFLATE)
                found += self._inner.decompress(data, most + 1 - len(found))
            self._fresh = False
            data = self._inner.unused_data if self._inner.eof else self._inner.unconsumed_tail
        return bytes(found)

    @property
    def is_whole(self) -> bool:
        return self._inner.eof or self._fresh


def _read_all(response: requests.Response, bounds: CallBounds, unpacker: _Decompressor | None) -> bytes:
    content, most = bytearray(), bounds.max_bytes
    try:
        while data := response.raw.read(_CHUNK, decode_content=False):
            content += data if unpacker is None else unpacker.decompress(data, most - len(content))
            if len(content) > most:
                raise too_large_error(most)
    except zlib.error:
        raise Transient("Meta's answer is damaged: it cannot be unpacked", code="encoding") from None
    if unpacker is not None and not unpacker.is_whole:
        raise Transient("Meta's answer is cut short: it cannot be unpacked to its end", code="encoding")
    return bytes(content)


def _bounded_pools(bounds: CallBounds) -> dict[str, type[HTTPConnectionPool]]:
    class Answer(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
            super().__init__(sock, *args, **kwargs)
            plain = self.fp.detach()
            self.fp = io.BufferedReader(_BoundedReads(sock, plain, bounds))

    class Plain(HTTPConnection):
        response_class = Answer

    class Secure(HTTPSConnection):
        response_class = Answer

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
