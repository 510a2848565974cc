"""Compaction moves rows without changing one, and a crash at any step leaves nothing worse than an orphan."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from adwarm.foundation.clock import VirtualClock
from adwarm.maintenance.compaction import compact, make_compact
from adwarm.maintenance.garbage_collection import collect_garbage
from adwarm.maintenance.runner import StepBudget
from adwarm.model import Window
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, partitions
from adwarm.store.database import write_transaction
from adwarm.store.partition_rows import by_day, content_hash, daily_rows, pack_rows
from adwarm.store.partitions import PartitionState

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
JUNE = Window(date(2026, 6, 1), date(2026, 6, 30))
SPANS = [Window(date(2026, 5, 20), date(2026, 6, 10)), Window(date(2026, 6, 11), date(2026, 7, 9))]


def _publish(engine: Engine, objects: ObjectStore, span: Window, *, settled: bool = True, spend: str = "1.00") -> None:
    rows = [
        {"ad_id": ad, "date_start": str(day), "date_stop": str(day), "ad_name": "[A]", "spend": spend}
        for day in span.days()
        if day.day % 5  # on every fifth day there was no delivery
        for ad in ("1", "2")
    ]
    digest, groups = objects.put(pack_rows(rows)), by_day(rows)
    states = [
        PartitionState(
            day, digest, len(groups.get(day, [])), content_hash(groups.get(day, [])), NOW, True, settled, 1, "v26.0"
        )
        for day in span.days()
    ]
    with write_transaction(engine) as connection:
        partitions.publish(connection, "act_1", "spec", states, 1)


def _stored(engine: Engine, objects: ObjectStore, window: Window = JUNE) -> tuple[str, int]:
    """Return a digest of all rows of a window, and the number of objects that hold them."""
    states = partitions.list_states(engine, "act_1", "spec", window)
    return content_hash(daily_rows(objects, states, window)), len({state.object_hash for state in states.values()})


@pytest.fixture
def two_spans(engine: Engine, objects: ObjectStore) -> None:
    """Days from May to July in two objects that cross the months."""
    for span in SPANS:
        _publish(engine, objects, span)


@pytest.mark.usefixtures("two_spans")
def test_a_months_rows_are_compacted_unchanged(engine: Engine, objects: ObjectStore) -> None:
    """June, which was in two objects, is in one; its rows are identical, and so are those of May and July."""
    whole = Window(SPANS[0].since, SPANS[1].until)
    before, everything = _stored(engine, objects), _stored(engine, objects, whole)[0]

    report = compact(Context(engine, objects, Settings()))

    assert (report.months, report.objects_before, report.days, report.errors) == (1, 2, 30, [])
    assert (before[1], _stored(engine, objects)) == (2, (before[0], 1))
    assert _stored(engine, objects, whole)[0] == everything
    assert compact(Context(engine, objects, Settings())).months == 0, "a second time there is nothing to do"


def test_a_month_that_may_still_change_is_not_compacted(engine: Engine, objects: ObjectStore) -> None:
    """One day that is not final keeps its whole month as it is."""
    _publish(engine, objects, SPANS[0])
    _publish(engine, objects, SPANS[1], settled=False)

    assert compact(Context(engine, objects, Settings())).months == 0


@pytest.mark.usefixtures("two_spans")
def test_a_crash_after_the_object_is_written_leaves_an_orphan(
    engine: Engine, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row references the new object yet: the rows are read as before, and the next run uses the same object."""
    before = _stored(engine, objects)
    with monkeypatch.context() as patch:
        patch.setattr(partitions, "repoint", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            compact(Context(engine, objects, Settings()))
    assert (_stored(engine, objects), len(list(objects.list_objects()))) == (before, 3)

    assert compact(Context(engine, objects, Settings())).months == 1
    assert (_stored(engine, objects)[0], len(list(objects.list_objects()))) == (before[0], 3)


@pytest.mark.usefixtures("two_spans")
def test_a_crash_within_the_transaction_changes_nothing(
    engine: Engine, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a month is never moved: its days change together or not at all."""
    before = _stored(engine, objects)
    original = partitions.repoint

    def half(connection, account_id, spec_hash, states, digest):
        original(connection, account_id, spec_hash, states[:15], digest)
        raise KeyboardInterrupt

    monkeypatch.setattr(partitions, "repoint", half)
    with pytest.raises(KeyboardInterrupt):
        compact(Context(engine, objects, Settings()))
    assert _stored(engine, objects) == before


@pytest.mark.usefixtures("two_spans")
def test_a_day_that_is_published_meanwhile_stays_as_it_is(
    engine: Engine, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer rows win over a compaction that read the older ones."""
    original = objects.put

    def meanwhile(data: bytes, suffix: str = ".parquet") -> str:
        digest = original(data, suffix)
        monkeypatch.setattr(objects, "put", original)
        _publish(engine, objects, Window(date(2026, 6, 3), date(2026, 6, 3)), spend="2.00")
        return digest

    monkeypatch.setattr(objects, "put", meanwhile)
    assert compact(Context(engine, objects, Settings())).days == 29
    states = partitions.list_states(engine, "act_1", "spec", JUNE)
    [day] = {row["spend"] for row in daily_rows(objects, states, Window(date(2026, 6, 3), date(2026, 6, 3)))}
    assert day == "2.00"


@pytest.mark.usefixtures("two_spans")
def test_a_damaged_month_is_reported_and_left(engine: Engine, objects: ObjectStore) -> None:
    """A corrupt object moves nothing; the result says which month and what to do."""
    for path in Path(objects.url).rglob("*.parquet"):
        path.write_bytes(b"?")

    report = compact(Context(engine, objects, Settings()))
    assert (report.months, report.days, len(report.errors)) == (0, 0, 1)
    assert "act_1 2026-06-01..2026-06-30" in report.errors[0]
    assert "verify --repair" in report.errors[0]


@pytest.mark.usefixtures("two_spans")
def test_compacted_objects_are_deleted_after_a_day(engine: Engine, objects: ObjectStore) -> None:
    """Objects whose every day has moved are deleted a day later, and the rows can still be read."""
    for span in (Window(date(2026, 5, 1), date(2026, 5, 19)), Window(date(2026, 7, 10), date(2026, 7, 31))):
        _publish(engine, objects, span)
    before = _stored(engine, objects, Window(date(2026, 5, 1), date(2026, 7, 31)))
    assert compact(Context(engine, objects, Settings())).months == 3
    for path in Path(objects.url).rglob("*.parquet"):
        os.utime(path, ((NOW - timedelta(days=2)).timestamp(),) * 2)

    deleted = collect_garbage(Context(engine, objects, Settings()), NOW)

    assert (deleted.objects, compact(Context(engine, objects, Settings())).months) == (4, 0)
    assert _stored(engine, objects, Window(date(2026, 5, 1), date(2026, 7, 31))) == (before[0], 3)


def test_a_step_goes_on_with_the_next_month(engine: Engine, objects: ObjectStore) -> None:
    """Without any time one month is compacted a run, a damaged one does not hold up the others, and the pass ends."""
    for span in (*SPANS, Window(date(2026, 5, 1), date(2026, 5, 19)), Window(date(2026, 7, 10), date(2026, 7, 31))):
        _publish(engine, objects, span)
    context, clock = Context(engine, objects, Settings()), VirtualClock(NOW)
    digest = next(
        iter(partitions.list_states(engine, "act_1", "spec", Window(date(2026, 5, 1), date(2026, 5, 2))).values())
    )
    objects.delete(digest.object_hash)
    step, cursor, runs = make_compact(context), None, []
    while not runs or cursor is not None:
        result = step(cursor, StepBudget.of(clock, 0))
        cursor = result.cursor
        runs.append((result.counts["months"], len(result.problems)))
    assert runs == [(0, 1), (1, 0), (1, 0), (0, 0)]
