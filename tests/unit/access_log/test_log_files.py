"""Files are found and their formats detected; files outside the folder, not permitted or gone are reported."""

import errno
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adwarm.access_log import Quarantine, list_files, read_events
from adwarm.foundation.errors import BadRequest, NotFound
from adwarm.settings import Settings

LINE = b'{"ts": 1772500000, "account_id": "act_1", "date_range": "today"}\n'


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A folder with one file of one event."""
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(LINE)
    return folder


def _read(url: object) -> tuple[int, Quarantine]:
    quarantine = Quarantine()
    return sum(batch.num_rows for batch in read_events(str(url), Settings(), quarantine=quarantine)), quarantine


def _named(quarantine: Quarantine) -> list[tuple[str, str]]:
    return [(Path(sample.file).name, sample.reason) for sample in quarantine.samples]


def _refuse(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """Make the system refuse to open one file."""
    opened: Callable[..., Any] = Path.open

    def refusing(path: Path, *args: Any, **more: Any) -> Any:
        if path.name == name:
            raise OSError(number, os.strerror(number), str(path))
        return opened(path, *args, **more)

    monkeypatch.setattr(Path, "open", refusing)


def test_a_symlink_out_of_the_folder_is_named_and_not_followed(tmp_path: Path, log: Path) -> None:
    """No file or folder outside the log's folder is read, whether the log is a folder or a glob."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "s.jsonl").write_bytes(LINE)
    (log / "file.jsonl").symlink_to(tmp_path / "secret" / "s.jsonl")
    (log / "folder").symlink_to(tmp_path / "secret")
    (log / "gone.jsonl").symlink_to(tmp_path / "nothing")
    events, quarantine = _read(log)
    assert events == 1
    assert sorted(_named(quarantine)) == [(name, "symlink") for name in ("file.jsonl", "folder", "gone.jsonl")]
    assert str(tmp_path / "secret" / "s.jsonl") in next(s.excerpt for s in quarantine.samples if "file" in s.file)
    events, quarantine = _read(log / "*.jsonl")
    assert (events, quarantine.by_reason) == (1, {"symlink": 2})
    assert _read(log / "**" / "*.jsonl")[0] == 1
    with pytest.raises(BadRequest, match=r"folder/s\.jsonl: it is a symlink"):
        _read(log / "fol*" / "*.jsonl")


def test_a_log_of_nothing_but_symlinks_out_of_it_is_refused(tmp_path: Path) -> None:
    """An error is better than a silent day without opens."""
    (tmp_path / "elsewhere.jsonl").write_bytes(LINE)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "a.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    with pytest.raises(BadRequest, match=r"a\.jsonl: it is a symlink"):
        _read(tmp_path / "log")


def test_what_a_symlink_within_the_folder_leads_to_is_read_once(log: Path) -> None:
    """A second name of the current file does not count twice; loops and pipes are skipped."""
    (log / "current.jsonl").symlink_to(log / "a.jsonl")
    (log / "again").symlink_to(log)
    (log / "loop.jsonl").symlink_to(log / "loop.jsonl")
    os.mkfifo(log / "pipe.jsonl")
    assert [Path(file.path).name for file in list_files(str(log))] == ["a.jsonl"]
    assert [Path(file.path).name for file in list_files(str(log / "*.jsonl"))] == ["a.jsonl"]
    (log / "data").write_bytes(LINE)
    (log / "other.jsonl").symlink_to(log / "data")
    assert _read(log)[0] == 2


def test_the_folder_and_a_file_given_by_name_may_be_symlinks(tmp_path: Path, log: Path) -> None:
    """A path in the settings is followed."""
    (tmp_path / "link").symlink_to(log)
    (tmp_path / "file.jsonl").symlink_to(log / "a.jsonl")
    for url in (tmp_path / "link", tmp_path / "link" / "*.jsonl", tmp_path / "file.jsonl", f"file://{log}"):
        assert _read(url)[0] == 1
    assert [file.path for file in list_files(f"file://{log}")] == [f"file://{log}/a.jsonl"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ESTALE])
def test_a_closed_file_is_named_and_the_others_are_read(
    log: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A file without read permission is reported, and the others are read."""
    (log / "closed.jsonl").write_bytes(LINE)
    _refuse(monkeypatch, "closed.jsonl", number)
    events, quarantine = _read(log)
    assert events == 1
    assert [(s.reason, s.excerpt) for s in quarantine.samples] == [("unreadable", os.strerror(number))]
    with pytest.raises(BadRequest, match="no file of the access log can be read"):
        _read(log / "closed.jsonl")


def test_a_closed_folder_is_named(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without read permission is reported."""
    (log / "closed").mkdir()
    looked: Callable[..., Any] = os.scandir

    def refusing(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return looked(path)

    monkeypatch.setattr(os, "scandir", refusing)
    events, quarantine = _read(log)
    assert (events, _named(quarantine)) == (1, [("closed", "unreadable")])


def test_a_file_that_vanishes_before_it_is_looked_at_is_not_listed(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as if it had never existed."""
    (log / "gone.jsonl").write_bytes(LINE)
    _refuse(monkeypatch, "gone.jsonl", errno.ENOENT)
    events, quarantine = _read(log)
    assert (events, quarantine.count) == (1, 0)


def test_a_file_that_vanishes_before_it_is_read_is_named(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotation between listing and reading costs that file, not the run."""
    (log / "b.jsonl").write_bytes(LINE)
    listed = list_files(str(log))
    (log / "b.jsonl").unlink()
    monkeypatch.setattr("adwarm.access_log.log_reader.list_files", lambda url: listed)
    events, quarantine = _read(log)
    assert (events, _named(quarantine)) == (1, [("b.jsonl", "unreadable")])


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ENOSPC])
def test_what_is_wrong_with_the_machine_stops_the_run(log: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A failing disk is not the fault of one file; continuing would publish too little."""
    _refuse(monkeypatch, "a.jsonl", number)
    with pytest.raises(OSError, match=os.strerror(number)):
        _read(log)


FOREIGN = {
    "b.jsonl": b"\x28\xb5\x2f\xfd" + b"\x00" * 40,
    "c.csv": b"PK\x03\x04" + b"\x00" * 40,
    "d.log": b"\xfd7zXZ\x00\x00",
    "e.jsonl": "{}".encode("utf-16"),
    "f.jsonl": gzip.compress(b"BZh91AY&SY...."),
    "g.parquet": b"Obj\x01avro.codec",
    "h.parquet": b"ts,account_id\n",
    "i.parquet": b"",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_with_the_wrong_content_is_one_rejection(log: Path, name: str) -> None:
    """Compressed, binary or misnamed files are rejected as a whole by their first bytes, not line by line."""
    (log / name).write_bytes(FOREIGN[name])
    events, quarantine = _read(log)
    assert (events, _named(quarantine)) == (1, [(name, "unreadable")])


def test_an_empty_file_is_an_empty_log(log: Path, subtests: pytest.Subtests) -> None:
    """A log that was just rotated has no events and no errors."""
    for name in ["b.jsonl", "c.csv", "d.log", "e.csv.gz"]:
        with subtests.test(name=name):
            (log / name).touch()
            events, quarantine = _read(log)
            assert (events, quarantine.count) == (1, 0)


@pytest.mark.parametrize("name", ["b.jsonl.gz", "c.csv.gz", "d.log.gz", "opens.log", "e.parquet.gz"])
def test_damaged_gzip_is_one_rejection(log: Path, name: str) -> None:
    """A header without a body, or with a damaged one, is rejected once, whatever the format."""
    for data in (b"\x1f\x8b", b"\x1f\x8b\x08\x00" + b"\xff" * 200, gzip.compress(LINE * 500)[:20]):
        (log / name).write_bytes(data)
        events, quarantine = _read(log)
        assert events == 1
        assert [file for file, _ in _named(quarantine)] == [name]


def test_a_path_that_cannot_be_is_no_log(tmp_path: Path, log: Path) -> None:
    """A path below a file, or one that is too long, does not exist."""
    for url in (log / "a.jsonl" / "b", tmp_path / ("x" * 300), f"{tmp_path}/a\0b"):
        with pytest.raises(NotFound):
            _read(url)
