"""An access log in a bucket gives the events that the same files give in a folder, in few requests."""

import gzip
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.access_log import list_files
from adwarm.access_log.log_files import LogFile, list_skipped, reading_ahead
from adwarm.access_log.log_reader import read_events
from adwarm.foundation.errors import NotFound, StorageError
from adwarm.foundation.storage import options_for
from adwarm.settings import AccessLogSettings, Settings
from tests.support.object_server import Fault, ObjectServer

START = datetime(2026, 11, 20, tzinfo=UTC)


def _events(first: int, count: int) -> list[dict[str, str]]:
    return [
        {"ts": (START + timedelta(minutes=number)).isoformat(), "account_id": "act_1", "date_range": "last_7d"}
        for number in range(first, first + count)
    ]


def _files() -> dict[str, bytes]:
    lines = [json.dumps(event).encode() for event in _events(0, 30)]
    table = pa.Table.from_pylist(_events(30, 30))
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return {
        "day=1/plain.jsonl": b"\n".join(lines[:20]) + b"\n",
        "day=1/packed.jsonl.gz": gzip.compress(b"\n".join(lines[20:]) + b"\n"),
        "day=2/columns.parquet": sink.getvalue(),
        "day=2/empty.jsonl": b"",
        "_SUCCESS": b"x",
        "notes.doc": b"not a log",
    }


@pytest.fixture
def bucket(bucket_url: str) -> Any:
    """Returns what uploads a file and returns its URL."""
    import s3fs

    files = s3fs.S3FileSystem(**options_for(bucket_url))

    def upload(name: str, data: bytes) -> str:
        files.pipe_file(f"{bucket_url}/{name}", data)
        return f"{bucket_url}/{name}"

    return upload


def _rows(url: str) -> list[tuple[Any, ...]]:
    batches = read_events(url, Settings())
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


def test_it_holds_the_events_of_the_same_files_in_a_folder(tmp_path: Path, bucket: Any, bucket_url: str) -> None:
    """Text, gzip and Parquet; a folder, a glob and a file; what is skipped, and why."""
    for name, data in _files().items():
        path = tmp_path / "log" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        bucket(f"log/{name}", data)
    for rest in ("log", "log/*/*.jsonl.gz", "log/day=2/columns.parquet", "log/day=*/p*"):
        local, remote = list_files(f"{tmp_path}/{rest}"), list_files(f"{bucket_url}/{rest}")
        found = [(file.path.removeprefix(bucket_url), file.size, file.format, file.is_gzipped) for file in remote]
        assert found == [
            (file.path.removeprefix(str(tmp_path)), file.size, file.format, file.is_gzipped) for file in local
        ]
        assert _rows(f"{bucket_url}/{rest}") == _rows(f"{tmp_path}/{rest}")
    skipped = list_skipped(f"{bucket_url}/log")
    expected = list_skipped(f"{tmp_path}/log")
    assert skipped.count == expected.count == 3
    assert [reason for _, reason in skipped.samples] == [reason for _, reason in expected.samples]


def test_an_absent_log_is_named(bucket_url: str) -> None:
    """The setting is named, as with a local one."""
    with pytest.raises(NotFound, match="ADWARM_ACCESS_LOG__URL"):
        list_files(f"{bucket_url}/absent")


def test_what_the_storage_refuses_stops_the_run(object_server: ObjectServer, bucket: Any) -> None:
    """Credentials that have expired are no damage of a file, which would be quarantined and never read again."""
    url = bucket("log/a.jsonl", b"\n".join(json.dumps(event).encode() for event in _events(0, 3)))
    for method in ("HEAD", "GET"):
        object_server.faults.extend([Fault("403 Forbidden", "AccessDenied", method)] * 9)
        with pytest.raises(StorageError, match=r"^ADWARM_ACCESS_LOG__URL: s3://.*access is denied"):
            _rows(url)
        object_server.faults.clear()


def test_listing_takes_few_requests(object_server: ObjectServer, bucket: Any, bucket_url: str) -> None:
    """A folder is listed by pages, and each file's first bytes are read at once with those of others."""
    for number in range(30):
        bucket(f"log/{number}.jsonl", b"{}\n")
    object_server.reset()
    object_server.latency = 0.02
    assert len(list_files(f"{bucket_url}/log")) == 30
    assert object_server.requests["GET object"] == 30
    assert object_server.requests["GET list"] + object_server.requests["HEAD"] <= 4
    assert object_server.most_at_once > 4


def test_files_are_read_ahead_of_their_turn(object_server: ObjectServer, bucket: Any, bucket_url: str) -> None:
    """Within the context small files take one request each, several at once, and give the same bytes."""
    contents = [b"%d" % number * 2_000 for number in range(12)]
    for number, data in enumerate(contents):
        bucket(f"log/{number:02}.jsonl", data)
    files = list_files(f"{bucket_url}/log")
    object_server.reset()
    object_server.latency = 0.02
    with reading_ahead([(file, 0) for file in files]) as files_ahead:
        found = []
        for file in files_ahead:
            with file.open() as stream:
                found.append(stream.read())
    assert found == contents
    assert object_server.requests["GET"] == 12
    assert object_server.most_at_once > 4


def _memory_file(data: bytes) -> LogFile:
    import fsspec

    with fsspec.open("memory://adwarm-blocks/file.jsonl", "wb") as file:
        file.write(data)
    return LogFile("memory://adwarm-blocks/file.jsonl", len(data), 0.0, "jsonl", False)


@given(
    st.integers(0, 400_000),
    st.lists(st.tuples(st.integers(0, 420_000), st.integers(0, 150_000)), max_size=8),
)
def test_blocks_give_the_bytes_of_the_file(size: int, reads: list[tuple[int, int]]) -> None:
    """Whatever is read in whatever order, as from an open file in memory; reading on ends at the end."""
    data = bytes(number * 31 % 251 for number in range(size))
    plain = io.BytesIO(data)
    with _memory_file(data).open_stored() as stream:
        for offset, length in reads:
            assert (stream.seek(offset), stream.read(length)) == (plain.seek(offset), plain.read(length))
        stream.seek(0)
        assert stream.read() == data


def test_a_new_log_setting_reads_the_same(bucket: Any, bucket_url: str) -> None:
    """The setting of the section works as its short form does."""
    bucket("log/a.jsonl", b"\n".join(json.dumps(event).encode() for event in _events(0, 3)))
    settings = Settings(access_log=AccessLogSettings(url=f"{bucket_url}/log"))
    assert settings.access_log.url is not None
    assert len(_rows(settings.access_log.url)) == 3
