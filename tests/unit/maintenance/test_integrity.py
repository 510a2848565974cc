"""Everything stored is checked, and damaged data can be fetched again."""

from pathlib import Path

from adwarm.maintenance.integrity import verify_store
from adwarm.model import ReportKey
from adwarm.serving import ReadStatus
from adwarm.store import ObjectStore
from tests.unit.conftest import ReaderHarness

KEYS = [ReportKey("act_1", "last_7d"), ReportKey("act_2", "yesterday")]


def _spoil_objects(objects: ObjectStore) -> None:
    for path in Path(objects.url).rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")


def test_an_intact_store_has_no_findings(desk: ReaderHarness, objects: ObjectStore) -> None:
    """Entries and objects are counted, and nothing is reported."""
    desk.warm(*KEYS)
    result = verify_store(desk.bench.prefetch.context)
    assert (result.entries, result.objects, result.corrupt) == (2, 2, [])
    assert result.to_dict()["corrupt"] == []


def test_damaged_entries_are_named_and_fetched_again(desk: ReaderHarness, objects: ObjectStore) -> None:
    """Without repair they are only reported; with it the next warm fetches them."""
    desk.warm(*KEYS)
    desk.corrupt_payloads()
    reported = verify_store(desk.bench.prefetch.context)
    assert {what for what, _ in reported.corrupt} == {
        "entry act_1 2026-11-18..2026-11-24",
        "entry act_2 2026-11-24..2026-11-24",
    }
    verify_store(desk.bench.prefetch.context, repair=True)
    desk.warm(*KEYS)
    assert verify_store(desk.bench.prefetch.context).corrupt == []
    assert desk.reader.read(KEYS[0]).status == ReadStatus.HIT


def test_damaged_and_lost_objects_are_fetched_again(desk: ReaderHarness, objects: ObjectStore) -> None:
    """After a repair the days of an account with damaged rows are fetched again."""
    desk.warm(*KEYS)
    _spoil_objects(objects)
    next(Path(objects.url).rglob("*.parquet")).unlink()
    assert len(verify_store(desk.bench.prefetch.context, repair=True).corrupt) == 2
    desk.bench.clock.sleep(25 * 3600)
    desk.warm(*KEYS)
    assert verify_store(desk.bench.prefetch.context).corrupt == []
    assert desk.reader.read(KEYS[0]).status == ReadStatus.HIT
