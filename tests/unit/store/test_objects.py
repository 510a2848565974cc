"""The object store."""

import errno
import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adwarm.foundation.errors import BadRequest, Corrupt, NotFound, StorageError
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


def test_files_and_folders_are_private(objects: ObjectStore, tmp_path: Path) -> None:
    """Only the user may read what is stored, whatever the umask says."""
    old = os.umask(0)
    try:
        objects.put(b"rows")
    finally:
        os.umask(old)
    found = sorted((tmp_path / "data").rglob("*"))
    assert [path.stat().st_mode & 0o777 for path in found] == [0o700, 0o700, 0o600]


def test_a_folder_in_place_of_an_object_is_corrupt_and_replaced(objects: ObjectStore, tmp_path: Path) -> None:
    """It is no crash, it can be deleted, and storing the object replaces it."""
    digest = hashlib.sha256(b"rows").hexdigest()
    folder = tmp_path / "data" / "objects" / digest[:2] / f"{digest}.parquet"
    for act in (objects.delete, lambda name: objects.put(b"rows")):
        (folder / "inner").mkdir(parents=True)
        with pytest.raises(Corrupt, match="folder"):
            objects.get(digest)
        act(digest)
    assert objects.get(digest) == b"rows"


@pytest.mark.parametrize("name", ["read_bytes", "exists", "stat", "unlink", "iterdir"])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EROFS])
def test_errors_of_the_disk_name_the_setting(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    """Whatever is done with an object, no error of the operating system leaves the store."""
    digest = objects.put(b"rows")
    calls = {
        "read_bytes": lambda: objects.get(digest),
        "exists": lambda: objects.exists(digest),
        "stat": lambda: objects.get_modified_at(digest),
        "unlink": lambda: objects.delete(digest),
        "iterdir": lambda: list(objects.list_objects()),
    }

    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, name, fail)
    with pytest.raises(StorageError, match=r"^ADWARM_DATA_URL: .*free\); "):
        calls[name]()


def test_errors_behind_a_url_name_the_setting_and_show_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drivers raise errors of their own, whose texts may hold credentials."""
    store = ObjectStore("memory://adwarm-broken")
    digest = store.put(b"rows")

    def fail(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("secret-key")

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.cat_file", fail)
    with pytest.raises(StorageError, match="ADWARM_DATA_URL") as raised:
        store.get(digest, from_storage=True)
    assert "secret-key" not in str(raised.value)
    assert store.local_path is None
