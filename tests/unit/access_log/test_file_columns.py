"""The columns of a file are listed with how each field is found."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from adwarm.access_log import list_files
from adwarm.access_log.file_columns import describe_columns
from adwarm.settings import AccessLogSettings


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


def test_nested_columns_are_listed_by_their_paths(tmp_path: Path) -> None:
    """JSON objects and Parquet structs are opened, also in gzip; a damaged file has no columns."""
    row = {"ts": 1, "ad": {"id": "1"}}
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'not json\n{"ts": 1, "ad": {"id": "1"}}\n'))
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "b.parquet")
    (tmp_path / "c.parquet").write_bytes(b"PAR1 damaged")
    files = list_files(str(tmp_path))
    names = [describe_columns(file, AccessLogSettings()).names for file in files]
    assert names == [["ts", "ad.id"], ["ts", "ad", "ad.id"], []]
