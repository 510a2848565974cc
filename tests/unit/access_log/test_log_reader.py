"""Every format, location and compression gives the same events."""

import gzip
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.access_log import EVENT_SCHEMA, LogReader, Quarantine, list_files, log_span, read_events
from adwarm.foundation.errors import BadRequest, NotFound
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


def test_every_format_gives_the_same_events(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """Parquet, JSON lines, CSV and the combined format, plain and gzipped, give the same events."""
    for packed in [False, True]:
        for name, encode in FORMATS.items():
            with subtests.test(packed=packed, name=name):
                data = encode(EVENTS)
                path = tmp_path / (f"{name}.gz" if packed else name)
                path.write_bytes(gzip.compress(data) if packed else data)
                assert _rows(path) == EVENTS
                window = {"since": START + timedelta(hours=5), "until": START + timedelta(hours=9)}
                assert _rows(path, **window) == [e for e in EVENTS if window["since"] <= e["ts"] < window["until"]]
                assert log_span(str(path), Settings()) == (EVENTS[0]["ts"], EVENTS[-1]["ts"], len(EVENTS))


OPEN = {"ts": "2026-03-02T09:00:00Z", "account_id": "act_1", "date_range": "today"}
JSON_LINES = {
    "all fields": [{**OPEN, "time_zone": "Europe/Berlin", "actor": "api", "hit": True, "x": [1]}],
    "whole numbers": [{**OPEN, "ts": 1_772_000_000, "account_id": 17}, {**OPEN, "ts": 1_772_000_000_123}],
    "kinds that differ": [OPEN, {**OPEN, "account_id": 17, "report": None}, {**OPEN, "time_zone": 1.5}],
    "a field of some lines": [OPEN, {**OPEN, "user_agent": "curl/8"}, {**OPEN, "actor": None}],
    "times without a zone": [{**OPEN, "ts": "2026-03-02 09:00:00", "time_zone": "Asia/Tokyo"}, OPEN],
    "what is missing": [{"ts": OPEN["ts"]}, {**OPEN, "account_id": None}, {}, OPEN],
    "words beyond ASCII": [{**OPEN, "time_zone": "\u00e9"}, OPEN],
}


def test_json_lines_are_read_alike_together_and_one_by_one(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """A line that is not JSON lets those of its block be read one by one; the events of the others stay the same."""
    for case, lines in JSON_LINES.items():
        read = []
        for name, end in (("together", b""), ("apart", b"{NaN\n")):
            path, rejected = tmp_path / f"{name}.jsonl", Quarantine()
            path.write_bytes(_jsonl(lines) + end)
            batches = list(read_events(str(path), Settings(), quarantine=rejected))
            read.append(([row for batch in batches for row in batch.to_pylist()], rejected.count - bool(end)))
        with subtests.test(case):
            assert read[0] == read[1]
            assert len(read[0][0]) + read[0][1] == len(lines)


def test_two_objects_in_a_line_are_rejected_whatever_the_other_lines_hold(tmp_path: Path) -> None:
    """As many objects as lines is not enough for reading them together: each line has to be one object."""
    line, path = orjson.dumps(OPEN), tmp_path / "opens.jsonl"
    for text, events, count in [
        (line + line + b"\n\n" + line + b"\n", 1, 1),
        (line + b"\nnull\n", 1, 1),
        (b'{"x":\n{}}\n' + line + line + b"\n", 0, 3),
        (line + b"\r\n" + line + b"\r\n", 2, 0),
    ]:
        path.write_bytes(text)
        rejected = Quarantine()
        batches = list(read_events(str(path), Settings(), quarantine=rejected))
        assert (sum(batch.num_rows for batch in batches), rejected.count) == (events, count)


def test_a_name_that_says_nothing_is_no_obstacle(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """The format is detected from the first bytes."""
    for name, encode in FORMATS.items():
        with subtests.test(name=name):
            path = tmp_path / "opens"
            path.write_bytes(encode(EVENTS))
            assert _rows(path) == EVENTS


def test_folders_and_globs_are_one_log(tmp_path: Path) -> None:
    """Folders are read recursively, without other and hidden files; a glob selects files."""
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
    """Any fsspec URL works."""
    with fsspec.open("memory://logs/march/log.jsonl", "wb") as file:
        file.write(_jsonl(EVENTS))
    with fsspec.open("memory://logs/march/log.parquet", "wb") as file:
        file.write(_parquet(EVENTS))
    assert _rows("memory://logs/march/log.jsonl") == EVENTS
    assert _rows("memory://logs/march") == EVENTS * 2
    assert _rows("memory://logs/*/*.parquet") == EVENTS


def test_no_log_is_an_error_that_says_what_to_set(tmp_path: Path) -> None:
    """A wrong path is not an empty log."""
    with pytest.raises(NotFound, match="ADWARM_ACCESS_LOG__URL"):
        _rows(tmp_path / "nothing.jsonl")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(NotFound, match="no event"):
        log_span(str(tmp_path / "empty.jsonl"), Settings())


def test_a_bad_row_costs_itself_and_says_where_it_was(tmp_path: Path) -> None:
    """Each bad field is rejected with the offset of its line, or the row of a Parquet file."""
    bad = [
        EVENTS[0] | {"ts": None},
        EVENTS[0] | {"account_id": "'; DROP TABLE"},
        EVENTS[0] | {"date_range": "always"},
        EVENTS[0] | {"ts": datetime(2098, 1, 1, tzinfo=UTC)},
    ]
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
def test_garbage_between_events_harms_none_of_them(
    tmp_path_factory: pytest.TempPathFactory, garbage: list[bytes]
) -> None:
    """Whatever bytes are between two events, both are read, and nothing raises."""
    path = tmp_path_factory.mktemp("garbage") / "log.jsonl"
    path.write_bytes(_jsonl(EVENTS[:1]) + b"".join(line + b"\n" for line in garbage) + _jsonl(EVENTS[1:2]))
    assert _rows(path) == EVENTS[:2]


def test_a_torn_archive_gives_what_is_whole(tmp_path: Path) -> None:
    """A truncated gzip is counted once, and its first lines are read."""
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(_jsonl(EVENTS * 50))[:-200])
    quarantine = Quarantine()
    assert _rows(path, quarantine)[:50] == EVENTS[:50]
    assert quarantine.by_reason["truncated"] == 1


def test_a_file_that_cannot_be_read_does_not_stop_the_rest(tmp_path: Path) -> None:
    """A broken Parquet file is quarantined; only a log without a readable file is an error."""
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(BadRequest, match="not Parquet"):
        _rows(tmp_path)
    (tmp_path / "b.jsonl").write_bytes(_jsonl(EVENTS))
    quarantine = Quarantine()
    assert _rows(tmp_path, quarantine) == EVENTS
    assert quarantine.by_reason == {"unreadable": 1}


def _columns(**changed: pa.Array) -> bytes:
    """Return a Parquet log of two events with some columns changed."""
    good = {
        "ts": pa.array([START, START], pa.timestamp("us", "UTC")),
        "account_id": pa.array(["1", "2"]),
        "date_range": pa.array(["today", "today"]),
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(good | changed), sink)
    return sink.getvalue().to_pybytes()


NESTED = {
    "struct": pa.array([{"x": 1}, {"x": 2}]),
    "list": pa.array([["1"], ["2"]]),
    "map": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
    "large_list": pa.array([["1"], ["2"]], pa.large_list(pa.string())),
}
NO_TEXT = pa.array([b"\xff", b"1"])
ODD = NESTED | {
    "not UTF-8": NO_TEXT.view(pa.string()),
    "bytes": NO_TEXT,
    "coded": NO_TEXT.view(pa.string()).dictionary_encode(),
    "no moment": pa.array([2**62, -(2**62)], pa.timestamp("us", "UTC")),
    "nothing": pa.nulls(2),
    "no zone": pa.array([1, 2], pa.timestamp("us", "Mars/Olympus")),
    "time": pa.array([1, 2], pa.time64("us")),
    "duration": pa.array([1, 2], pa.duration("us")),
    "yes or no": pa.array([True, None]),
    "part": pa.array([1.5, 2]),
}


def test_a_needed_column_of_nested_values_costs_the_file(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """The other files are read, and the quarantine gives the file, the column and its type."""
    for kind, values in NESTED.items():
        for column in ["ts", "account_id", "date_range"]:
            with subtests.test(kind=kind, column=column):
                (tmp_path / "a.parquet").write_bytes(_columns(**{column: values}))
                (tmp_path / "b.jsonl").write_bytes(_jsonl(EVENTS))
                quarantine = Quarantine()
                assert _rows(tmp_path, quarantine) == EVENTS
                assert [(sample.file, sample.reason) for sample in quarantine.samples] == [
                    (str(tmp_path / "a.parquet"), "unreadable")
                ]
                assert column in quarantine.samples[0].excerpt
                assert "plain value" in quarantine.samples[0].excerpt


def test_optional_columns_of_any_type_cost_nothing(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """Both events are read, by whatever type the columns have."""
    for kind, values in ODD.items():
        with subtests.test(kind=kind):
            columns = dict.fromkeys(["time_zone", "actor", "user_agent", "other"], values)
            (tmp_path / "a.parquet").write_bytes(_columns(**columns))
            quarantine = Quarantine()
            assert len(_rows(tmp_path, quarantine)) == 2
            assert quarantine.count == 0
            assert log_span(str(tmp_path), Settings()) == (START, START, 2)


def test_a_needed_column_of_the_wrong_type_costs_its_rows(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """Each row is validated alone, and every sample can be shown."""
    for kind in sorted(ODD.keys() - NESTED.keys()):
        for column in ["ts", "account_id", "date_range", "report"]:
            with subtests.test(kind=kind, column=column):
                (tmp_path / "a.parquet").write_bytes(_columns(**{column: ODD[kind]}))
                quarantine = Quarantine()
                assert len(_rows(tmp_path, quarantine)) + quarantine.count == 2
                assert quarantine.by_reason.keys() <= {column}
                assert b"a.parquet" in quarantine.to_jsonl() or not quarantine.count


def test_columns_that_bear_the_same_name_cost_the_file(tmp_path: Path) -> None:
    """A file with two columns of one name is ambiguous."""
    table = pa.table([pa.array(["1"])] * 4, names=["ts", "account_id", "date_range", "account_id"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(BadRequest, match="several columns named account_id"):
        _rows(tmp_path)


def test_an_optional_value_of_any_type_costs_nothing(tmp_path: Path) -> None:
    """Neither its line nor the file is rejected: a value that is not text counts as missing."""
    event, path = _jsonl(EVENTS[:1]).decode(), tmp_path / "log.jsonl"
    values = ['["api"]', '{"a": 1}', "1.5", "true", str(10**30), '"' + "x" * 1000 + '"']
    lines = [f'{{"{name}": {value}, {event[1:]}' for name in ("time_zone", "actor", "user_agent") for value in values]
    for line in lines:
        path.write_text(line)
        quarantine = Quarantine()
        assert (len(_rows(path, quarantine)), quarantine.count) == (1, 0), line
    path.write_text("".join(lines))
    assert len(_rows(path)) == len(lines)


def test_one_damaged_file_among_many_costs_itself(tmp_path: Path) -> None:
    """Whichever byte of a Parquet file is wrong, it is quarantined with its reason, and every other file is read."""
    whole = _parquet(EVENTS)
    for number in range(20):
        (tmp_path / f"{number:02}.parquet").write_bytes(whole)
    damaged = {
        "03": whole[:-1],
        "05": whole[:200],
        "08": whole[:4] + b"\xff" * 400 + whole[404:],
        "11": whole[:-600] + b"\x00" * 300 + whole[-300:],
        "15": b"PAR1" + b"\x00" * 90 + b"PAR1",
    }
    for name, data in damaged.items():
        (tmp_path / f"{name}.parquet").write_bytes(data)
    (tmp_path / "17.parquet.gz").write_bytes(gzip.compress(whole)[:-50])
    quarantine = Quarantine()
    rows = _rows(tmp_path, quarantine)
    assert len(rows) == 15 * len(EVENTS)
    assert sorted(Path(s.file).name for s in quarantine.samples) == [
        *(f"{name}.parquet" for name in damaged),
        "17.parquet.gz",
    ]
    assert all(sample.excerpt for sample in quarantine.samples)
    assert log_span(str(tmp_path), Settings())[:2] == (EVENTS[0]["ts"], EVENTS[-1]["ts"])


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=12), st.booleans())
def test_no_damage_to_a_parquet_file_stops_the_read(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], in_footer: bool
) -> None:
    """Whichever bytes are changed, the file next to it is read, and nothing raises."""
    folder = tmp_path_factory.mktemp("damage")
    data = bytearray(_parquet(EVENTS))
    for place, value in changes:
        data[-1 - place % 1200 if in_footer else place % len(data)] = value
    (folder / "a.parquet").write_bytes(bytes(data))
    (folder / "b.jsonl").write_bytes(_jsonl(EVENTS))
    rows = _rows(folder, since=EVENTS[10]["ts"])
    assert rows[-90:] == EVENTS[10:]
    assert log_span(str(folder), Settings())[2] >= len(EVENTS)


def test_statistics_of_another_column_are_not_taken_for_moments(tmp_path: Path) -> None:
    """A file whose `ts` is a struct has no span; statistics of the last column are not used."""
    table = {"account_id": ["1"], "date_range": ["today"], "ts": [{"x": 1}], "z": [1_772_500_000]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").write_bytes(_jsonl(EVENTS))
    assert log_span(str(tmp_path), Settings()) == (EVENTS[0]["ts"], EVENTS[-1]["ts"], len(EVENTS))


def test_a_bomb_within_gzip_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that expands too much does not fill the disk, and one that is not Parquet is not decompressed."""
    monkeypatch.setattr("adwarm.access_log.parquet_log._EXTRA_BYTES", 1 << 20)
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress(b"PAR1" + bytes(20 << 20)))
    (tmp_path / "b.parquet.gz").write_bytes(gzip.compress(bytes(20 << 20)))
    (tmp_path / "c.jsonl").write_bytes(_jsonl(EVENTS))
    quarantine = Quarantine()
    assert _rows(tmp_path, quarantine) == EVENTS
    assert [sample.excerpt.partition(" more")[0] for sample in quarantine.samples] == [
        "it unpacks to",
        "it is not Parquet: it does not begin with PAR1",
    ]


def test_a_flood_of_bad_lines_takes_no_memory_and_hide_no_file(tmp_path: Path) -> None:
    """All are counted and a thousand kept, in a few megabytes; a broken file after them is still reported."""
    lines = (b'{"ts": oops}\n' + b"x\n" + b'{"ts":1,"account_id":"%s","date_range":"always"}\n' % (b"n" * 300)) * 4_000
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines, 1))
    (tmp_path / "b.parquet").write_bytes(b"PAR1 but not really")
    (tmp_path / "c.jsonl").write_bytes(_jsonl(EVENTS))
    quarantine = Quarantine()
    tracemalloc.start()
    try:
        assert sum(batch.num_rows for batch in read_events(str(tmp_path), Settings(), quarantine=quarantine)) == 100
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert quarantine.by_reason == {"json": 8_000, "ts": 4_000, "unreadable": 1}
    assert [s.file for s in quarantine.samples if s.reason == "unreadable"] == [str(tmp_path / "b.parquet")]
    assert len(quarantine.samples) == quarantine.limit + 1
    assert len(quarantine.to_jsonl()) < 600 * len(quarantine.samples)
    assert peak < 12 << 20


def test_long_words_are_not_remembered(tmp_path: Path) -> None:
    """Half a million ids as long as lines would fill the memory; none is cached."""
    path = tmp_path / "log.jsonl"
    path.write_bytes(_jsonl([EVENTS[0] | {"account_id": f"{number}" + "x" * 60_000} for number in range(400)]))
    tracemalloc.start()
    try:
        list(read_events(str(path), Settings()))
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert held < 20 << 20


def test_row_groups_outside_the_window_are_not_read(tmp_path: Path) -> None:
    """Row groups are skipped by their statistics; rows keep their numbers."""
    path = tmp_path / "log.parquet"
    path.write_bytes(_parquet(EVENTS, group=10))
    reader = LogReader(Settings())
    pieces = list(reader.read_file(list_files(str(path))[0], since=EVENTS[35]["ts"], until=EVENTS[41]["ts"]))
    assert [(piece.start, piece.end) for piece in pieces] == [(30, 40), (40, 50)]


def test_reading_can_begin_at_an_offset(tmp_path: Path) -> None:
    """An offset between two lines skips what is before it; a CSV log keeps its header."""
    for name, write in (("log.jsonl", _jsonl), ("log.csv", _csv)):
        path = tmp_path / name
        path.write_bytes(write(EVENTS))
        assert _rows(path, start_offsets={str(path): len(write(EVENTS[:60]))}) == EVENTS[60:]


def test_optional_columns_never_cost_a_line(tmp_path: Path) -> None:
    """Invalid values of time_zone and actor count as unknown."""
    odd = {"time_zone": "Nowhere", "actor": "robot"}
    good = {"time_zone": "Asia/Tokyo", "actor": "api"}
    path = tmp_path / "log.jsonl"
    path.write_bytes(_jsonl([EVENTS[0] | odd, EVENTS[1] | good]))
    found = pa.Table.from_batches(read_events(str(path), Settings())).to_pylist()
    assert [(row["time_zone"], row["actor"]) for row in found] == [("", "human"), ("Asia/Tokyo", "api")]


def test_real_logs_are_read_whole(shared_log: Path) -> None:
    """No row of a real log is rejected, and the span agrees with the count."""
    quarantine = Quarantine()
    rows = sum(batch.num_rows for batch in read_events(str(shared_log), Settings(), quarantine=quarantine))
    assert quarantine.count == 0
    assert log_span(str(shared_log), Settings())[2] == rows
