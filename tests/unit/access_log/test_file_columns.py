"""The columns of a file are listed, and those that may be meant are suggested."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adwarm.access_log import list_files
from adwarm.access_log.column_mapping import ColumnMapping
from adwarm.access_log.file_columns import describe_columns, suggest_columns
from adwarm.settings import AccessLogSettings


@pytest.mark.parametrize(
    ("names", "suggested"),
    [
        (["timestamp", "accountId", "range"], {"ts": "timestamp", "account_id": "accountId", "date_range": "range"}),
        (
            ["@timestamp", "ad_account", "Date Preset", "user.tz"],
            {"ts": "@timestamp", "account_id": "ad_account", "date_range": "Date Preset", "time_zone": "user.tz"},
        ),
        (
            ["time_iso8601", "request_uri", "request_method", "status", "http_user_agent", "request_time"],
            {
                "ts": "time_iso8601",
                "latency_seconds": "request_time",
                "path": "request_uri",
                "method": "request_method",
                "user_agent": "http_user_agent",
            },
        ),
        (["ts", "account_id", "date_range", "status", "url"], {}),
        (["foo", "bar"], {}),
    ],
)
def test_columns_that_may_be_meant_are_suggested(names: list[str], suggested: dict[str, str]) -> None:
    """Names of other tools are recognized; those of requests only where account and range are not columns."""
    mapping = ColumnMapping()
    assert suggest_columns(names, mapping.find_columns(names), mapping) == suggested


def test_how_each_field_is_found_is_told(tmp_path: Path) -> None:
    """By the setting, by the same name, by a constant or not at all; a delimiter is named."""
    (tmp_path / "log.csv").write_bytes(b"when;account_id;zone\n")
    found = describe_columns(
        list_files(str(tmp_path))[0], AccessLogSettings(columns={"ts": "when"}, constants={"date_range": "today"})
    )
    assert found.delimiter == ";"
    assert {name: found.how[name] for name in ("ts", "account_id", "date_range", "time_zone")} == {
        "ts": "setting",
        "account_id": "same name",
        "date_range": "constant",
        "time_zone": "not found",
    }
    assert found.suggested == {"time_zone": "zone"}


def test_nested_columns_are_listed_by_their_paths(tmp_path: Path) -> None:
    """JSON objects and Parquet structs are opened, also in gzip; a damaged file has no columns."""
    row = {"ts": 1, "ad": {"id": "1"}}
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'not json\n{"ts": 1, "ad": {"id": "1"}}\n'))
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "b.parquet")
    (tmp_path / "c.parquet").write_bytes(b"PAR1 damaged")
    files = list_files(str(tmp_path))
    names = [describe_columns(file, AccessLogSettings()).names for file in files]
    assert names == [["ts", "ad", "ad.id"], ["ts", "ad", "ad.id"], []]
