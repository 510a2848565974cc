"""Everything stored is checked, and damaged data can be fetched again."""

import tracemalloc
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from adwarm.foundation.errors import StorageError
from adwarm.maintenance.integrity import verify_store
from adwarm.model import ReportKey, Snapshot
from adwarm.serving import ReadStatus
from adwarm.store import Context, ObjectStore, integrity_days, quarantine
from adwarm.store.aggregates import HourAggregate, replace_hours
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.partition_rows import pack_rows
from adwarm.store.partitions import table as partition
from adwarm.store.quarantine import DamagedItem
from adwarm.store.quarantine import table as quarantined_item
from adwarm.store.snapshots import insert_snapshot, set_policy
from tests.support.stored_damage import UNDECODABLE, UNREADABLE, fail_to_read, store_bomb
from tests.unit.conftest import NOW, SQLITE_ONLY, ReaderHarness

KEYS = [ReportKey("act_1", "last_7d"), ReportKey("act_2", "yesterday")]


def _spoil_objects(objects: ObjectStore) -> None:
    for path in Path(objects.url).rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")


@SQLITE_ONLY
def test_an_intact_store_has_no_findings(reading: ReaderHarness, objects: ObjectStore) -> None:
    """Entries and objects are counted, and nothing is reported."""
    reading.warm(*KEYS)
    result = verify_store(reading.harness.prefetch.context)
    assert (result.entries, result.objects, result.corrupt) == (2, 2, [])
    assert result.to_dict()["corrupt"] == []


@SQLITE_ONLY
def test_damaged_entries_are_named_and_fetched_again(reading: ReaderHarness, objects: ObjectStore) -> None:
    """Without repair they are only reported; with it the next warm fetches them."""
    reading.warm(*KEYS)
    reading.corrupt_payloads()
    reported = verify_store(reading.harness.prefetch.context)
    assert {what for what, _ in reported.corrupt} == {
        "entry act_1 2026-11-18..2026-11-24",
        "entry act_2 2026-11-24..2026-11-24",
    }
    verify_store(reading.harness.prefetch.context, repair=True)
    reading.warm(*KEYS)
    assert verify_store(reading.harness.prefetch.context).corrupt == []
    assert reading.reader.read(KEYS[0]).status == ReadStatus.HIT


def test_damaged_and_lost_objects_are_fetched_again(reading: ReaderHarness, objects: ObjectStore) -> None:
    """After a repair the days of an account with damaged rows are fetched again."""
    reading.warm(*KEYS)
    _spoil_objects(objects)
    next(Path(objects.url).rglob("*.parquet")).unlink()
    assert len(verify_store(reading.harness.prefetch.context, repair=True).corrupt) == 2
    reading.harness.clock.sleep(25 * 3600)
    reading.warm(*KEYS)
    assert verify_store(reading.harness.prefetch.context).corrupt == []
    assert reading.reader.read(KEYS[0]).status == ReadStatus.HIT


def _context(reading: ReaderHarness) -> Context:
    return reading.harness.prefetch.context


def _object_path(objects: ObjectStore) -> Path:
    (path,) = Path(objects.url).rglob("*.parquet")
    return path


def _swap_object(reading: ReaderHarness, data: bytes) -> None:
    """Let the stored days refer to another object with a right checksum."""
    digest = _context(reading).objects.put(data)
    with write_transaction(reading.engine) as connection:
        connection.execute(partition.update().values(object_hash=digest))


@SQLITE_ONLY
@pytest.mark.parametrize("damage", UNDECODABLE)
def test_what_has_checksums_and_does_not_decode_is_one_problem(reading: ReaderHarness, damage: str) -> None:
    """A bomb, noise, foreign JSON or a newer format never stops the check; it is set aside and fetched again."""
    reading.warm(KEYS[0])
    UNDECODABLE[damage](reading.engine)
    result = verify_store(_context(reading), repair=True)
    assert [problem.kind for problem in result.problems] == ["entry"]
    assert (result.kinds["entry"].damaged, result.kinds["entry"].repaired) == (1, 1)
    assert quarantine.count_open(reading.engine) == {"entry": 1}
    reading.warm(KEYS[0])
    assert verify_store(_context(reading)).problems == []
    assert quarantine.count_open(reading.engine) == {}
    assert reading.reader.read(KEYS[0]).status is ReadStatus.HIT


@SQLITE_ONLY
def test_a_bomb_takes_little_memory(reading: ReaderHarness) -> None:
    """No more is decoded than the settings allow."""
    reading.warm(KEYS[0])
    store_bomb(reading.engine, 512 << 20)
    tracemalloc.start()
    try:
        assert len(verify_store(_context(reading)).problems) == 1
        assert tracemalloc.get_traced_memory()[1] < reading.harness.settings.compression.max_decoded_bytes + (20 << 20)
    finally:
        tracemalloc.stop()


@SQLITE_ONLY
def test_a_folder_in_place_of_an_object_is_one_problem(reading: ReaderHarness, objects: ObjectStore) -> None:
    """It is set aside like a damaged file, and the days are fetched again."""
    reading.warm(KEYS[0])
    path = _object_path(objects)
    path.unlink()
    path.mkdir()
    result = verify_store(_context(reading), repair=True)
    assert [(problem.kind, problem.is_damaged) for problem in result.problems] == [("partition", True)]
    assert not path.exists()
    reading.harness.clock.sleep(25 * 3600)
    reading.warm(KEYS[0])
    assert verify_store(_context(reading)).problems == []


@SQLITE_ONLY
@pytest.mark.parametrize("reason", UNREADABLE)
@pytest.mark.parametrize("works", [True, False])
def test_a_file_that_cannot_be_read_is_one_problem(
    reading: ReaderHarness, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch, reason: str, works: bool
) -> None:
    """It is lost only when the disk reports an error for it and works otherwise; else nothing is deleted."""
    reading.warm(KEYS[0])
    path = _object_path(objects)
    fail_to_read(monkeypatch, path, UNREADABLE[reason])
    if not works:

        def check(self: ObjectStore) -> None:
            raise StorageError("the whole disk is away")

        monkeypatch.setattr(ObjectStore, "check", check)
    result = verify_store(_context(reading), repair=True)
    is_lost = works and reason == "bad disk"
    assert [problem.is_damaged for problem in result.problems] == [is_lost]
    assert path.exists() != is_lost
    assert "ADWARM_DATA_URL" in result.problems[0].reason


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no Parquet", "not a readable Parquet file"),
        (b"", "not a readable Parquet file"),
        (pack_rows([{"account_id": "9", "ad_id": "7", "date_start": "2026-11-24"}]), "rows of another account"),
        (pack_rows([{"account_id": "1", "ad_id": "7", "date_start": "2026-11-24"}]), "rows of act_1 on"),
    ],
)
def test_objects_with_right_checksums_and_wrong_content(reading: ReaderHarness, data: bytes, reason: str) -> None:
    """No Parquet, rows of another account, and rows that are not those of the days are one problem each."""
    reading.warm(KEYS[0])
    _swap_object(reading, data)
    (problem,) = verify_store(_context(reading), repair=True).problems
    assert reason in problem.reason
    with read_transaction(reading.engine) as connection:
        assert connection.execute(select(partition.c.day)).all() == []


@SQLITE_ONLY
@pytest.mark.parametrize("is_live", [True, False])
def test_snapshots_are_checked(reading: ReaderHarness, is_live: bool) -> None:
    """Each stored forecast is checked, and the live one is loaded too."""
    context = _context(reading)
    digest = context.objects.put(b"a forecast")
    snapshot = Snapshot("s" * 64, "seasonal", "1", digest, NOW, NOW, 1, (), {}, NOW)
    with write_transaction(context.engine) as connection:
        insert_snapshot(connection, snapshot)
        if is_live:
            set_policy(connection, snapshot.id, NOW)
    found = verify_store(context, repair=True)
    assert found.kinds["snapshot"].checked == 1
    assert [problem.is_damaged for problem in found.problems] == ([False] if is_live else [])
    path = next(Path(context.objects.url).rglob(f"{digest}*"))
    path.write_bytes(b"a forecasT")
    (problem,) = verify_store(context, repair=True).problems
    assert (problem.kind, problem.is_damaged) == ("snapshot", True)
    assert ("live" in problem.subject) == is_live
    assert len(verify_store(context, repair=True).problems) == int(
        is_live
    )  # the live one stays until the next training


def test_a_damaged_aggregate_is_set_aside(reading: ReaderHarness) -> None:
    """The object of an hour of the access log is checked too."""
    context = _context(reading)
    digest = context.objects.put(b"no Parquet")
    with write_transaction(context.engine) as connection:
        replace_hours(connection, NOW, NOW + timedelta(hours=1), [HourAggregate(NOW, digest, 1, 1)], NOW)
    result = verify_store(context, repair=True)
    assert [(problem.kind, problem.name) for problem in result.problems] == [("aggregate", digest)]


def test_what_was_checked_is_counted(reading: ReaderHarness, objects: ObjectStore) -> None:
    """The statistics of the day say what was checked, damaged and healed."""
    reading.warm(*KEYS)
    reading.corrupt_payloads()
    verify_store(_context(reading), repair=True, at=NOW)
    reading.warm(*KEYS)
    totals = integrity_days.get_totals(reading.engine, NOW)
    assert totals.kinds["entry"].checked == totals.kinds["entry"].damaged == totals.kinds["entry"].healed == 2
    assert totals.kinds["partition"].checked == 2
    assert totals.kinds["partition"].bytes == sum(path.stat().st_size for path in Path(objects.url).rglob("*.parquet"))


@SQLITE_ONLY
def test_an_object_that_is_whole_again_is_healed(reading: ReaderHarness, objects: ObjectStore) -> None:
    """However it came back: the next check closes its row."""
    reading.warm(KEYS[0])
    digest = _object_path(objects).name.partition(".")[0]
    quarantine.set_aside(_context(reading), DamagedItem("partition", "f" * 64, None, "lost", NOW))
    with write_transaction(reading.engine) as connection:
        connection.execute(quarantined_item.update().values(name=digest))
    verify_store(_context(reading))
    assert quarantine.count_open(reading.engine) == {}


@SQLITE_ONLY
def test_damage_that_cannot_be_set_aside_does_not_stop_the_check(
    reading: ReaderHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk no copy can be kept, so nothing is changed, and the problem says so."""
    reading.warm(*KEYS)
    reading.corrupt_payloads()

    def full(*_arguments: object, **_options: object) -> str:
        raise StorageError("the disk is full")

    monkeypatch.setattr(ObjectStore, "put", full)
    result = verify_store(_context(reading), repair=True)
    assert (result.kinds["entry"].damaged, result.kinds["entry"].repaired) == (2, 0)
    assert all("not set aside: the disk is full" in problem.reason for problem in result.problems)
