"""The object store."""

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adwarm.foundation.errors import BadRequest, Corrupt, NotFound
from adwarm.store.objects import ObjectStore


def test_round_trip_and_idempotence(objects: ObjectStore) -> None:
    """An object comes back under its hash; storing it again changes nothing."""
    digest = objects.put(b"rows")

    assert hashlib.sha256(b"rows").hexdigest() == digest == objects.put(b"rows")
    assert objects.get(digest) == b"rows"
    assert [(digest, ".parquet")] == list(objects.list_objects())


def test_a_changed_file_is_corrupt_and_a_missing_one_not_found(objects: ObjectStore, tmp_path: Path) -> None:
    """Bytes that do not match their hash are never returned."""
    digest = objects.put(b"rows")
    next((tmp_path / "data").rglob("*.parquet")).write_bytes(b"rowz")

    with pytest.raises(Corrupt):
        objects.get(digest)
    objects.delete(digest)
    with pytest.raises(NotFound):
        objects.get(digest)


@pytest.mark.parametrize("url", ["folder", "memory://adwarm-age"])
def test_putting_again_renews_and_repairs_an_object(url: str, tmp_path: Path) -> None:
    """The modification time is new, and a damaged object is repaired."""
    store = ObjectStore(str(tmp_path / "data") if url == "folder" else url)
    digest, before = store.put(b"rows"), datetime.now(UTC) - timedelta(seconds=5)
    if url == "folder":
        path = next((tmp_path / "data").rglob("*.parquet"))
        path.write_bytes(b"rowz")
        os.utime(path, (1_000_000_000, 1_000_000_000))
        assert store.get_modified_at(digest) == datetime.fromtimestamp(1_000_000_000, UTC)

    assert store.put(b"rows") == digest
    assert (store.get(digest), store.get_modified_at(digest) > before) == (b"rows", True)
    with pytest.raises(NotFound):
        store.get_modified_at("0" * 64)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "/.."])
def test_names_come_from_hashes_only(objects: ObjectStore, name: str) -> None:
    """Input never becomes part of a path."""
    with pytest.raises(BadRequest):
        objects.get(name)


def test_memory_url() -> None:
    """The same store works behind an fsspec URL."""
    store = ObjectStore("memory://adwarm-test")

    digest = store.put(b"far away", ".jsonl")

    assert store.get(digest, ".jsonl") == b"far away"
    store.check()
