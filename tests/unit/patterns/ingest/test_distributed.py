"""A log that several workers read gives what one reader gives, whichever worker fails."""

import gzip
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from adwarm.foundation.errors import BadRequest, Transient
from adwarm.patterns.ingest.run import (
    IngestResult,
    IngestRun,
    commit_saved_plan,
    ingest,
    plan_ingest,
    read_saved_split,
    save_plan,
)
from adwarm.settings import Settings
from adwarm.store import Context, aggregates
from adwarm.store.database import open_engine, read_transaction
from adwarm.store.objects import ObjectStore
from adwarm.store.schema import upgrade

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
Window = tuple[datetime, datetime] | None


class Pipeline:
    """A log folder with a database and objects."""

    def __init__(self, log: Path, root: Path, engine: Engine | None = None, share_events: int = 20) -> None:
        root.mkdir(parents=True)
        self.objects = ObjectStore(str(root / "data"))
        self.engine = engine or open_engine(f"sqlite:///{root}/adwarm.db")
        if engine is None:
            upgrade(self.engine)
        self.share_events = share_events
        self.settings = Settings.model_validate({"access_log": {"url": str(log)}, "max_batches": 128})

    @property
    def context(self) -> Context:
        return Context(self.engine, self.objects, self.settings)

    def whole(self, now: datetime, window: Window = None) -> IngestResult:
        return ingest(self.context, now, window=window)

    def plan(self, now: datetime, window: Window = None) -> IngestRun:
        """Plan splits of `share_events`."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("adwarm.patterns.ingest.plan.SPLIT_EVENTS", self.share_events)
            return plan_ingest(self.context, now, window=window)

    def shared(self, now: datetime, window: Window = None, tries: int = 1) -> IngestResult:
        """Read as mapped tasks do, each of them `tries` times."""
        planned = self.plan(now, window)
        assert len(planned.splits) > 1
        plan = save_plan(self.objects, planned)
        return commit_saved_plan(self.context, plan, self.read(plan, len(planned.splits), tries))

    def read(self, plan: str, count: int, tries: int = 1) -> list[str]:
        found = [{read_saved_split(self.context, plan, number) for _ in range(tries)} for number in range(count)]
        assert all(len(same) == 1 for same in found)
        return [same.pop() for same in found]

    def published(self) -> list[tuple[datetime, str, int, int]]:
        """The hours, with the hashes of their objects: equal hashes are equal bytes."""
        with read_transaction(self.engine) as connection:
            return [(row.hour, row.object_hash, row.opens, row.keys) for row in aggregates.list_hours(connection)]

    def files(self) -> list[tuple[object, ...]]:
        with read_transaction(self.engine) as connection:
            rows = aggregates.list_log_files(connection).values()
            return sorted((r.path, r.size, r.offset, r.events, r.rejected) for r in rows)


def _line(at: datetime, account: int = 1) -> bytes:
    return orjson.dumps({"ts": at, "account_id": f"act_{account}", "date_range": "today"}) + b"\n"


def _write(log: Path, events: int, seed: int = 1, bad: bool = True) -> None:
    """Write files of every format, out of order over several days, with broken lines."""
    rng = random.Random(seed)
    rows = [(START + timedelta(minutes=rng.randrange(6000)), rng.randrange(1, 9)) for _ in range(events)]
    log.mkdir(exist_ok=True)
    lines = [_line(at, account) if not bad or rng.random() > 0.05 else b"broken\n" for at, account in rows]
    (log / "a.jsonl").write_bytes(b"".join(lines))
    (log / "b.csv").write_text(
        "ts,account_id,date_range\n" + "".join(f"{at.isoformat()},act_{account},today\n" for at, account in rows)
    )
    (log / "c.jsonl.gz").write_bytes(gzip.compress(b"".join(lines[:50])))
    table = pa.Table.from_pylist([{"ts": at, "account_id": f"act_{n}", "date_range": "last_7d"} for at, n in rows])
    pq.write_table(table, log / "d.parquet", row_group_size=30)
    for number in range(5):
        (log / f"e{number}.jsonl").write_bytes(b"".join(lines[number::7]))


@pytest.mark.slow
@given(
    events=st.integers(60, 300), share=st.integers(5, 150), seed=st.integers(0, 5), block=st.sampled_from([200, 2**20])
)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_splits_give_the_result_of_one_reader(
    tmp_path_factory: pytest.TempPathFactory, events: int, share: int, seed: int, block: int
) -> None:
    """Hours, objects, files and figures equal those of one reader for any split; reading twice adds nothing."""
    root = tmp_path_factory.mktemp("shares")
    log = root / "log"
    _write(log, events, seed)
    whole, shared = Pipeline(log, root / "one"), Pipeline(log, root / "many", share_events=share)
    now = START + timedelta(days=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adwarm.access_log.lines.BLOCK_BYTES", block)
        one, many = whole.whole(now), shared.shared(now, tries=2)
    assert shared.published() == whole.published()
    assert shared.files() == whole.files()
    assert (many.events, many.rejected_by_reason, many.hours, many.opens) == (
        one.events,
        one.rejected_by_reason,
        one.hours,
        one.opens,
    )
    assert many.quarantine_hash == one.quarantine_hash


def test_late_events_and_growth_are_handled_like_one_reader(tmp_path: Path) -> None:
    """A second run with splits recomputes late hours, counts events that are too late, and counts no old line again."""
    log = tmp_path / "log"
    _write(log, 80)
    houses = Pipeline(log, tmp_path / "one"), Pipeline(log, tmp_path / "many", share_events=25)
    first = START + timedelta(days=4, hours=4)
    houses[0].whole(first)
    houses[1].shared(first)
    with (log / "a.jsonl").open("ab") as file:
        file.writelines(_line(first - timedelta(minutes=7 * n)) for n in range(60))
        file.writelines([_line(first - timedelta(days=30)), b"broken\n"])
    reports = houses[0].whole(first + HOUR), houses[1].shared(first + HOUR)
    assert houses[1].published() == houses[0].published()
    assert houses[1].files() == houses[0].files()
    assert reports[1].rejected_by_reason == reports[0].rejected_by_reason
    assert reports[0].rejected_by_reason["late"] == 1
    assert reports[0].rejected_by_reason["json"] == 1


def test_an_explicit_window_can_be_split(tmp_path: Path) -> None:
    """The window's hours are replaced; neither the progress of files nor the watermark changes."""
    log = tmp_path / "log"
    _write(log, 80)
    houses = Pipeline(log, tmp_path / "one"), Pipeline(log, tmp_path / "many")
    window = (START + 5 * HOUR, START + 60 * HOUR)
    houses[0].whole(START, window)
    houses[1].shared(START, window)
    assert houses[1].published() == houses[0].published()
    assert houses[1].files() == []


def test_nothing_is_published_before_the_commit(tmp_path: Path, engine: Engine) -> None:
    """Reading splits publishes nothing; the commit publishes everything, and a second commit changes nothing."""
    log = tmp_path / "log"
    _write(log, 60)
    pipeline = Pipeline(log, tmp_path / "many", engine)
    planned = pipeline.plan(START + timedelta(days=5))
    plan = save_plan(pipeline.objects, planned)
    partials = pipeline.read(plan, len(planned.splits))
    assert (pipeline.published(), pipeline.files()) == ([], [])
    with pytest.raises(ValueError, match="shorter"):
        commit_saved_plan(pipeline.context, plan, partials[:-1])
    assert (pipeline.published(), pipeline.files()) == ([], [])
    commit_saved_plan(pipeline.context, plan, partials)
    before = pipeline.published(), pipeline.files()
    commit_saved_plan(pipeline.context, plan, partials)
    assert (pipeline.published(), pipeline.files()) == before


def test_a_run_with_an_old_watermark_is_not_committed(tmp_path: Path) -> None:
    """When another run has moved the watermark since planning, the hours of that run stay."""
    log = tmp_path / "log"
    _write(log, 60)
    pipeline = Pipeline(log, tmp_path / "many")
    planned = pipeline.plan(START + timedelta(days=5))
    plan = save_plan(pipeline.objects, planned)
    pipeline.whole(START + timedelta(days=6))
    before = pipeline.published()
    with pytest.raises(Transient, match="run again"):
        commit_saved_plan(pipeline.context, plan, pipeline.read(plan, len(planned.splits)))
    assert pipeline.published() == before


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def _rewrite(path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([{"ts": START, "account_id": "act_1", "date_range": "today"}]), path)


@pytest.mark.parametrize(("name", "spoil"), [("a.jsonl", _cut), ("d.parquet", _rewrite), ("b.csv", Path.unlink)])
def test_a_log_that_changed_is_not_read(tmp_path: Path, name: str, spoil: Callable[[Path], object]) -> None:
    """A file that was truncated, rewritten or removed since planning stops its split; one that grew does not."""
    log = tmp_path / "log"
    _write(log, 60)
    pipeline = Pipeline(log, tmp_path / "many")
    planned = pipeline.plan(START + timedelta(days=5))
    plan = save_plan(pipeline.objects, planned)
    number = next(
        n for n, share in enumerate(planned.splits) if share.ranges[0].file_range.file.path == str(log / name)
    )
    if name == "a.jsonl":
        with (log / name).open("ab") as file:
            file.write(_line(START))
        read_saved_split(pipeline.context, plan, number)
    spoil(log / name)
    with pytest.raises(Transient, match="changed"):
        read_saved_split(pipeline.context, plan, number)


def test_a_damaged_file_counts_up_to_the_damage(tmp_path: Path) -> None:
    """Rows after a damaged row group are left out, as one reader would have stopped there."""
    log = tmp_path / "log"
    _write(log, 120)
    data = bytearray((log / "d.parquet").read_bytes())
    second = pq.ParquetFile(log / "d.parquet").metadata.row_group(2).column(0)
    place = second.dictionary_page_offset or second.data_page_offset
    data[place : place + 40] = b"\xff" * 40
    (log / "d.parquet").write_bytes(bytes(data))
    whole, shared = Pipeline(log, tmp_path / "one"), Pipeline(log, tmp_path / "many", share_events=40)
    now = START + timedelta(days=5)
    one, many = whole.whole(now), shared.shared(now)
    assert one.rejected_by_reason["unreadable"] == 1
    assert many.rejected_by_reason == one.rejected_by_reason
    assert shared.published() == whole.published()
    assert shared.files() == whole.files()


def test_a_log_without_a_readable_file_is_an_error(tmp_path: Path) -> None:
    """The run fails and gives the reason."""
    log = tmp_path / "log"
    log.mkdir()
    (log / "a.csv").write_text("moment,key\n" + "x,y\n" * 4000)
    pipeline = Pipeline(log, tmp_path / "many")
    with pytest.raises(BadRequest, match="can be read"):
        pipeline.shared(START)


def test_a_small_log_is_one_split(tmp_path: Path) -> None:
    """There is one split when there is little to read, and none when nothing changed."""
    log = tmp_path / "log"
    _write(log, 100)
    pipeline = Pipeline(log, tmp_path / "one", share_events=1_000_000)
    now = START + timedelta(days=5)
    assert len(pipeline.plan(now).splits) == 1
    pipeline.whole(now)
    assert pipeline.plan(now + timedelta(days=5)).splits == []
