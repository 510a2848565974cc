"""The client's reports on disk: private, bounded, verified, and never a reason to fail."""

import os
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adwarm_client.report_cache import ReportCache, StoredReport

ORIGIN = "https://adwarm.example.com"
REPORT = StoredReport('"abc:columnar:zstd"', "application/json", b'{"rows": []}' * 100)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """By origin, token id and target; another of any of these finds nothing."""
    ReportCache(tmp_path, ORIGIN, "id1").save("/a", REPORT)
    assert ReportCache(tmp_path, ORIGIN, "id1").load("/a") == REPORT
    assert ReportCache(tmp_path, ORIGIN, "id1").load("/b") is None
    assert ReportCache(tmp_path, ORIGIN, "id2").load("/a") is None
    assert ReportCache(tmp_path, "https://other.example.com", "id1").load("/a") is None


def test_the_folder_is_for_its_user_alone(tmp_path: Path) -> None:
    """Folder and files have no rights for others; a folder that others may use is not used."""
    cache = ReportCache(tmp_path / "new", ORIGIN, "id1")
    cache.save("/a", REPORT)
    (file,) = _files(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    file.parent.chmod(0o755)
    assert cache.load("/a") is None
    cache.save("/b", REPORT)
    assert _files(tmp_path) == [file]


def test_the_least_recently_used_reports_are_deleted(tmp_path: Path) -> None:
    """Files stay within the limit; a report that was read lately stays."""
    reports = {f"/{number}": StoredReport('"x"', "t", os.urandom(1000)) for number in range(5)}
    cache = ReportCache(tmp_path, ORIGIN, "id1", max_bytes=3_500)
    for target, report in reports.items():
        cache.save(target, report)
        path = tmp_path / sha256(f"{ORIGIN}\nid1".encode()).hexdigest()[:32]
        newest = path / f"{sha256(target.encode()).hexdigest()[:40]}.report"
        os.utime(newest, (int(target[1:]) + 1, int(target[1:]) + 1))
        if target != "/0":
            assert cache.load("/0") == reports["/0"]
    assert [target for target in reports if cache.load(target)] == ["/0", "/3", "/4"]
    cache.save("/large", StoredReport('"x"', "t", os.urandom(4000)))
    assert cache.load("/large") is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(position=st.integers(0, 10_000), kind=st.sampled_from(["flip", "cut", "add"]))
def test_a_damaged_file_counts_as_absent(tmp_path: Path, position: int, kind: str) -> None:
    """Any changed byte and any other length is noticed; the file is deleted and can be written again."""
    cache = ReportCache(tmp_path, ORIGIN, "id1")
    cache.save("/a", REPORT)
    (file,) = _files(tmp_path)
    data = bytearray(file.read_bytes())
    position %= len(data)
    if kind == "flip":
        data[position] ^= 1
    elif kind == "cut":
        del data[position:]
    else:
        data.insert(position, 7)
    file.write_bytes(bytes(data))
    assert cache.load("/a") is None
    assert _files(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    """Without a place to write, nothing is kept."""
    tmp_path.chmod(0o500)
    cache = ReportCache(tmp_path / "new", ORIGIN, "id1")
    cache.save("/a", REPORT)
    assert cache.load("/a") is None


def test_a_file_in_the_place_of_the_folder_is_no_error(tmp_path: Path) -> None:
    """A path that cannot be a folder keeps nothing."""
    (tmp_path / "file").write_text("x")
    cache = ReportCache(tmp_path / "file", ORIGIN, "id1")
    cache.save("/a", REPORT)
    assert cache.load("/a") is None
