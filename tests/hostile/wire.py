"""A call as it arrives on a loopback socket, and the pieces of a response: bytes, waits, and broken endings."""

import gzip
import json
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

MAX_LINE = 65_536


@dataclass(frozen=True, slots=True)
class Delay:
    """A pause in seconds during which nothing is sent."""

    seconds: float


class EarlyClose:
    """How a connection ends early."""

    CLOSE = "close"
    RESET = "reset"


ResponseStep = bytes | Delay | str
"""Bytes to send, a wait, or one of `Ending`."""


@dataclass(slots=True)
class WireRequest:
    """One request: its path after the version, and its parameters from query and form.

    Attributes:
        query: the parameters of the insights query; when a report is read, those of its submit.
        number: how often this account has been called on this route, this call included.
    """

    method: str
    parts: tuple[str, ...]
    params: dict[str, str]
    headers: dict[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    number: int = 1


def read_request(reader: BinaryIO) -> WireRequest | None:
    """Return the next request of a connection; None when the client has closed it."""
    words = reader.readline(MAX_LINE).decode("latin-1").split()
    if len(words) < 2:
        return None
    headers: dict[str, str] = {}
    while line := reader.readline(MAX_LINE).decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    form = reader.read(int(headers.get("content-length", 0))).decode()
    address = urlsplit(words[1])
    found = parse_qs(address.query, keep_blank_values=True) | parse_qs(form, keep_blank_values=True)
    parts = [part for part in address.path.split("/") if part]
    return WireRequest(words[0], tuple(parts[1:]), {name: values[-1] for name, values in found.items()}, headers)


def dumps(body: Any) -> bytes:
    """Return a body as the platform serializes it."""
    return json.dumps(body, separators=(",", ":")).encode()


def head(
    headers: Iterable[tuple[str, str]] = (),
    *,
    length: int | None,
    status: str = "200 OK",
    kind: str = "application/json",
) -> bytes:
    """Return a status line and headers; without a length the body ends as `headers` say, or with the connection."""
    own = [("Content-Type", f"{kind}; charset=UTF-8"), *headers]
    if length is not None:
        own.append(("Content-Length", str(length)))
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in own)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def http_response(body: Any, headers: Iterable[tuple[str, str]] = (), *, status: str = "200 OK") -> bytes:
    """Return a complete response; a body of bytes is sent as it is."""
    content = body if isinstance(body, bytes) else dumps(body)
    return head(headers, length=len(content), status=status) + content


def gzip_response(content: bytes) -> bytes:
    """Return a response whose body is compressed."""
    small = gzip.compress(content)
    return head([("Content-Encoding", "gzip")], length=len(small)) + small


def chunked_body(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the parts of a body in chunked encoding, without the last chunk."""
    for part in parts:
        yield f"{len(part):x}\r\n".encode() + part + b"\r\n"


def drip(content: bytes, seconds: float = 1.0) -> Iterator[ResponseStep]:
    """Yield bytes one by one with a wait after each."""
    for value in content:
        yield bytes([value])
        yield Delay(seconds)


def error_body(code: int, message: str, **more: Any) -> Mapping[str, Any]:
    """Return an error body in the platform's shape."""
    return {"error": {"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "Abc", **more}}


def reset(connection: socket.socket) -> None:
    """Make closing the connection send a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
