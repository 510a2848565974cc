"""Tests of the object store."""

import hashlib
from pathlib import Path

import pytest

from adwarm.errors import BadRequest, Corrupt, NotFound
from adwarm.store.objects import ObjectStore


def test_round_trip_and_idempotence(objects: ObjectStore) -> None:
    """What is put comes back under its hash, and putting it again changes nothing."""
    digest = objects.put(b"rows")

    assert hashlib.sha256(b"rows").hexdigest() == digest == objects.put(b"rows")
    assert objects.get(digest) == b"rows"
    assert [(digest, ".parquet")] == list(objects.hashes())


def test_a_changed_file_is_corrupt_and_a_missing_one_not_found(objects: ObjectStore, tmp_path: Path) -> None:
    """Bytes that do not match their name are never returned."""
    digest = objects.put(b"rows")
    next((tmp_path / "data").rglob("*.parquet")).write_bytes(b"rowz")

    with pytest.raises(Corrupt):
        objects.get(digest)
    objects.delete(digest)
    with pytest.raises(NotFound):
        objects.get(digest)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "/.."])
def test_names_come_from_hashes_only(objects: ObjectStore, name: str) -> None:
    """No word from outside reaches a path."""
    with pytest.raises(BadRequest):
        objects.get(name)


def test_memory_url() -> None:
    """The same store works behind an fsspec URL."""
    store = ObjectStore("memory://adwarm-test")

    digest = store.put(b"far away", ".jsonl")

    assert store.get(digest, ".jsonl") == b"far away"
    store.check()
