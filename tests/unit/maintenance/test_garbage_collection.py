"""Unreferenced objects are deleted once they are a day old; referenced ones never are."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.home import BODY_FOLDER, write_private_file
from adwarm.maintenance.garbage_collection import (
    collect_garbage,
    delete_stale_temporaries,
    list_used_objects,
    make_collect_garbage,
)
from adwarm.maintenance.runner import StepBudget
from adwarm.model import EntryKey, Window
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, entry_versions, partitions
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.entries import payload
from adwarm.store.partitions import PartitionState
from adwarm.store.tables import metadata

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
OLD = NOW - timedelta(hours=25)


def _put(objects: ObjectStore, data: bytes, at: datetime, suffix: str = ".parquet") -> str:
    digest = objects.put(data, suffix)
    [path] = Path(objects.url).rglob(f"{digest}{suffix}")
    os.utime(path, (at.timestamp(), at.timestamp()))
    return digest


def _point_at(engine: Engine, digest: str) -> None:
    state = PartitionState(date(2026, 1, 1), digest, 1, "c", OLD, True, True, 1, "v26.0")
    with write_transaction(engine) as connection:
        partitions.publish(connection, "act_1", "spec", [state], 1)


def test_only_old_orphans_are_deleted(engine: Engine, objects: ObjectStore) -> None:
    """An old object in use, a young orphan and a quarantined line stay; an old orphan of any kind is deleted."""
    used, young = _put(objects, b"used", OLD), _put(objects, b"young", NOW)
    lines = _put(objects, b"line", OLD, ".jsonl")
    gone = [_put(objects, b"old", OLD), _put(objects, b"plan", OLD, ".json")]
    _point_at(engine, used)

    assert collect_garbage(Context(engine, objects, Settings()), NOW).objects == 2
    assert {digest for digest, _ in objects.list_objects()} == {used, young, lines}
    assert not any(objects.exists(digest, suffix) for digest, suffix in zip(gone, (".parquet", ".json"), strict=True))


def test_an_orphan_that_is_written_again_stays(
    engine: Engine, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is about to reference an old object writes it first, so it is young when it would be deleted."""
    digest = _put(objects, b"rows", OLD)

    def meanwhile(engine: Engine, folder: str) -> set[str]:
        objects.put(b"rows")
        return set()

    monkeypatch.setattr("adwarm.maintenance.garbage_collection.list_used_objects", meanwhile)
    assert collect_garbage(Context(engine, objects, Settings()), NOW).objects == 0
    assert objects.get(digest) == b"rows"


def test_every_table_that_references_objects_counts(engine: Engine) -> None:
    """Whatever table has a column `object_hash`, the objects in it are in use."""
    named = {table.name for table in metadata.tables.values() if "object_hash" in table.c}
    _point_at(engine, "a" * 64)

    assert {"partition", "access_aggregate", "forecast_snapshot"} <= named
    assert (list_used_objects(engine), list_used_objects(engine, "aa")) == ({"a" * 64}, {"a" * 64})
    assert list_used_objects(engine, "ab") == set()


def test_old_publications_are_deleted(engine: Engine, objects: ObjectStore) -> None:
    """Publications that were recorded long ago go, with payloads that nothing refers to; younger ones stay."""
    key = EntryKey("act_1", Window(date(2026, 1, 1), date(2026, 1, 7)), "abc")
    old, young = (NOW - entry_versions.LIFETIME + timedelta(hours=hours) for hours in (-1, 1))
    with write_transaction(engine) as connection:
        connection.execute(payload.insert().values(hash="old", body=b"sealed", created_at=old))
        for at in (old, young):
            entry_versions.save(connection, [key], at)

    result = collect_garbage(Context(engine, objects, Settings()), NOW)
    assert (result.objects, result.versions, result.payloads) == (0, 1, 1)
    with read_transaction(engine) as connection:
        assert entry_versions.list_moments(connection, key) == [young]


def test_quarantined_lines_are_deleted_after_their_retention(engine: Engine, objects: ObjectStore) -> None:
    """Lines of the access log that could not be read stay for as long as the setting says."""
    kept = _put(objects, b"young", NOW - timedelta(days=89), ".jsonl")
    _put(objects, b"old", NOW - timedelta(days=91), ".jsonl")

    assert collect_garbage(Context(engine, objects, Settings()), NOW).lines == 1
    assert list(objects.list_objects()) == [(kept, ".jsonl")]


def test_a_step_goes_on_with_the_next_folder(engine: Engine, objects: ObjectStore) -> None:
    """Without any time one folder is looked at a run, and a pass deletes all that is unused."""
    digests = {_put(objects, str(number).encode(), OLD)[:2] for number in range(20)}
    step, cursor, folders = make_collect_garbage(Context(engine, objects, Settings()), VirtualClock(NOW)), None, []
    while not folders or cursor is not None:
        cursor = step(cursor, StepBudget.of(VirtualClock(NOW), 0)).cursor
        folders.append(cursor)
    assert folders == [*sorted(digests), None]
    assert list(objects.list_objects()) == []


def _leave(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Leave what a writer leaves that is killed before it renames its file."""
    folder.mkdir(parents=True, exist_ok=True)

    class Killed(BaseException):
        pass

    def die(*_arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        patch.setattr(Path, "unlink", lambda *_arguments, **_options: None)
        with pytest.raises(Killed):
            write_private_file(folder / name, b"part")
    (path,) = [found for found in folder.iterdir() if found.name.startswith(f".{name}.")]
    return path


def test_old_unfinished_files_of_every_writer_are_deleted(
    engine: Engine, objects: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of objects, pages, the open log and bodies; a young one may still be written, and whole files stay."""
    data, home = Path(objects.url), tmp_path / "home"
    whole = objects.put(b"rows")
    folders = [data / "objects" / "ab", data / "reports", data / "opens" / "2026-11-25", home / BODY_FOLDER]
    names = ["ab" * 32 + ".parquet", "review-1.html", "host_1-101010-0-abc.parquet", "cd" * 32]
    old = [_leave(folder, name, monkeypatch) for folder, name in zip(folders, names, strict=True)]
    for path in old:
        os.utime(path, ((NOW - timedelta(hours=25)).timestamp(),) * 2)
    young = _leave(folders[0], "ef" * 32 + ".parquet", monkeypatch)
    (folders[1] / ".hidden").touch()
    context = Context(engine, objects, Settings(home=home))
    assert delete_stale_temporaries(context, NOW - timedelta(hours=48)) == 0
    assert collect_garbage(context, NOW).unfinished
    assert [path.exists() for path in old] == [False] * 4
    assert young.exists()
    assert (folders[1] / ".hidden").exists()
    assert objects.get(whole) == b"rows"


def test_a_store_behind_a_url_has_none(engine: Engine, tmp_path: Path) -> None:
    """Only the home is looked at."""
    context = Context(engine, ObjectStore("memory://adwarm-temporary"), Settings(home=tmp_path / "absent"))
    assert delete_stale_temporaries(context, NOW) == 0
