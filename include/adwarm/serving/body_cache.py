"""Response bodies by the hash of the stored bytes: in memory, then in local files, then from the database.

A body is verified and decoded once when it comes from the database, and verified when a file was changed. What is
damaged or lost is never served: its entry is marked degraded, so that it is fetched again.
"""

import asyncio
from collections.abc import Collection
from concurrent.futures import Executor
from contextlib import suppress

from cachetools import LRUCache

from adwarm.compression.stored_bytes import verify_bytes, verify_document
from adwarm.foundation.errors import Corrupt, StorageError
from adwarm.foundation.home import BODY_FOLDER
from adwarm.serving.body_files import BodyFiles
from adwarm.serving.local_caches import CacheSelection, run_in_loop
from adwarm.store import Context, payloads
from adwarm.store.entries import Entry, mark_damaged


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
        """Return the body of an entry, encoded as it is stored; None when it is lost or damaged.

        Raises:
            Transient: the database cannot be reached.
        """
        flight = self._flights.get(entry.payload_hash)
        if flight is None:
            loop = self._loop = asyncio.get_running_loop()
            flight = self._flights[entry.payload_hash] = loop.run_in_executor(self._executor, self.read, entry)
            flight.add_done_callback(lambda done: self._finish(entry.payload_hash, done))
        return await asyncio.shield(flight)

    def read(self, entry: Entry) -> bytes | None:
        """Read the body of an entry from its file or the database, in this thread; None when it is lost or damaged.

        Raises:
            Transient: the database cannot be reached.
        """
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
        sealed = payloads.find(self._context.engine, entry.payload_hash)
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
