"""Bodies: verified when they enter the cache and when a file was changed, bounded, and never served damaged."""

import asyncio
import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event

from adwarm.compression import decode_envelope
from adwarm.foundation.home import BODY_FOLDER
from adwarm.model import ReportKey
from adwarm.serving.body_cache import BodyCache, BodyFiles, hash_stored
from adwarm.store import Context, entries
from adwarm.store.database import write_transaction
from adwarm.store.entries import Entry
from adwarm.store.entries import table as entry_table
from tests.support.stored_damage import UNDECODABLE
from tests.unit.conftest import SQLITE_ONLY, ReaderHarness

KEYS = [ReportKey("act_1", name) for name in ("yesterday", "last_3d", "last_7d", "last_14d")]


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    """Two threads."""
    with ThreadPoolExecutor(2) as threads:
        yield threads


class Bodies:
    """A cache in a folder, with the statements that it sent."""

    def __init__(self, reading: ReaderHarness, home: Path, executor: ThreadPoolExecutor) -> None:
        self.reading, self.home, self.executor = reading, home, executor
        self.reads = 0
        event.listen(reading.engine, "before_cursor_execute", self._count)
        self.cache = self.restart()

    def restart(self, **serving: int) -> BodyCache:
        """Return the cache of a new process."""
        context: Context = self.reading.harness.prefetch.context
        changed = context.settings.serving.model_copy(update=serving)
        settings = context.settings.model_copy(update={"serving": changed, "home": self.home})
        self.cache = BodyCache(replace(context, settings=settings), self.executor)
        return self.cache

    def close(self) -> None:
        """Stop counting."""
        event.remove(self.reading.engine, "before_cursor_execute", self._count)

    def _count(self, _connection: object, _cursor: object, statement: str, *_more: object) -> None:
        self.reads += "payload.body" in statement and statement.startswith("SELECT")

    def get(self, entry: Entry) -> bytes | None:
        """Return a body as a request would get it."""
        return self.cache.get(entry) or asyncio.run(self.cache.load(entry))


@pytest.fixture
def bodies(reading: ReaderHarness, tmp_path: Path, executor: ThreadPoolExecutor) -> Iterator[Bodies]:
    """A cache over a store with four entries."""
    reading.warm(*KEYS)
    harness = Bodies(reading, tmp_path, executor)
    yield harness
    harness.close()


def _entries(bodies: Bodies) -> list[tuple[Entry, bytes]]:
    found = []
    for entry in entries.list_entries(bodies.reading.engine):
        stored = entries.find(bodies.reading.engine, entry.key)
        assert stored is not None
        found.append((entry, decode_envelope(stored[1]).body))
    bodies.reads = 0
    return sorted(found, key=lambda item: -len(item[1]))


def test_the_database_is_read_once(bodies: Bodies) -> None:
    """Then the body comes from memory, and after a restart from its file, which belongs to this user alone."""
    entry, body = _entries(bodies)[0]
    assert [bodies.get(entry) for _ in range(3)] == [body] * 3
    bodies.restart()
    assert bodies.get(entry) == body
    assert bodies.reads == 1
    file = bodies.home / BODY_FOLDER / entry.payload_hash
    assert file.read_bytes() == body
    assert (file.parent.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)


def test_the_stored_hash_covers_the_body(bodies: Bodies) -> None:
    """The name of a file is the hash of what the database holds, recomputed from the body and the entry's row."""
    for entry, body in _entries(bodies):
        assert hash_stored(entry, body) == entry.payload_hash
        assert hash_stored(entry, body[:-1] + bytes([body[-1] ^ 1])) != entry.payload_hash


@SQLITE_ONLY
@pytest.mark.parametrize("damage", ["truncated", "longer", "same size", "empty"])
@pytest.mark.parametrize("is_new_process", [False, True])
def test_a_changed_file_is_read_again(bodies: Bodies, damage: str, is_new_process: bool) -> None:
    """A file of another size or time is verified; a damaged one is replaced from the database and never served."""
    entry, body = _entries(bodies)[0]
    bodies.restart(memory_bytes=0)
    assert bodies.get(entry) == body
    file = bodies.home / BODY_FOLDER / entry.payload_hash
    before = file.stat()
    changed = {
        "truncated": body[:-1],
        "longer": body + b"x",
        "same size": body[:-1] + bytes([body[-1] ^ 1]),
        "empty": b"",
    }[damage]
    file.write_bytes(changed)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000))
    if is_new_process:
        bodies.restart(memory_bytes=0)
    assert bodies.get(entry) == body
    assert file.read_bytes() == body
    assert bodies.reads == 2


@SQLITE_ONLY
def test_an_untouched_file_that_got_another_time_is_kept(bodies: Bodies) -> None:
    """It is verified, found right, and trusted from then on."""
    entry, body = _entries(bodies)[0]
    bodies.restart(memory_bytes=0)
    bodies.get(entry)
    os.utime(bodies.home / BODY_FOLDER / entry.payload_hash, ns=(1, 1))
    assert [bodies.get(entry), bodies.get(entry)] == [body, body]
    assert bodies.reads == 1


def test_damaged_bytes_in_the_database_are_marked(bodies: Bodies) -> None:
    """They give nothing, are cached nowhere, and their entry is degraded."""
    entry, _ = _entries(bodies)[0]
    bodies.reading.corrupt_payloads()
    assert bodies.get(entry) is None
    assert not (bodies.home / BODY_FOLDER / entry.payload_hash).exists()
    assert {item.degraded for item in entries.list_entries(bodies.reading.engine) if item.key == entry.key} == {True}


def test_bytes_of_another_entry_are_damaged_bytes(bodies: Bodies) -> None:
    """Intact bytes under the wrong hash are not served."""
    (entry, _), (other, _) = _entries(bodies)[:2]
    assert bodies.get(replace(entry, payload_hash=other.payload_hash, codec="gzip")) is None


@SQLITE_ONLY
def test_memory_is_bounded(bodies: Bodies) -> None:
    """The least recently used body leaves memory; one that is too large never enters."""
    items = _entries(bodies)
    bodies.restart(memory_bytes=len(items[0][1]) + 1)
    for entry, _ in items:
        bodies.get(entry)
    assert bodies.cache.get(items[-1][0]) is not None
    assert bodies.cache.get(items[0][0]) is None
    assert bodies.cache._memory.currsize <= len(items[0][1]) + 1


@SQLITE_ONLY
def test_the_folder_is_bounded(bodies: Bodies) -> None:
    """The oldest files go once the limit is exceeded; a body that is larger than the limit is not written."""
    items = _entries(bodies)
    sizes = [len(body) for _, body in items]
    files = BodyFiles(bodies.home / "small", sum(sizes) - 1)
    for number, (entry, body) in enumerate(items):
        files.put(entry, body)
        path = bodies.home / "small" / entry.payload_hash
        if path.exists():
            os.utime(path, ns=(number, number))
    left = [path.name for path in (bodies.home / "small").iterdir()]
    assert sum(path.stat().st_size for path in (bodies.home / "small").iterdir()) <= sum(sizes) - 1
    assert items[0][0].payload_hash not in left
    assert items[-1][0].payload_hash in left
    tiny = BodyFiles(bodies.home / "tiny", sizes[-1] - 1)
    tiny.put(*items[-1])
    assert not (bodies.home / "tiny").exists()


@SQLITE_ONLY
def test_a_folder_that_cannot_be_used_is_done_without(bodies: Bodies) -> None:
    """A file in place of the folder is logged; bodies come from the database."""
    (bodies.home / BODY_FOLDER).write_text("not a folder", encoding="utf-8")
    entry, body = _entries(bodies)[0]
    bodies.restart(memory_bytes=0)
    assert [bodies.get(entry), bodies.get(entry)] == [body, body]
    assert bodies.reads == 2


@SQLITE_ONLY
def test_readers_share_a_read(bodies: Bodies) -> None:
    """Fifty requests for a body that is not cached cause one statement."""
    entry, body = _entries(bodies)[0]

    async def load() -> list[bytes | None]:
        return await asyncio.gather(*(bodies.cache.load(entry) for _ in range(50)))

    assert asyncio.run(load()) == [body] * 50
    assert bodies.reads == 1


@SQLITE_ONLY
@pytest.mark.parametrize("damage", UNDECODABLE)
def test_what_cannot_be_decoded_is_never_a_body(reading: ReaderHarness, bodies: Bodies, damage: str) -> None:
    """It is neither served nor kept in a file, and its entry is marked."""
    with write_transaction(reading.engine) as connection:
        connection.execute(entry_table.delete().where(entry_table.c.date_range != "last_7d"))
    entry = UNDECODABLE[damage](reading.engine)
    assert bodies.get(entry) is None
    assert not (bodies.home / BODY_FOLDER / entry.payload_hash).exists()
    assert [item.degraded for item in entries.list_entries(reading.engine)] == [True]


@SQLITE_ONLY
def test_files_are_used_again_after_a_full_disk(
    tmp_path: Path, bodies: Bodies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error is logged with the setting and the free space; a minute later the next body is written."""
    entry, body = _entries(bodies)[0]
    clock = [0.0]
    files = BodyFiles(tmp_path / "files", 10 << 20, lambda: clock[0])

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        files.put(entry, body)
    files.put(entry, body)
    assert files.get(entry) is None
    assert list((tmp_path / "files").iterdir()) == []
    clock[0] = 61.0
    files.put(entry, body)
    assert files.get(entry) == body
