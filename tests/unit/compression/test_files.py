"""Compressing files: nothing is lost or replaced, whatever happens in between."""

import gzip
import os
from pathlib import Path
from typing import Any

import brotli
import pytest
import zstandard

from adwarm.compression import files
from adwarm.compression.files import FileCompressionResult, compress_path
from adwarm.foundation.errors import BadRequest, NotFound
from adwarm.settings import CompressionSettings

SETTINGS = CompressionSettings()
TEXT = b'{"clicks":"7"}\n' * 500
READERS = {
    "zstd": (".zst", lambda body: zstandard.ZstdDecompressor().decompress(body)),
    "gzip": (".gz", gzip.decompress),
    "brotli": (".br", brotli.decompress),
}


def _paths(result: FileCompressionResult) -> list[str]:
    return [file.path for file in result.written]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("codec", list(READERS))
def test_a_file_gets_a_compressed_copy(tmp_path: Path, codec: Any) -> None:
    """The copy is in the codec's standard format, and has the mode and time of the original, which stays."""
    suffix, read = READERS[codec]
    file = tmp_path / "a.json"
    file.write_bytes(TEXT)
    file.chmod(0o640)
    os.utime(file, (1_700_000_000, 1_700_000_000))
    report = compress_path(file, CompressionSettings(codec=codec))
    target = tmp_path / f"a.json{suffix}"
    assert _paths(report) == [str(target)]
    assert _names(tmp_path) == ["a.json", target.name]
    assert read(target.read_bytes()) == file.read_bytes() == TEXT
    assert (target.stat().st_mode & 0o777, target.stat().st_mtime) == (0o640, 1_700_000_000)
    assert report.raw_bytes == len(TEXT) > report.stored_bytes == target.stat().st_size
    sizes = f"7,500 bytes became {report.stored_bytes} ({report.stored_bytes / 7500:.0%})"
    assert str(report.written[0]) == f"wrote {target}: {sizes}; the original is kept"


def test_an_original_is_deleted_only_on_request(tmp_path: Path) -> None:
    """Without `keep_original` the copy replaces the original, also when an earlier run wrote the copy already."""
    for name in ("new.json", "earlier.json"):
        (tmp_path / name).write_bytes(TEXT)
    compress_path(tmp_path / "earlier.json", SETTINGS)
    report = compress_path(tmp_path, SETTINGS, keep_original=False)
    assert _names(tmp_path) == ["earlier.json.zst", "new.json.zst"]
    assert [str(file).rpartition("; ")[2] for file in report.written] == ["the original is deleted"] * 2


def test_a_folder_is_walked_by_patterns(tmp_path: Path) -> None:
    """Names decide, in every folder below; excluded files stay."""
    (tmp_path / "deep").mkdir()
    for name in ("a.json", "deep/b.txt", "c.csv", "keep.json"):
        (tmp_path / name).write_bytes(TEXT)
    report = compress_path(tmp_path, SETTINGS, exclude=("keep*",))
    assert _paths(report) == [str(tmp_path / "a.json.zst"), str(tmp_path / "deep/b.txt.zst")]
    originals = {"a.json", "b.txt", "c.csv", "keep.json"}
    assert {path.name for path in tmp_path.rglob("*.*")} == {"a.json.zst", "b.txt.zst", *originals}


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    """Compressed files and their originals are recognized, even when everything is included."""
    (tmp_path / "a.json").write_bytes(TEXT)
    compress_path(tmp_path, SETTINGS)
    before = (tmp_path / "a.json.zst").read_bytes()
    report = compress_path(tmp_path, SETTINGS, include=("*",))
    assert (report.written, report.failed) == ([], {})
    assert report.skipped == {
        str(tmp_path / "a.json"): "a.json.zst holds it already",
        str(tmp_path / "a.json.zst"): "it is already compressed",
    }
    assert str(report) == "0 written (0 bytes became 0), 2 skipped, 0 failed"
    assert (tmp_path / "a.json.zst").read_bytes() == before


@pytest.mark.parametrize("keep_original", [True, False])
def test_a_different_file_is_never_replaced(tmp_path: Path, keep_original: bool) -> None:
    """A file with the name of the copy that holds anything else stays, and so does the original."""
    contents = {"a.json": TEXT, "a.json.zst": b"older", "b.json": TEXT}
    contents["b.json.zst"] = zstandard.ZstdCompressor().compress(TEXT[:-1] + b"x")
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    report = compress_path(tmp_path, SETTINGS, keep_original=keep_original)
    assert {Path(name).name for name in report.failed} == {"a.json", "b.json"}
    assert all("exists and holds something else" in reason for reason in report.failed.values())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == contents


def test_files_that_do_not_shrink_or_fit_are_skipped(tmp_path: Path) -> None:
    """Small, random and oversized files stay without a copy, each with its reason."""
    contents = {"small.txt": b"x", "random.txt": os.urandom(600), "large.txt": bytes(2000)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    report = compress_path(tmp_path, CompressionSettings(max_decoded_bytes=1024))
    assert {Path(name).name: reason for name, reason in report.skipped.items()} == {
        "small.txt": "it is smaller than 512 bytes",
        "random.txt": "it does not shrink",
        "large.txt": "it is larger than 1024 bytes",
    }
    assert all((tmp_path / name).read_bytes() == content for name, content in contents.items())


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A symbolic link in the folder is not followed."""
    outside = tmp_path / "outside.json"
    outside.write_bytes(TEXT)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.json").symlink_to(outside)
    assert compress_path(tmp_path / "in", SETTINGS).to_dict() == {
        "written": 0,
        "skipped": 0,
        "failed": 0,
        "raw_bytes": 0,
        "stored_bytes": 0,
    }
    assert outside.read_bytes() == TEXT


def test_a_file_that_fails_the_round_trip_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the round trip fails, the file stays, no draft is left, and the other files are compressed."""
    (tmp_path / "bad.json").write_bytes(TEXT)
    (tmp_path / "good.json").write_bytes(TEXT * 2)
    real = files.decode_counted
    monkeypatch.setattr(files, "decode_counted", lambda body, codec, size: real(body, codec, size)[size == len(TEXT) :])
    report = compress_path(tmp_path, SETTINGS, keep_original=False)
    assert _names(tmp_path) == ["bad.json", "good.json.zst"]
    assert (tmp_path / "bad.json").read_bytes() == TEXT
    assert "does not decode to the file" in report.failed[str(tmp_path / "bad.json")]


def test_a_file_that_changes_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A concurrent writer loses nothing."""
    file = tmp_path / "a.json"
    file.write_bytes(TEXT)
    real = files.encode_if_smaller

    def encode_slowly(raw: bytes, codec: Any, settings: CompressionSettings) -> tuple[Any, bytes]:
        file.write_bytes(TEXT + b"more")
        return real(raw, codec, settings)

    monkeypatch.setattr(files, "encode_if_smaller", encode_slowly)
    report = compress_path(file, SETTINGS)
    assert "changed" in report.failed[str(file)]
    assert _names(tmp_path) == ["a.json"]
    assert file.read_bytes() == TEXT + b"more"


def test_invalid_arguments_are_refused(tmp_path: Path) -> None:
    """A path without a file, and a codec without a file format, are refused with the reason."""
    with pytest.raises(NotFound, match="nowhere"):
        compress_path(tmp_path / "nowhere", SETTINGS)
    with pytest.raises(BadRequest, match="choose one of zstd, gzip, brotli"):
        compress_path(tmp_path, CompressionSettings(codec="identity"))
