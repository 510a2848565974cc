"""Formats are detected, and what cannot be read is named in plain words."""

import gzip
from pathlib import Path

import pytest

from adwarm.access_log import list_files
from adwarm.access_log.formats import detect_format
from adwarm.access_log.log_files import list_skipped


def test_what_is_no_log_is_named(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """The problem says what the file holds and what to do, also within gzip."""
    for name, content, words in [
        ("a.csv", b"PK\x03\x04rest", "a zip archive"),
        ("a.log", b"<!DOCTYPE html><html>", "HTML"),
        ("a.csv", "ts;account_id".encode("utf-16"), "UTF-16"),
        ("a.log", bytes(range(256)) * 4, "binary data"),
        ("a.csv", b"SQLite format 3\x00", "SQLite"),
        ("a.parquet", b"%PDF-1.7", "PDF"),
    ]:
        for packed in [False, True]:
            with subtests.test(name=name, packed=packed):
                (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
                (file,) = list_files(str(tmp_path / name))
                assert words in file.problem


def test_a_format_is_told_by_the_first_bytes(subtests: pytest.Subtests) -> None:
    """A name that says nothing is no obstacle, whatever the columns are called."""
    for content, form in [
        (b'{"ts": 1}\n', "jsonl"),
        (b"\xef\xbb\xbfts,account_id,date_range\n", "csv"),
        (b"eventTime;adAccount;preset\n", "csv"),
        (b"when\twho\twhat\n", "csv"),
        (b"sep=;\r\n", "csv"),
        (b'h - - [02/Mar/2026:10:00:00 +0000] "GET /a,b,c,d HTTP/1.1" 200 5 "a;b;c" "x"\n', "combined"),
        (b"server started\n", "combined"),
        (b"#Version: 1.0\n#Fields: date time cs-uri-stem\n", "csv"),
        (b'https 2026-03-02T10:00:00.1Z app/lb 10.0.0.1:80 "GET https://h:443/a HTTP/1.1" "agent x"\n', "csv"),
        (b"PAR1", "parquet"),
    ]:
        with subtests.test(content=content, form=form):
            assert detect_format("opens", content) == form


def test_skipped_files_are_named_with_their_reason(tmp_path: Path) -> None:
    """Hidden files, other suffixes and empty files are listed, a bounded number of them."""
    for name, content in {"a.jsonl": b"{}", "README.md": b"x", ".b.csv": b"x", "_c.csv": b"x", "d.csv": b""}.items():
        (tmp_path / name).write_bytes(content)
    skipped = list_skipped(str(tmp_path))
    reasons = {Path(path).name: reason for path, reason in skipped.samples}
    assert set(reasons) == {"README.md", ".b.csv", "_c.csv", "d.csv"}
    assert "unknown suffix" in reasons["README.md"]
    assert "hidden" in reasons[".b.csv"]
    assert reasons["d.csv"] == "empty"
    few = list_skipped(str(tmp_path), limit=1)
    assert (few.count, len(few.samples)) == (4, 1)
    assert list_skipped(str(tmp_path / "*.jsonl")).count == list_skipped(str(tmp_path / "a.jsonl")).count == 0
