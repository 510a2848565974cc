"""Writes the open log: every open that the read API serves, for `adwarm_access_patterns` to learn from.

- `record` keeps an open in memory, which is bounded: the newest are dropped and counted when it is full.
- One thread appends them to `opens/<instance>.jsonl` in `home`, at least every second.
- When that file is `ROTATE_SECONDS` old or has `MAX_FILE_BYTES`, and at the end, it moves to the data folder,
  compressed, as `opens/<day>/<instance>-<number>.jsonl.gz`.

A file is closed by renaming it, and what is closed never changes, so that publishing it twice publishes the same files.
A process holds a lock on the file that it writes, which ends with the process, however it ends; every start publishes
the files that nobody holds. Only opens are stored: no user, no token and no address.
"""

import fcntl
import logging
import os
import re
import secrets
import socket
import sys
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from adwarm.foundation.home import make_private_folder
from adwarm.foundation.redaction import log_unexpected, redact
from adwarm.foundation.storage import storage_error
from adwarm.model import Actor, ReportKey
from adwarm.settings import Settings
from adwarm.store.open_files import OpenFiles, OpenLine

ROTATE_SECONDS = 300.0
"""Age at which the file moves to the data folder, where it is read: soon enough for the next plan, and few files."""
APPEND_SECONDS = 0.5
"""How long an open is in memory only; a process that is killed loses no more than that and the time of a write."""
BUFFER_LIMIT = 100_000
"""Opens in memory, about 30 MB; more come in only while the disk does not answer."""
MAX_FILE_BYTES = 4 * 2**20
"""Size at which a file moves before its time, about 20,000 opens: moving it is quick and takes little memory."""
_LINES_AT_ONCE = 1_000
_PIECE_BYTES, _PIECE_PAUSE_SECONDS = 64 * 2**10, 0.005
"""A closed file is compressed in pieces of about half a millisecond, with pauses: readers on the same core hardly wait,
and a large file still takes less than a second."""
_FAST, _GZIP = 1, 16 + zlib.MAX_WBITS
"""The least work, and the value at which zlib writes gzip."""
_NICENESS = 5
"""Of the thread: on a core that readers keep busy it gets a quarter, four times what the opens of these reads take."""
_WARN_SECONDS = 60.0
_UNSAFE = re.compile(r"[^A-Za-z0-9]+")
log = logging.getLogger(__name__)
_ENCODER: Final = msgspec.json.Encoder()
_DAY: Final = slice(len('{"ts":"'), len('{"ts":"2026-11-25'))
"""Where a line holds the UTC day of its open, as the encoder writes it."""


class Open(msgspec.Struct, frozen=True, gc=False):
    """One open of a report.

    Attributes:
        status: `hit`, `stale`, `miss` or `fetched`.
        sent_bytes: bytes of the body that was sent.
        request_id: the id that came with the request (`X-Request-Id`), or the number of the queued request that it made
            or whose answer it fetched; None when neither exists. An id that the server makes up is in no other log.
    """

    at: datetime
    key: ReportKey
    actor: Actor
    status: str
    latency_ms: float
    sent_bytes: int
    request_id: str | None = None


class OpenLog:
    """Records opens. One per process, made after it was forked.

    Args:
        limit: opens that are kept in memory.
    """

    def __init__(
        self, settings: Settings, monotonic: Callable[[], float] = time.monotonic, limit: int = BUFFER_LIMIT
    ) -> None:
        self.instance = make_instance_id()
        self.dropped = 0
        self._enabled = settings.serving.log_opens
        self._folder = settings.home / "opens"
        self._files = OpenFiles(settings.data)
        self._monotonic, self._limit = monotonic, limit
        self._buffer: deque[OpenLine] = deque()
        self._writing = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._handle: int | None = None
        self._size = 0
        self._waits_since = 0.0
        self._has_failed = False
        self._closed_count = 0
        self._warned: dict[str, float] = {}
        self._reported = 0

    @property
    def path(self) -> Path:
        """The file that is written."""
        return self._folder / f"{self.instance}.jsonl"

    def record(self, item: Open) -> None:
        """Add an open; it is on disk within a second. Never blocks, never fails, and leaves out adwarm's own reads."""
        if not self._enabled or item.actor is Actor.WARMER:
            return
        if len(self._buffer) >= self._limit:
            self.dropped += 1
            return
        key = item.key
        line = OpenLine(
            ts=item.at,
            account_id=key.account_id,
            date_range=key.date_range,
            report=key.report,
            actor=item.actor,
            status=item.status,
            hit=item.status == "hit",
            latency_ms=item.latency_ms,
            bytes=item.sent_bytes,
            request_id=item.request_id,
        )
        self._buffer.append(line)

    def start(self) -> None:
        """Publish what processes that died left behind, and begin to write."""
        if not self._enabled or self._thread is not None:
            return
        self._thread = threading.Thread(target=self._run, name="adwarm-open-log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write and publish everything."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._enabled:
            self.append()
            self.rotate()

    def append(self) -> None:
        """Write what is in memory to the file. Opens stay in memory while that fails.

        A part is encoded by one call and written by one, which holds up the loop for a quarter of a millisecond.
        """
        with self._writing:
            self._warn_of_dropped()
            for _ in range(0, len(self._buffer), _LINES_AT_ONCE):
                lines = [self._buffer.popleft() for _ in range(min(len(self._buffer), _LINES_AT_ONCE))]
                try:
                    self._write(_encode(lines))
                except OSError as error:
                    problem = storage_error(error, self.path, "ADWARM_HOME")
                    self._warn("append", f"opens cannot be written and stay in memory: {problem}")
                    self._buffer.extendleft(reversed(lines))
                    return

    def rotate(self) -> None:
        """Publish the file to the data folder, and those of processes that died. Files stay while that fails."""
        with self._writing:
            try:
                self._close_file()
                for path in sorted(self._folder.glob("*.jsonl")):
                    if path != self.path:
                        self._publish_unheld(path)
                self._has_failed = False
            except Exception as error:  # whatever object storage raises: the opens are safe, the next rotation tries
                self._has_failed, self._waits_since = True, self._monotonic()
                self._warn(
                    "rotate", redact(f"opens cannot be moved to {self._files.url}: {type(error).__name__}: {error}")
                )

    def _run(self) -> None:
        if sys.platform == "linux":  # elsewhere it would be that of the process
            os.nice(_NICENESS)
        self.rotate()
        while not self._stopped.wait(APPEND_SECONDS):
            self.append()
            if self.is_rotation_due():
                self.rotate()

    def is_rotation_due(self) -> bool:
        """Whether the file is large, or has waited for long enough; one that could not be published only waits."""
        waits = self._handle is not None or self._has_failed
        is_large = self._size >= MAX_FILE_BYTES and not self._has_failed
        return waits and (is_large or self._monotonic() - self._waits_since >= ROTATE_SECONDS)

    def _write(self, data: bytes) -> None:
        handle = self._open_file()
        size = os.fstat(handle).st_size
        try:
            rest = data
            while rest:
                rest = rest[os.write(handle, rest) :]
            self._size = size + len(data)
        except OSError:
            os.ftruncate(handle, size)  # a full disk took a part; the next attempt writes all of it
            raise

    def _open_file(self) -> int:
        """Return the file, opened and locked. Another process may delete it between the two, empty as it is."""
        while self._handle is None:
            make_private_folder(self._folder)
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink:
                self._handle = handle
                self._waits_since = self._waits_since if self._has_failed else self._monotonic()
            else:
                os.close(handle)
        return self._handle

    def _close_file(self) -> None:
        """Give the file a name of its own; from then on it does not change."""
        if self._handle is None:
            return
        self._closed_count += 1
        self.path.rename(self._folder / f"{self.instance}.{self._closed_count}.jsonl")
        os.close(self._handle)
        self._handle, self._size = None, 0

    def _publish_unheld(self, path: Path) -> None:
        """Publish and delete a file, unless a live process writes or publishes it."""
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return  # another process has published it
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_nlink:
                publish_lines(self._files, path, self._stopped.wait)
                path.unlink(missing_ok=True)
        except BlockingIOError:
            return
        finally:
            os.close(handle)

    def _warn_of_dropped(self) -> None:
        dropped = self.dropped - self._reported
        if dropped and self._warn("dropped", f"{dropped:,} opens were not logged: the disk does not keep up"):
            self._reported += dropped

    def _warn(self, what: str, text: str) -> bool:
        """Log a warning unless the last one of its kind is less than a minute old; return whether it was logged."""
        now = self._monotonic()
        if now - self._warned.get(what, -_WARN_SECONDS) < _WARN_SECONDS:
            return False
        self._warned[what] = now
        log.warning("%s", text)
        return True


def make_instance_id() -> str:
    """Return the name of this process: host, process id and a random number, safe as a file name."""
    host = _UNSAFE.sub("-", socket.gethostname())[:40].strip("-") or "host"
    return f"{host}_{os.getpid()}_{secrets.token_hex(4)}"


def publish_lines(files: OpenFiles, path: Path, pause: Callable[[float], object]) -> None:
    """Store the lines of a closed file by UTC day. A line that was cut by a crash is left out.

    Args:
        pause: waits for so many seconds, in which readers on the same core are answered.
    """
    packed: dict[date, bytearray] = {}
    packers: dict[date, Any] = {}
    for piece in _read_pieces(path):
        pause(_PIECE_PAUSE_SECONDS)
        for day, lines in _split_days(piece):
            if day not in packers:
                packers[day], packed[day] = zlib.compressobj(_FAST, wbits=_GZIP), bytearray()
            packed[day] += packers[day].compress(lines)
    instance, _, number = path.name.removesuffix(".jsonl").partition(".")
    for day, packer in packers.items():
        files.put(day, f"{instance}-{number or 0}", bytes(packed[day] + packer.flush()))


def _read_pieces(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, many at once."""
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES) + file.readline():
            yield piece


def _split_days(piece: bytes) -> Iterator[tuple[date, bytes]]:
    """Yield whole lines with their day: all of them at once, or each by itself around midnight and in a cut file."""
    is_one_day = piece.endswith(b"\n") and piece.count(piece[: _DAY.stop]) == piece.count(b"\n")
    for line in [piece] if is_one_day else piece.splitlines(keepends=True):
        try:
            day = date.fromisoformat(line[_DAY].decode())
        except ValueError:
            continue
        if line.endswith(b"\n"):
            yield day, line


def _encode(lines: list[OpenLine]) -> bytes:
    """Return lines in one call; one that holds what JSON has not is left out, and must not stop the others."""
    try:
        return _ENCODER.encode_lines(lines)
    except (TypeError, ValueError, OverflowError) as error:
        if len(lines) > 1:
            return b"".join(_encode([line]) for line in lines)
        log_unexpected(log, error, "an open could not be logged")
        return b""
