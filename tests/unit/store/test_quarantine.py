"""Damaged data is set aside once, with a copy, and closed when whole data replaces it."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from adwarm.foundation.errors import NotFound
from adwarm.model import Mode, ReportKey, Snapshot
from adwarm.serving import ReadStatus
from adwarm.store import Context, entries, quarantine, read_transaction, write_transaction
from adwarm.store.partitions import table as partition
from adwarm.store.quarantine import COPY_SUFFIX, DamagedItem
from adwarm.store.snapshots import find_snapshot, insert_snapshot, set_policy
from tests.unit.conftest import NOW, ReaderHarness

KEY = ReportKey("act_1", "last_7d")


def _context(reading: ReaderHarness) -> Context:
    return reading.harness.prefetch.context


def _spoil(context: Context, digest: str) -> bytes:
    path = next(Path(context.objects.url).rglob(f"{digest}.parquet"))
    spoiled = path.read_bytes()[:-1] + b"?"
    path.write_bytes(spoiled)
    return spoiled


def _object_hash(context: Context) -> str:
    with read_transaction(context.engine) as connection:
        return str(connection.execute(select(partition.c.object_hash).distinct()).scalar_one())


def _days(context: Context) -> int:
    with read_transaction(context.engine) as connection:
        return len(connection.execute(select(partition.c.day)).all())


def test_a_partition_is_set_aside_with_its_days_and_healed_when_they_are_stored_again(reading: ReaderHarness) -> None:
    """Its days and the object are gone, a copy is kept, and new days of the account close the row."""
    reading.warm(KEY)
    context = _context(reading)
    digest = _object_hash(context)
    spoiled = _spoil(context, digest)
    quarantine.set_aside(context, DamagedItem("partition", digest, "act_1", "a bit flipped", NOW))
    assert (_days(context), context.objects.exists(digest)) == (0, False)
    (opened,) = quarantine.list_open(context.engine, 10)
    assert opened.copy_name is not None
    assert opened.item.reason == "a bit flipped"
    assert context.objects.get(opened.copy_name, COPY_SUFFIX) == spoiled
    spec = context.settings.spec("default").hash
    assert quarantine.mark_days_healed(context.engine, "act_2", spec, [date(2026, 11, 20)], NOW) == 0
    assert quarantine.mark_days_healed(context.engine, "act_1", spec, [date(2020, 1, 1)], NOW) == 0
    assert quarantine.mark_days_healed(context.engine, "act_1", spec, [date(2026, 11, 20)], NOW) == 1
    assert quarantine.list_open(context.engine, 10) == []


def test_data_is_set_aside_once_until_it_is_healed(reading: ReaderHarness) -> None:
    """A second find of the same data adds no row; one after it was healed does."""
    context = _context(reading)
    item = DamagedItem("aggregate", "a" * 64, None, "lost", NOW)
    for _ in range(2):
        quarantine.set_aside(context, item)
    assert [found.copy_name for found in quarantine.list_open(context.engine, 10)] == [None]
    assert quarantine.mark_healed(context.engine, "aggregate", item.name, NOW, "read again") == 1
    assert quarantine.mark_healed(context.engine, "aggregate", item.name, NOW, "read again") == 0
    quarantine.set_aside(context, item)
    assert quarantine.count_open(context.engine) == {"aggregate": 1}


def test_an_entry_is_marked_degraded_and_healed_when_it_is_fetched_again(reading: ReaderHarness) -> None:
    """Its payload stays until garbage collection; the row closes once no degraded entry refers to it."""
    reading.warm(KEY)
    reading.corrupt_payloads()
    context = _context(reading)
    (entry,) = entries.list_entries(context.engine)
    quarantine.set_aside(context, DamagedItem("entry", entry.payload_hash, "act_1", "a bit flipped", NOW))
    assert entries.list_entries(context.engine)[0].degraded_reason == "a bit flipped"
    assert quarantine.mark_entries_healed(context.engine, ["act_1"], NOW) == 0
    reading.warm(KEY)
    assert reading.reader.read(KEY).status is ReadStatus.HIT
    assert quarantine.list_open(context.engine, 10) == []


@pytest.mark.parametrize("is_live", [True, False])
def test_a_snapshot_is_deleted_unless_a_policy_names_it(reading: ReaderHarness, is_live: bool) -> None:
    """The row of the live one stays, so that the policy refers to something; its object is gone."""
    context = _context(reading)
    digest = context.objects.put(b"a forecast")
    snapshot = Snapshot("s" * 64, "seasonal", "1", digest, NOW, NOW, 1, (), {}, NOW)
    with write_transaction(context.engine) as connection:
        insert_snapshot(connection, snapshot)
        if is_live:
            set_policy(connection, snapshot.id, NOW, mode=Mode.LIVE)
    _spoil(context, digest)
    quarantine.set_aside(context, DamagedItem("snapshot", digest, None, "a bit flipped", NOW))
    with read_transaction(context.engine) as connection:
        assert (find_snapshot(connection, snapshot.id) is not None) == is_live
    with pytest.raises(NotFound):
        context.objects.get(digest)


def test_an_object_that_was_written_again_meanwhile_stays(reading: ReaderHarness) -> None:
    """Setting aside deletes only what is still damaged."""
    context = _context(reading)
    digest = context.objects.put(b"whole")
    quarantine.set_aside(context, DamagedItem("partition", digest, None, "it was damaged", NOW))
    assert context.objects.get(digest) == b"whole"


def test_old_rows_are_deleted_with_the_copies_that_no_other_row_has(reading: ReaderHarness) -> None:
    """A copy of the same bytes that a younger row refers to stays."""
    context = _context(reading)

    def find(name: str, data: bytes, days_ago: int) -> str:
        path = Path(context.objects.url) / "objects" / name[:2] / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        item = DamagedItem("aggregate", name, None, "damaged", NOW - timedelta(days=days_ago))
        quarantine.set_aside(context, item)
        copies = {found.item.name: found.copy_name for found in quarantine.list_open(context.engine, 10)}
        return str(copies[name])

    old, shared = find("b" * 64, b"old", 40), find("c" * 64, b"shared", 35)
    assert find("d" * 64, b"shared", 5) == shared
    assert quarantine.delete_before(context, NOW - timedelta(days=30)) == 2
    assert not context.objects.exists(old, COPY_SUFFIX)
    assert context.objects.get(shared, COPY_SUFFIX) == b"shared"
    assert quarantine.list_copies(context.engine) == {shared}


@pytest.mark.parametrize("step", ["copy", "rows"])
def test_a_crash_between_the_steps_leaves_what_the_next_find_sets_aside(
    reading: ReaderHarness, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """After a crash before the transaction or before the deletion, the same call finishes the work."""
    reading.warm(KEY)
    context = _context(reading)
    digest = _object_hash(context)
    _spoil(context, digest)
    item = DamagedItem("partition", digest, "act_1", "a bit flipped", NOW)

    def crash(*_: object) -> Callable[..., None]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(quarantine, "_change_rows" if step == "copy" else "_delete_damaged", crash)
        with pytest.raises(KeyboardInterrupt):
            quarantine.set_aside(context, item)
    assert context.objects.exists(digest)
    assert _days(context) == (7 if step == "copy" else 0)
    quarantine.set_aside(context, item)
    assert not context.objects.exists(digest)
    assert len(quarantine.list_open(context.engine, 10)) == 1
