"""The log gives the same hours whether it is read at once, in steps or by windows."""

import errno
import gzip
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from adwarm.access_log import LogReader, list_files, log_span
from adwarm.foundation.errors import BadRequest, Transient
from adwarm.patterns.ingest.run import IngestResult, ingest, plan_ingest, run_locally
from adwarm.patterns.open_history import load_slots
from adwarm.settings import Settings
from adwarm.store import Context, aggregates
from adwarm.store.database import open_engine, read_transaction, write_transaction
from adwarm.store.objects import ObjectStore
from adwarm.store.schema import upgrade
from tests.unit.patterns.conftest import first_opens

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
EVER = (START - timedelta(days=300), START + timedelta(days=300))


class Pipeline:
    """A log folder with the database and the objects that are learned from it."""

    def __init__(self, root: Path, engine: Engine | None = None) -> None:
        self.log = root / "log"
        self.log.mkdir(parents=True)
        self.objects = ObjectStore(str(root / "data"))
        self.engine = engine or open_engine(f"sqlite:///{root}/adwarm.db")
        if engine is None:
            upgrade(self.engine)

    def append(self, events: Iterable[datetime], name: str = "a.jsonl", account: str = "act_1") -> None:
        with (self.log / name).open("ab") as file:
            file.writelines(_line(at, account) for at in events)

    def ingest(self, now: datetime, window: tuple[datetime, datetime] | None = None) -> IngestResult:
        return ingest(self.context(), now, window=window)

    def context(self, **settings: Any) -> Context:
        return Context(self.engine, self.objects, Settings(access_log={"url": str(self.log)}, **settings))

    def hours(self) -> list[tuple[datetime, int]]:
        with read_transaction(self.engine) as connection:
            return [(row.hour, row.opens) for row in aggregates.list_hours(connection)]

    def slots(self) -> list[dict[str, Any]]:
        return load_slots(self.context(), *EVER).to_dict("records")


def _line(at: datetime, account: str = "act_1") -> bytes:
    return orjson.dumps({"ts": at, "account_id": account, "date_range": "today"}) + b"\n"


@pytest.fixture
def pipeline(tmp_path: Path, engine: Engine) -> Pipeline:
    """A log with a store on each database."""
    return Pipeline(tmp_path / "pipeline", engine)


@pytest.fixture
def small(tmp_path: Path) -> Pipeline:
    """A log with a store on SQLite, where the dialect does not matter."""
    return Pipeline(tmp_path / "small")


def test_the_first_run_reads_everything_up_to_now(pipeline: Pipeline) -> None:
    """Hours count human opens; events later than now are counted by a later run, in an unchanged file too."""
    pipeline.append([START, START + HOUR / 4, START + 3 * HOUR])
    report = pipeline.ingest(START + 2 * HOUR)
    assert pipeline.hours() == [(START, 2)]
    assert (report.events, report.opens, report.hours, report.keys, report.rejected) == (2, 2, 1, 1, 0)
    assert (report.since, report.until, report.quarantine_hash) == (START, START + 2 * HOUR, None)
    pipeline.ingest(START + 4 * HOUR)
    assert pipeline.hours() == [(START, 2), (START + 3 * HOUR, 1)]


def test_an_unchanged_log_is_not_read_again(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the watermark moves, and the hours stay."""
    pipeline.append([START])
    pipeline.ingest(START + HOUR)
    before = pipeline.hours()

    def fail(*args: object, **more: object) -> Iterator[None]:
        raise AssertionError("the log was read")

    monkeypatch.setattr(LogReader, "read_file", fail)
    report = pipeline.ingest(START + 5 * HOUR)
    assert (report.events, report.since) == (0, None)
    assert pipeline.hours() == before
    with read_transaction(pipeline.engine) as connection:
        assert aggregates.get_watermark(connection) == START + 5 * HOUR


def test_late_events_reopen_their_hour_and_older_ones_are_counted(pipeline: Pipeline) -> None:
    """An event two days late recomputes its hour; an older one is rejected as late."""
    pipeline.append([START, START + 60 * HOUR])
    pipeline.ingest(START + 60 * HOUR + HOUR / 2)
    pipeline.append([START + 20 * HOUR, START + HOUR])
    report = pipeline.ingest(START + 61 * HOUR)
    assert report.rejected_by_reason == {"late": 1}
    assert pipeline.hours() == [(START, 1), (START + 20 * HOUR, 1), (START + 60 * HOUR, 1)]


def test_only_the_end_of_a_long_file_is_read_again(small: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """A grown file is read from a checkpoint, not from its start."""
    monkeypatch.setattr("adwarm.access_log.lines.BLOCK_BYTES", 256)
    small.append([START + n * HOUR for n in range(200)])
    small.ingest(START + 200 * HOUR)
    small.append([START + 200 * HOUR])
    starts: list[int] = []
    pieces = LogReader.read_file

    def watched(self: LogReader, file: Any, **options: Any) -> Iterator[Any]:
        starts.append(options.get("start", 0))
        return pieces(self, file, **options)

    monkeypatch.setattr(LogReader, "read_file", watched)
    assert small.ingest(START + 201 * HOUR).events < 60
    assert min(starts) > 0
    assert len(small.hours()) == 201


def test_hours_that_files_share_are_counted_from_all_of_them(pipeline: Pipeline) -> None:
    """A new event in one file does not drop events of the same hour in another, unchanged file."""
    pipeline.append([START, START + HOUR], "a.jsonl")
    pipeline.append([START], "b.jsonl", account="act_2")
    pipeline.ingest(START + 2 * HOUR)
    pipeline.append([START + HOUR / 2], "b.jsonl", account="act_2")
    pipeline.ingest(START + 3 * HOUR)
    assert pipeline.hours() == [(START, 3), (START + HOUR, 1)]


def test_a_window_is_replaced_whole(pipeline: Pipeline) -> None:
    """Exactly the hours that touch the window are recomputed, at any time; an hour without events is removed."""
    pipeline.append([START + n * HOUR for n in range(5)])
    pipeline.ingest(START + 5 * HOUR)
    (pipeline.log / "a.jsonl").unlink()
    pipeline.append([START, START + 2 * HOUR, START + 2 * HOUR + HOUR / 2, START + 4 * HOUR], "b.jsonl")
    report = pipeline.ingest(START + 90 * HOUR, (START + HOUR, START + 3 * HOUR))
    assert pipeline.hours() == [(START, 1), (START + 2 * HOUR, 2), (START + 3 * HOUR, 1), (START + 4 * HOUR, 1)]
    assert (report.since, report.until, report.events) == (START + HOUR, START + 3 * HOUR, 2)
    with read_transaction(pipeline.engine) as connection:
        assert aggregates.get_watermark(connection) == START + 5 * HOUR


def test_windows_in_any_order_give_what_one_run_gives(tmp_path: Path) -> None:
    """A backfill over past windows ends with the same slots as reading the log in one go."""
    moments = [START + n * timedelta(minutes=17) for n in range(200)]
    one, other = Pipeline(tmp_path / "one"), Pipeline(tmp_path / "other")
    for pipeline in (one, other):
        pipeline.append(moments)
    one.ingest(START + 72 * HOUR)
    for n in (3, 0, 5, 1, 4, 2, 3):
        other.ingest(START + 99 * HOUR, (START + 12 * n * HOUR, START + 12 * (n + 1) * HOUR))
    assert other.slots() == one.slots()
    assert other.hours() == one.hours()


STEP = st.tuples(
    st.integers(0, 30),
    st.lists(st.tuples(st.integers(-47 * 60, 180), st.sampled_from(["a.jsonl", "b.jsonl", "c.csv"])), max_size=6),
)


@pytest.mark.slow
@given(st.lists(STEP, min_size=1, max_size=6), st.sampled_from([64, 1 << 20]))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_reading_in_steps_gives_what_one_run_gives(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, list[tuple[int, str]]]], block: int
) -> None:
    """Whatever is added between runs, up to 47 hours late or ahead of the clock, nothing is lost or counted twice."""
    stepwise, whole = (Pipeline(tmp_path_factory.mktemp("steps") / name) for name in ("stepwise", "whole"))
    for pipeline in (stepwise, whole):
        (pipeline.log / "c.csv").write_text("account_id,date_range,ts\n")
        pipeline.append([START], "a.jsonl")
    now = START + HOUR
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adwarm.access_log.lines.BLOCK_BYTES", block)
        stepwise.ingest(now)
        for number, (pause, events) in enumerate(steps):
            for minutes, name in events:
                at = now + timedelta(minutes=minutes)
                for pipeline in (stepwise, whole):
                    if name.endswith("csv"):
                        with (pipeline.log / name).open("a") as file:
                            file.write(f"act_{number},today,{at.isoformat()}\n")
                    else:
                        pipeline.append([at], name, f"act_{number}")
            now += timedelta(hours=pause)
            stepwise.ingest(now)
        now += 4 * HOUR
        stepwise.ingest(now)
    whole.ingest(now)
    assert stepwise.slots() == whole.slots()
    assert stepwise.hours() == whole.hours()


def test_a_killed_run_changes_nothing_and_the_next_does_its_work(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours, files and watermark are published together or not at all."""
    pipeline.append([START])
    pipeline.ingest(START + HOUR)
    pipeline.append([START + HOUR])

    def killed(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(aggregates, "set_watermark", killed)
        with pytest.raises(KeyboardInterrupt):
            pipeline.ingest(START + 2 * HOUR)
    assert pipeline.hours() == [(START, 1)]
    pipeline.ingest(START + 2 * HOUR)
    assert pipeline.hours() == [(START, 1), (START + HOUR, 1)]


def test_a_run_that_was_overtaken_publishes_nothing(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """When another run moved the watermark in the meantime, its hours stay."""
    pipeline.append([START])
    put = pipeline.objects.put

    def overtaken(data: bytes, suffix: str = ".parquet") -> str:
        with write_transaction(pipeline.engine) as connection:
            aggregates.set_watermark(connection, START + 9 * HOUR, START)
        return put(data, suffix)

    monkeypatch.setattr(pipeline.objects, "put", overtaken)
    with pytest.raises(Transient, match="run again"):
        pipeline.ingest(START + HOUR)
    assert pipeline.hours() == []


def test_bad_lines_are_counted_once_and_kept_with_their_offset(pipeline: Pipeline) -> None:
    """Lines that are read again for their hour are not counted again; the quarantine is an object of JSON lines."""
    pipeline.append([START])
    with (pipeline.log / "a.jsonl").open("ab") as file:
        file.write(b"broken\n" + _line(START, "no body"))
    report = pipeline.ingest(START + HOUR)
    assert report.rejected_by_reason == {"account_id": 1, "json": 1}
    assert report.quarantine_hash is not None
    rows = [orjson.loads(line) for line in pipeline.objects.get(report.quarantine_hash, ".jsonl").splitlines()]
    assert rows == report.samples
    assert rows[0] == {
        "file": str(pipeline.log / "a.jsonl"),
        "offset": len(_line(START)),
        "reason": "json",
        "excerpt": "broken",
    }
    pipeline.append([START + HOUR])
    assert pipeline.ingest(START + 2 * HOUR).rejected == 0
    assert pipeline.hours() == [(START, 1), (START + HOUR, 1)]


def test_a_line_that_is_still_being_written_is_not_lost(small: Pipeline) -> None:
    """The last line counts when it is complete, even if an earlier run read half of it."""
    line = _line(START + HOUR)
    small.append([START])
    with (small.log / "a.jsonl").open("ab") as file:
        file.write(line[:20])
    small.ingest(START + 2 * HOUR)
    with (small.log / "a.jsonl").open("ab") as file:
        file.write(line[20:])
    small.ingest(START + 3 * HOUR)
    assert small.hours() == [(START, 1), (START + HOUR, 1)]


@pytest.mark.parametrize("rotation", ["removed", "truncated", "renamed"])
def test_rotation_does_not_empty_hours(small: Pipeline, rotation: str) -> None:
    """Whether the old file is removed, emptied or renamed, its hours keep their opens."""
    small.append([START + n * HOUR / 4 for n in range(8)], "a.log")
    small.ingest(START + 2 * HOUR)
    before = small.hours()
    path = small.log / "a.log"
    if rotation == "renamed":
        path.rename(small.log / "a.log.1")
    else:
        path.unlink()
    small.append([START + 2 * HOUR], "b.log" if rotation == "removed" else "a.log")
    for hours in (3, 4, 20):
        small.append([START + hours * HOUR - HOUR / 2], "c.log")
        small.ingest(START + hours * HOUR)
        assert small.hours()[: len(before)] == before
    assert (START + 2 * HOUR) in dict(small.hours())


def test_a_parquet_file_that_grew_is_read_by_its_statistics(small: Pipeline) -> None:
    """Its newer rows count, and its older rows are not counted as late."""
    moments = [START + n * HOUR for n in range(100)]

    def write(count: int) -> None:
        rows = [{"ts": at, "account_id": "act_1", "date_range": "today"} for at in moments[:count]]
        pq.write_table(pa.Table.from_pylist(rows), small.log / "log.parquet", row_group_size=10)

    write(90)
    small.ingest(START + 90 * HOUR)
    write(100)
    report = small.ingest(START + 100 * HOUR)
    assert report.rejected == 0
    assert report.events < 70
    assert len(small.hours()) == 100


def test_a_new_parquet_file_of_long_ago_is_late(small: Pipeline) -> None:
    """Its rows are counted as late; an explicit window reads them."""
    small.append([START + 100 * HOUR])
    small.ingest(START + 101 * HOUR)
    rows = [{"ts": START + n * HOUR, "account_id": "act_1", "date_range": "today"} for n in range(5)]
    pq.write_table(pa.Table.from_pylist(rows), small.log / "old.parquet", row_group_size=2)
    assert small.ingest(START + 102 * HOUR).rejected_by_reason == {"late": 5}
    small.ingest(START + 102 * HOUR, (START, START + 5 * HOUR))
    assert len(small.hours()) == 6


def test_a_compressed_file_that_grew_is_read_on(small: Pipeline) -> None:
    """A gzip file can grow by a member; offsets count decompressed bytes."""
    path = small.log / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(_line(START + n * HOUR) for n in range(3))))
    small.ingest(START + 3 * HOUR)
    with path.open("ab") as file:
        file.write(gzip.compress(_line(START + 3 * HOUR)))
    report = small.ingest(START + 4 * HOUR)
    assert report.rejected == 0
    assert small.hours() == [(START + n * HOUR, 1) for n in range(4)]


def test_a_touched_file_is_the_same_log(small: Pipeline) -> None:
    """A new modification time alone makes nothing late and doubles nothing."""
    small.append([START + n * HOUR for n in range(0, 100, 10)])
    small.ingest(START + 100 * HOUR)
    before = small.hours()
    os.utime(small.log / "a.jsonl", (1_800_000_000, 1_800_000_000))
    assert small.ingest(START + 101 * HOUR).rejected == 0
    assert small.hours() == before


def test_a_clock_that_was_set_back_cuts_nothing(small: Pipeline) -> None:
    """A run with an earlier now leaves later hours and the watermark unchanged."""
    small.append([START + n * HOUR for n in range(5)])
    small.ingest(START + 5 * HOUR)
    before = small.hours()
    small.append([START])
    small.ingest(START + HOUR)
    assert small.hours() == [(START, 2), *before[1:]]


def test_a_log_must_be_set(small: Pipeline) -> None:
    """The error names the setting."""
    with pytest.raises(BadRequest, match="ADWARM_ACCESS_LOG__URL"):
        ingest(Context(small.engine, small.objects, Settings()), START)


@pytest.mark.slow
@pytest.mark.parametrize("shared_log", ["loan_desk", "page_opens"], indirect=True)
def test_real_logs_give_the_first_opens_of_their_events(shared_log: Path, small: Pipeline) -> None:
    """The first opens of the stored slots equal those of the log's events."""
    log = Settings(access_log={"url": str(shared_log)})
    first, last, events = log_span(str(shared_log), log)
    report = ingest(Context(small.engine, small.objects, log), last + HOUR)
    found = first_opens(load_slots(small.context(), first - HOUR, last + HOUR))
    frame = pd.read_parquet(shared_log).sort_values(["account_id", "date_range", "ts"])
    gap = frame.groupby(["account_id", "date_range"])["ts"].diff()
    expected = frame[gap.isna() | (gap >= pd.Timedelta(minutes=30))]
    assert (report.events, report.rejected) == (events, 0)
    assert len(found) == len(expected)
    assert found["ts"].sort_values().tolist() == expected["ts"].sort_values().tolist()


def test_what_cannot_be_read_is_named_and_the_rest_is_published(pipeline: Pipeline, tmp_path: Path) -> None:
    """A broken file, a symlink out of the folder and many bad lines cost no open of the other files."""
    pipeline.append([START, START + HOUR])
    (pipeline.log / "b.jsonl").write_bytes(b"no line\n" * 3000)
    (pipeline.log / "c.parquet").write_bytes(b"PAR1 but not really")
    table = pa.Table.from_pylist([{"ts": START, "account_id": ["1"], "date_range": "today"}])
    pq.write_table(table, pipeline.log / "d.parquet")
    (tmp_path / "elsewhere.jsonl").write_bytes(_line(START))
    (pipeline.log / "e.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    report = pipeline.ingest(START + 2 * HOUR)
    assert pipeline.hours() == [(START, 1), (START + HOUR, 1)]
    assert report.rejected_by_reason == {"json": 3000, "symlink": 1, "unreadable": 2}
    assert [Path(str(sample["file"])).name for sample in report.samples[:3]] == ["c.parquet", "d.parquet", "e.jsonl"]
    assert report.quarantine_hash is not None
    kept = [orjson.loads(line) for line in pipeline.objects.get(report.quarantine_hash, ".jsonl").splitlines()]
    assert len(kept) == 1000 + 3
    assert all(row["excerpt"] for row in kept)


def test_a_file_that_vanishes_between_plan_and_reading_costs_itself(small: Pipeline) -> None:
    """The other files are published; what an earlier run has read of the missing file stays."""
    small.append([START], "a.jsonl")
    small.append([START + HOUR], "b.jsonl", "act_2")
    small.ingest(START + 2 * HOUR)
    small.append([START + 2 * HOUR], "a.jsonl")
    small.append([START + 2 * HOUR], "b.jsonl", "act_2")
    log = Settings(access_log={"url": str(small.log)})
    planned = plan_ingest(Context(small.engine, small.objects, log), START + 3 * HOUR)
    (small.log / "b.jsonl").unlink()
    report = run_locally(Context(small.engine, small.objects, log), planned)
    assert report.rejected_by_reason == {"unreadable": 1}
    assert small.hours() == [(START, 1), (START + HOUR, 1), (START + 2 * HOUR, 1)]


def test_a_file_that_is_closed_for_a_while_loses_nothing(small: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hours stay while it cannot be opened, at planning or at reading, and new events are read afterwards."""
    small.append([START], "a.jsonl")
    small.append([START, START + HOUR], "b.jsonl", "act_2")
    small.ingest(START + 2 * HOUR)
    small.append([START + 2 * HOUR], "a.jsonl")
    small.append([START + 2 * HOUR], "b.jsonl", "act_2")
    opened = Path.open

    def refusing(path: Path, *args: Any, **more: Any) -> Any:
        if path.name == "b.jsonl":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refusing)
        assert small.ingest(START + 3 * HOUR).rejected_by_reason == {"unreadable": 1}
        assert small.hours() == [(START, 2), (START + HOUR, 1), (START + 2 * HOUR, 1)]
    assert small.ingest(START + 4 * HOUR).rejected == 0
    assert small.hours() == [(START, 2), (START + HOUR, 1), (START + 2 * HOUR, 2)]


@pytest.mark.parametrize("how", ["gone", "closed"])
def test_planning_survives_a_file_that_changes_under_it(
    small: Pipeline, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Errors while looking for line ends do not stop the run."""
    small.append([START + n * HOUR / 60 for n in range(50)])
    small.append([START], "b.jsonl")
    small.ingest(START + HOUR)
    small.append([START + HOUR], "a.jsonl")
    files = list_files(str(small.log))
    monkeypatch.setattr("adwarm.patterns.ingest.run.list_files", lambda url: files)
    opened = Path.open
    error = FileNotFoundError(errno.ENOENT, "gone") if how == "gone" else PermissionError(errno.EACCES, "closed")

    def refusing(path: Path, *args: Any, **more: Any) -> Any:
        if path.name == "a.jsonl":
            raise error
        return opened(path, *args, **more)

    monkeypatch.setattr(Path, "open", refusing)
    monkeypatch.setattr("adwarm.patterns.ingest.plan.SPLIT_EVENTS", 5)
    context = small.context()
    report = run_locally(context, plan_ingest(context, START + 2 * HOUR))
    assert report.rejected_by_reason == {"unreadable": 1}
    assert small.hours() == [(START, 51)]


def test_a_skipped_symlink_does_not_make_an_unchanged_log_read_again(small: Pipeline, tmp_path: Path) -> None:
    """When nothing has changed except for a skipped symlink in the folder, nothing is read."""
    (tmp_path / "elsewhere.jsonl").write_bytes(_line(START))
    (small.log / "e.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    small.append([START])
    assert small.ingest(START + HOUR).rejected_by_reason == {"symlink": 1}
    assert plan_ingest(small.context(), START + 5 * HOUR).splits == []
