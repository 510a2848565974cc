"""Stored bodies on the disk and in the memory of one process, checked against their hashes.

A folder of response bodies, named by the hash of the stored bytes: disposable, private, bounded by bytes.

A file that was written or read here before is trusted while its size and time stay the same. Any other file is verified
first: the hash of the stored bytes covers codec, content type, length and body, so the file needs no further checksum.

Response bodies by the hash of the stored bytes: in memory, then in local files, then from the database.

A body is verified and decoded once when it comes from the database, and verified when a file was changed. What is
damaged or lost is never served: its entry is marked degraded, so that it is fetched again.
"""

import asyncio
import logging
import math
import os
import time
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Final

from cachetools import LRUCache

from adwarm.compression import CONTENT_TYPE, encode_envelope
from adwarm.compression.envelope import parse_codec
from adwarm.compression.stored_bytes import verify_bytes, verify_document
from adwarm.foundation.errors import Corrupt, StorageError
from adwarm.foundation.home import BODY_FOLDER, make_private_folder, write_private_file
from adwarm.foundation.storage import storage_error
from adwarm.serving.local_caches import CacheSelection, run_in_loop
from adwarm.store import Context, entries
from adwarm.store.entries import Entry, mark_damaged

_LOG = logging.getLogger(__name__)
_RETRY_SECONDS: Final = 60.0
"""After an error of the file system."""
_FREE_SHARE: Final = 0.1
"""Share of the limit that is freed when the folder is full, so that not every write lists it."""


class BodyFiles:
    """Bodies in files. Safe for many threads and processes; an error of the file system is logged, never raised."""

    def __init__(self, folder: Path, max_bytes: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._trusted: dict[str, tuple[int, int]] = {}
        self._lock = Lock()
        self._bytes: int | None = None
        self._monotonic = monotonic
        self._ready_at = -math.inf if max_bytes > 0 else math.inf

    def get(self, entry: Entry) -> bytes | None:
        """Return the verified body of an entry, or None; a file that is not what it should be is deleted."""
        if not self._is_ready():
            return None
        path = self._folder / entry.payload_hash
        try:
            with path.open("rb") as file:
                status, body = os.fstat(file.fileno()), file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._disable("read", error)
            return None
        seen = (status.st_size, status.st_mtime_ns)
        if self._trusted.get(entry.payload_hash) == seen and len(body) == status.st_size:
            return body
        if hash_stored(entry, body) != entry.payload_hash:
            _LOG.warning("the cached body %s was changed; it is read from the database again", entry.payload_hash[:12])
            self._delete(path)
            return None
        self._trusted[entry.payload_hash] = seen
        return body

    def put(self, entry: Entry, body: bytes) -> None:
        """Write the verified body of an entry; one that is larger than the limit is not kept."""
        if not self._is_ready() or len(body) > self._max_bytes:
            return
        try:
            make_private_folder(self._folder)
            self._trusted[entry.payload_hash] = _write(self._folder / entry.payload_hash, body)
            self._make_space(len(body))
        except OSError as error:
            self._disable("written", error)

    def delete(self, hashes: Collection[str] | None) -> None:
        """Delete the bodies with these hashes of the stored bytes; all when None."""
        if not self._is_ready() or not self._folder.is_dir():
            return
        try:
            files = [path for _, _, path in self._list_files() if not path.name.startswith(".")]
            for path in files:
                if hashes is None or path.name in hashes:
                    self._delete(path)
        except OSError as error:
            self._disable("deleted", error)

    def _make_space(self, added: int) -> None:
        """Delete the oldest files once the folder is larger than the limit."""
        with self._lock:
            self._bytes = None if self._bytes is None else self._bytes + added
            if self._bytes is not None and self._bytes <= self._max_bytes:
                return
            files = sorted(self._list_files())
            total = sum(size for _, size, _ in files)
            limit = self._max_bytes * (1 - _FREE_SHARE) if total > self._max_bytes else total
            for _, size, path in files:
                if total <= limit:
                    break
                self._delete(path)
                total -= size
            self._bytes = total

    def _list_files(self) -> list[tuple[int, int, Path]]:
        listed = []
        with os.scandir(self._folder) as items:
            for item in items:
                with suppress(FileNotFoundError):  # another process has deleted it
                    status = item.stat()
                    listed.append((status.st_mtime_ns, status.st_size, Path(item.path)))
        return listed

    def _delete(self, path: Path) -> None:
        self._trusted.pop(path.name, None)
        path.unlink(missing_ok=True)

    def _is_ready(self) -> bool:
        return self._monotonic() >= self._ready_at

    def _disable(self, what: str, error: OSError) -> None:
        """Continue without files for a minute; bodies come from the database meanwhile."""
        self._ready_at = self._monotonic() + _RETRY_SECONDS
        self._bytes = None
        problem = storage_error(error, self._folder, "ADWARM_HOME")
        _LOG.warning("bodies cannot be %s; they are kept in memory only for a minute: %s", what, problem)


def hash_stored(entry: Entry, body: bytes) -> str:
    """Return the hash of the stored bytes of an entry whose body is `body`."""
    return sha256(seal_body(entry, body)).hexdigest()


def seal_body(entry: Entry, body: bytes) -> bytes:
    """Return the stored bytes of an entry whose body is `body`."""
    return encode_envelope(body, codec=parse_codec(entry.codec), content_type=CONTENT_TYPE, raw_bytes=entry.raw_bytes)


def _write(path: Path, body: bytes) -> tuple[int, int]:
    """Write a file that other processes see whole or not at all, and return its size and time."""
    status = write_private_file(path, body)
    return status.st_size, status.st_mtime_ns


class BodyCache:
    """Finds bodies. Its methods are called in one event loop; `read` runs in threads of `executor`."""

    def __init__(self, context: Context, executor: Executor) -> None:
        serving = context.settings.serving
        self._context = context
        self._compression = context.settings.compression
        self._executor = executor
        self._memory: LRUCache[str, bytes] = LRUCache(serving.memory_bytes, getsizeof=len)
        self._files = BodyFiles(context.settings.home / BODY_FOLDER, serving.disk_bytes)
        self._flights: dict[str, asyncio.Future[bytes | None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def clear(self, selection: CacheSelection) -> None:
        """Drop the bodies of the selected account, and delete their files. Call it in any thread."""
        hashes = None if selection.account_id is None else selection.payload_hashes
        run_in_loop(self._loop, lambda: self._drop(hashes))
        self._files.delete(hashes)

    def get(self, entry: Entry) -> bytes | None:
        """Return the body of an entry if it is in memory, else None."""
        return self._memory.get(entry.payload_hash)

    def read_local(self, entry: Entry) -> bytes | None:
        """Read the body of an entry from its file, in this thread; None when there is none. Needs no database."""
        return self._files.get(entry)

    async def load(self, entry: Entry) -> bytes | None:
        """Return the body of an entry, encoded as it is stored; None when it is lost or damaged."""
        flight = self._flights.get(entry.payload_hash)
        if flight is None:
            loop = self._loop = asyncio.get_running_loop()
            flight = self._flights[entry.payload_hash] = loop.run_in_executor(self._executor, self.read, entry)
            flight.add_done_callback(lambda done: self._finish(entry.payload_hash, done))
        return await asyncio.shield(flight)

    def read(self, entry: Entry) -> bytes | None:
        """Read the body of an entry from its file or the database, in this thread; None when it is lost or damaged."""
        body = self._files.get(entry)
        if body is not None:
            return body
        try:
            body = self._read_verified(entry)
        except Corrupt as error:
            with suppress(StorageError):  # a full disk: the next reader notices the damage again
                mark_damaged(self._context, entry, error)
            return None
        self._files.put(entry, body)
        return body

    def _read_verified(self, entry: Entry) -> bytes:
        sealed = entries.find_payload(self._context.engine, entry.payload_hash)
        if sealed is None:
            raise Corrupt("the stored bytes are lost; fetch them again")
        envelope = verify_bytes(entry, sealed)
        verify_document(entry, envelope, self._compression)
        return envelope.body

    def _drop(self, hashes: Collection[str] | None) -> None:
        for payload_hash in [name for name in self._memory if hashes is None or name in hashes]:
            del self._memory[payload_hash]

    def _finish(self, payload_hash: str, done: asyncio.Future[bytes | None]) -> None:
        del self._flights[payload_hash]
        if not done.cancelled() and done.exception() is None:
            body = done.result()
            if body is not None and len(body) <= self._memory.maxsize:
                self._memory[payload_hash] = body
