"""The same events come out of every format, place and packing."""

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adwarm.access_log import EVENT_SCHEMA, LogReader, Quarantine, list_files, log_span, read_events
from adwarm.errors import BadRequest, NotFound
from adwarm.settings import Settings

START = datetime(2026, 3, 2, tzinfo=UTC)
EVENTS = [
    {"ts": START + timedelta(minutes=20 * n), "account_id": f"act_{n % 3}", "date_range": ("today", "last_7d")[n % 2]}
    for n in range(100)
]


def _jsonl(events: list[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(event) + b"\n" for event in events)


def _csv(events: list[dict[str, Any]]) -> bytes:
    rows = ["ts,account_id,date_range", *(f"{e['ts'].isoformat()},{e['account_id']},{e['date_range']}" for e in events)]
    return "\n".join(rows).encode() + b"\n"


def _combined(events: list[dict[str, Any]]) -> bytes:
    line = '1.1.1.1 - - [{}] "GET /accounts/{}/insights/{} HTTP/1.1" 200 1 "-" "Mozilla"\n'
    return "".join(
        line.format(e["ts"].strftime("%d/%b/%Y:%H:%M:%S %z"), e["account_id"], e["date_range"]) for e in events
    ).encode()


def _parquet(events: list[dict[str, Any]], group: int = 10) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(events), sink, row_group_size=group)
    return sink.getvalue().to_pybytes()


FORMATS = {"log.parquet": _parquet, "log.jsonl": _jsonl, "log.csv": _csv, "access.log": _combined}


def _rows(url: object, quarantine: Quarantine | None = None, **window: Any) -> list[dict[str, Any]]:
    batches = list(read_events(str(url), Settings(), quarantine=quarantine, **window))
    assert all(batch.schema == EVENT_SCHEMA for batch in batches)
    return [row for batch in batches for row in batch.select(["ts", "account_id", "date_range"]).to_pylist()]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_events(tmp_path: Path, name: str, packed: bool) -> None:
    """Parquet, JSON lines, CSV and the combined format, plain and gzipped, are one log."""
    data = FORMATS[name](EVENTS)
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(data) if packed else data)
    assert _rows(path) == EVENTS
    window = {"since": START + timedelta(hours=5), "until": START + timedelta(hours=9)}
    assert _rows(path, **window) == [e for e in EVENTS if window["since"] <= e["ts"] < window["until"]]
    assert log_span(str(path), Settings()) == (EVENTS[0]["ts"], EVENTS[-1]["ts"], len(EVENTS))


@pytest.mark.parametrize("name", FORMATS)
def test_a_name_that_says_nothing_is_no_obstacle(tmp_path: Path, name: str) -> None:
    """The format is told from the first bytes."""
    path = tmp_path / "opens"
    path.write_bytes(FORMATS[name](EVENTS))
    assert _rows(path) == EVENTS


def test_folders_and_globs_are_one_log(tmp_path: Path) -> None:
    """Folders are read recursively; other files and hidden ones are passed over; a glob picks."""
    (tmp_path / "2026" / "03").mkdir(parents=True)
    (tmp_path / "a.jsonl").write_bytes(_jsonl(EVENTS[:50]))
    (tmp_path / "2026" / "03" / "b.csv").write_bytes(_csv(EVENTS[50:]))
    (tmp_path / "README.md").write_text("not a log")
    (tmp_path / ".c.jsonl").write_bytes(_jsonl(EVENTS))
    key = ["ts", "account_id"]
    assert sorted(_rows(tmp_path), key=lambda row: [row[name] for name in key]) == EVENTS
    assert _rows(tmp_path / "*.jsonl") == EVENTS[:50]
    assert _rows(tmp_path / "**" / "*.csv") == EVENTS[50:]


def test_a_log_behind_a_url_is_read_like_a_local_one() -> None:
    """Any fsspec URL will do."""
    with fsspec.open("memory://logs/march/log.jsonl", "wb") as file:
        file.write(_jsonl(EVENTS))
    with fsspec.open("memory://logs/march/log.parquet", "wb") as file:
        file.write(_parquet(EVENTS))
    assert _rows("memory://logs/march/log.jsonl") == EVENTS
    assert _rows("memory://logs/march") == EVENTS * 2
    assert _rows("memory://logs/*/*.parquet") == EVENTS


def test_no_log_is_an_error_that_says_what_to_set(tmp_path: Path) -> None:
    """A wrong path is not an empty log."""
    with pytest.raises(NotFound, match="ADWARM_ACCESS_LOG_URL"):
        _rows(tmp_path / "nothing.jsonl")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(NotFound, match="no event"):
        log_span(str(tmp_path / "empty.jsonl"), Settings())


def test_a_bad_row_costs_itself_and_says_where_it_was(tmp_path: Path) -> None:
    """Each bad field is named with the offset of its line, or the row of a Parquet file."""
    bad = [
        EVENTS[0] | {"ts": None}, EVENTS[0] | {"account_id": "'; DROP TABLE"}, EVENTS[0] | {"date_range": "always"},
        EVENTS[0] | {"ts": datetime(2098, 1, 1, tzinfo=UTC)},
    ]  # fmt: skip
    for name, write in (("log.jsonl", _jsonl), ("log.parquet", _parquet)):
        path = tmp_path / name
        path.write_bytes(write([EVENTS[0], *bad, EVENTS[1]]))
        quarantine = Quarantine()
        assert _rows(path, quarantine) == EVENTS[:2]
        assert [sample.reason for sample in quarantine.samples] == ["ts", "account_id", "date_range", "future"]
        expected = len(_jsonl(EVENTS[:1])) if name == "log.jsonl" else 1
        assert quarantine.samples[0].offset == expected


def test_a_report_that_is_not_configured_is_rejected(tmp_path: Path) -> None:
    """An open of an unknown report could not be warmed."""
    path = tmp_path / "log.jsonl"
    path.write_bytes(_jsonl([EVENTS[0] | {"report": "video"}, EVENTS[1] | {"report": "default"}]))
    quarantine = Quarantine()
    assert _rows(path, quarantine) == EVENTS[1:2]
    assert quarantine.by_reason == {"report": 1}


@given(st.lists(st.binary(max_size=80).map(lambda line: line.replace(b"\n", b"")), max_size=20))
@settings(max_examples=60)
def test_garbage_between_events_harms_none_of_them(
    tmp_path_factory: pytest.TempPathFactory, garbage: list[bytes]
) -> None:
    """Whatever bytes stand between two events, both are read, and nothing raises."""
    path = tmp_path_factory.mktemp("garbage") / "log.jsonl"
    path.write_bytes(_jsonl(EVENTS[:1]) + b"".join(line + b"\n" for line in garbage) + _jsonl(EVENTS[1:2]))
    assert _rows(path) == EVENTS[:2]


def test_a_torn_archive_gives_what_is_whole(tmp_path: Path) -> None:
    """A gzip that ends too early is counted once, and its first lines are read."""
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(_jsonl(EVENTS * 50))[:-200])
    quarantine = Quarantine()
    assert _rows(path, quarantine)[:50] == EVENTS[:50]
    assert quarantine.by_reason["truncated"] == 1


def test_a_file_that_cannot_be_read_does_not_stop_the_rest(tmp_path: Path) -> None:
    """A broken Parquet file lands in the quarantine; only when nothing is readable is it an error."""
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(BadRequest, match="not Parquet"):
        _rows(tmp_path)
    (tmp_path / "b.jsonl").write_bytes(_jsonl(EVENTS))
    quarantine = Quarantine()
    assert _rows(tmp_path, quarantine) == EVENTS
    assert quarantine.by_reason == {"unreadable": 1}


def test_row_groups_outside_the_window_are_not_read(tmp_path: Path) -> None:
    """Statistics spare the reading of row groups; rows keep their numbers."""
    path = tmp_path / "log.parquet"
    path.write_bytes(_parquet(EVENTS, group=10))
    reader = LogReader(Settings())
    pieces = list(reader.pieces(list_files(str(path))[0], since=EVENTS[35]["ts"], until=EVENTS[41]["ts"]))
    assert [(piece.start, piece.end) for piece in pieces] == [(30, 40), (40, 50)]


def test_reading_can_begin_at_an_offset(tmp_path: Path) -> None:
    """An offset between two lines leaves out what stands before; a CSV log keeps its header."""
    for name, write in (("log.jsonl", _jsonl), ("log.csv", _csv)):
        path = tmp_path / name
        path.write_bytes(write(EVENTS))
        assert _rows(path, start_offsets={str(path): len(write(EVENTS[:60]))}) == EVENTS[60:]


def test_optional_columns_never_cost_a_line(tmp_path: Path) -> None:
    """Odd values of time_zone, actor, hit and latency fall back to unknown."""
    odd = {"time_zone": "Nowhere", "actor": "robot", "hit": "maybe", "latency": "fast"}
    good = {"time_zone": "Asia/Tokyo", "actor": "api", "hit": "miss", "latency": 12}
    path = tmp_path / "log.jsonl"
    path.write_bytes(_jsonl([EVENTS[0] | odd, EVENTS[1] | good]))
    found = pa.Table.from_batches(read_events(str(path), Settings())).to_pylist()
    names = ("time_zone", "actor", "hit", "latency_ms")
    assert [tuple(row[name] for name in names) for row in found] == [
        ("", "human", None, None), ("Asia/Tokyo", "api", False, 12.0),
    ]  # fmt: skip


def test_real_logs_are_read_whole(shared_log: Path) -> None:
    """No row of a real log is rejected, and the span agrees with the count."""
    quarantine = Quarantine()
    rows = sum(batch.num_rows for batch in read_events(str(shared_log), Settings(), quarantine=quarantine))
    assert quarantine.count == 0
    assert log_span(str(shared_log), Settings())[2] == rows
