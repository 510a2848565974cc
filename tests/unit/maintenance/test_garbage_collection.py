"""Unreferenced objects are deleted once they are a day old; referenced ones never are."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from adwarm.maintenance.garbage_collection import delete_orphans, list_used_objects
from adwarm.model import ReportKey, Window
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, entry_versions, partitions
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.entry_versions import EntryVersion, VersionLimits
from adwarm.store.partitions import PartitionState
from adwarm.store.tables import metadata, payload

NOW = datetime.now(UTC)
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

    assert delete_orphans(Context(engine, objects, Settings()), NOW) == (2, 0)
    assert {digest for digest, _ in objects.list_objects()} == {used, young, lines}
    assert not any(objects.exists(digest, suffix) for digest, suffix in zip(gone, (".parquet", ".json"), strict=True))


def test_an_orphan_that_is_written_again_stays(
    engine: Engine, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is about to reference an old object writes it first, so it is young when it would be deleted."""
    digest = _put(objects, b"rows", OLD)

    def meanwhile(engine: Engine) -> set[str]:
        objects.put(b"rows")
        return set()

    monkeypatch.setattr("adwarm.maintenance.garbage_collection.list_used_objects", meanwhile)
    assert delete_orphans(Context(engine, objects, Settings()), NOW) == (0, 0)
    assert objects.get(digest) == b"rows"


def test_every_table_that_references_objects_counts(engine: Engine) -> None:
    """Whatever table has a column `object_hash`, the objects in it are in use."""
    named = {table.name for table in metadata.tables.values() if "object_hash" in table.c}
    _point_at(engine, "a" * 64)

    assert {"partition", "access_aggregate", "forecast_snapshot"} <= named
    assert list_used_objects(engine) == {"a" * 64}


def test_versions_that_no_reader_can_use_are_deleted(engine: Engine, objects: ObjectStore) -> None:
    """Versions older than the setting go with their payloads; younger ones stay."""
    limits = VersionLimits.of(Settings().compression)
    ages = {"old": limits.age + timedelta(hours=1), "young": limits.age - timedelta(hours=1)}
    with write_transaction(engine) as connection:
        for name, age in ages.items():
            at = NOW - age
            connection.execute(payload.insert().values(hash=name, body=b"sealed", created_at=at))
            window = Window(date(2026, 1, 1), date(2026, 1, 7))
            version = EntryVersion(ReportKey("act_1", "last_7d"), window, "abc", name, name, 10, 6, at)
            entry_versions.save(connection, [version], limits)

    assert delete_orphans(Context(engine, objects, Settings()), NOW) == (0, 1)
    with read_transaction(engine) as connection:
        kept = entry_versions.list_versions(connection, ReportKey("act_1", "last_7d"))
    assert [version.content_hash for version in kept] == ["young"]


def test_a_run_as_of_the_past_keeps_what_was_young_then(engine: Engine, objects: ObjectStore) -> None:
    """Versions and payloads are judged by the time of the run, though objects are judged by that of the machine."""
    then = NOW - timedelta(days=400)
    with write_transaction(engine) as connection:
        connection.execute(payload.insert().values(hash="young", body=b"sealed", created_at=then))
        window = Window(date(2026, 1, 1), date(2026, 1, 7))
        version = EntryVersion(ReportKey("act_1", "last_7d"), window, "spec", "young", "young", 1, 1, then)
        entry_versions.save(connection, [version], VersionLimits.of(Settings().compression))
    gone = _put(objects, b"old", OLD)

    assert delete_orphans(Context(engine, objects, Settings()), NOW, as_of=then + timedelta(days=1)) == (1, 0)
    assert not objects.exists(gone, ".parquet")
    with read_transaction(engine) as connection:
        assert len(entry_versions.list_versions(connection, ReportKey("act_1", "last_7d"))) == 1
