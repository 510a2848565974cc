"""The object store."""

import errno
import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adwarm.foundation.errors import BadRequest, Corrupt, NotFound, StorageError
from adwarm.store.objects import ObjectStore


def test_round_trip_and_idempotence(any_objects: ObjectStore) -> None:
    """An object comes back under its hash; storing it again changes nothing."""
    digest = any_objects.put(b"rows")

    assert hashlib.sha256(b"rows").hexdigest() == digest == any_objects.put(b"rows")
    assert any_objects.get(digest) == b"rows"
    assert [(digest, ".parquet")] == list(any_objects.list_objects())
    assert any_objects.exists(digest)
    assert not any_objects.exists(digest, ".jsonl")
    any_objects.check()
    assert [(digest, ".parquet")] == list(any_objects.list_objects()), "the probe is gone"


def test_a_deleted_object_is_gone_and_an_absent_one_no_error(any_objects: ObjectStore) -> None:
    """Deleting twice is the same as once; whoever reads it gets NotFound."""
    digest = any_objects.put(b"rows")
    any_objects.delete(digest)
    any_objects.delete(digest)
    for read in (any_objects.get, any_objects.read_unverified, any_objects.get_modified_at):
        with pytest.raises(NotFound):
            read(digest)
    assert list(any_objects.list_folders()) in ([], [(digest[:2], [])])


def test_listings_name_folders_in_order_with_times(any_objects: ObjectStore) -> None:
    """Each object is listed once, with the time that is asked for alone; a listing can begin after a folder."""
    digests = sorted(any_objects.put_many([b"%d" % number for number in range(20)]))
    folders = list(any_objects.list_folders())
    assert [name for name, _ in folders] == sorted({digest[:2] for digest in digests})
    listed = [item for _, items in folders for item in items]
    assert sorted(item.digest for item in listed) == digests
    assert all(any_objects.get_modified_at(item.digest, item.suffix) == item.modified_at for item in listed)
    assert list(any_objects.list_folders(folders[3][0])) == folders[4:]


def test_many_objects_come_in_order_and_lost_ones_say_so(any_objects: ObjectStore) -> None:
    """What is lost takes the place of its bytes, so that one read names all that is lost."""
    digests = any_objects.put_many([b"%d" % number for number in range(30)])
    found = list(any_objects.read_many([*digests[:10], "0" * 64, *digests[10:]]))
    assert isinstance(found.pop(10), NotFound)
    assert found == [b"%d" % number for number in range(30)]


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
    digest = store.put(b"rows")
    if url == "folder":
        path = next((tmp_path / "data").rglob("*.parquet"))
        path.write_bytes(b"rowz")
        os.utime(path, (1_000_000_000, 1_000_000_000))
        assert store.get_modified_at(digest) == datetime.fromtimestamp(1_000_000_000, UTC)

    before = store.get_modified_at(digest)
    assert store.put(b"rows") == digest
    assert (store.get(digest), store.get_modified_at(digest) > before) == (b"rows", True)
    with pytest.raises(NotFound):
        store.get_modified_at("0" * 64)


def test_names_come_from_hashes_only(any_objects: ObjectStore, subtests: pytest.Subtests) -> None:
    """Input never becomes part of a path."""
    for name in ["../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "/.."]:
        with subtests.test(name=name), pytest.raises(BadRequest):
            any_objects.get(name)


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


def test_errors_of_the_disk_name_the_setting(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
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
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    for name, call in calls.items():
        with subtests.test(name=name), monkeypatch.context() as patch:
            patch.setattr(Path, name, fail)
            with pytest.raises(StorageError, match=r"^ADWARM_DATA_URL: .*free\); "):
                call()


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
