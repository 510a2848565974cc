"""Errors of disks say which setting names the path, what is wrong, how much is free, and what to do."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from adwarm.access_log.log_files import list_files
from adwarm.foundation.errors import BadRequest, StorageError, Transient
from adwarm.foundation.remote_files import open_path
from adwarm.foundation.storage import (
    describe_free_space,
    measure_space,
    options_for,
    storage_error,
    translating_storage_errors,
)
from adwarm.sources.parquet import ParquetSource


def test_each_error_has_a_code_and_a_sentence(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """No number of the operating system is shown; the error is one to try again after."""
    for number, code, text in [
        (errno.ENOSPC, "disk_full", "the disk is full"),
        (errno.EDQUOT, "disk_full", "the quota of the disk is used up"),
        (errno.EROFS, "disk_read_only", "the file system is read-only"),
        (errno.EACCES, "disk_denied", "this user may not access it"),
        (errno.EIO, "disk_error", "the disk reports an error"),
        (errno.ENOTDIR, "storage", "not a directory"),
    ]:
        with subtests.test(number=number):
            error = storage_error(OSError(number, os.strerror(number)), tmp_path / "absent" / "file", "ADWARM_DATA_URL")
            assert isinstance(error, Transient)
            assert error.code == code
            assert str(error).startswith(f"ADWARM_DATA_URL: {tmp_path}/absent/file: {text} (")
            assert " free" in str(error)
            assert "Errno" not in str(error)


def test_only_errors_of_the_operating_system_are_translated(tmp_path: Path) -> None:
    """Others pass unchanged, and the cause is kept for the log."""
    with pytest.raises(KeyError), translating_storage_errors(tmp_path, "X"):
        raise KeyError("x")
    with pytest.raises(StorageError) as raised, translating_storage_errors(tmp_path, "X"):
        (tmp_path / "absent" / "file").write_bytes(b"")
    assert isinstance(raised.value.__cause__, FileNotFoundError)


def test_a_url_has_no_free_space_and_hides_its_password() -> None:
    """Only folders are measured."""
    text = str(storage_error(OSError(errno.EIO, "x"), "s3://key:secret-key@bucket/data", "ADWARM_DATA_URL"))
    assert "free" not in text
    assert "secret-key" not in text


def test_a_secret_in_a_url_without_a_place_for_it_is_refused(subtests: pytest.Subtests) -> None:
    """Objects, log and source are refused alike, before a library logs the secret as a part of the bucket's name."""
    for url in ("s3://KEY:hush-hush@bucket/x", "s3a://KEY:hu/sh@bucket", "gs://KEY:hush-hush@bucket", "gcs://KEY@b/x"):
        with subtests.test(url=url):
            for setting, read in _READS.items():
                with pytest.raises(
                    BadRequest, match=f"{setting}: [a-z0-9]+:// URLs have no place for a key"
                ) as refused:
                    read(url)
                assert "hu" not in str(refused.value)
                assert (refused.value.__cause__, refused.value.__suppress_context__) == (None, False)
    for url in ("s3://bucket/a@b:c", "s3://arn:aws:s3:us-east-1:1:accesspoint/p/x", "ftp://user:secret@host/x", "/a@b"):
        with subtests.test(url=url):
            options_for(url)


_READS: dict[str, Callable[[str], object]] = {
    "ADWARM_DATA_URL": lambda url: open_path(url, "ADWARM_DATA_URL"),
    "ADWARM_ACCESS_LOG__URL": list_files,
    "ADWARM_SOURCE__URL": lambda url: ParquetSource(url).list_account_page(None),
}


def test_space_is_that_of_the_nearest_folder(tmp_path: Path) -> None:
    """A path that does not exist yet is measured by its parents."""
    space = measure_space(tmp_path / "absent" / "file")
    assert space is not None
    assert 0 < space.free <= space.total
    assert (space.has_names, space.is_read_only) == (True, False)
    assert describe_free_space(tmp_path).endswith(" free")


def test_space_that_cannot_be_measured_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error about the disk is shown all the same."""

    def fail(_path: object) -> os.statvfs_result:
        raise OSError(errno.EIO, "x")

    monkeypatch.setattr(os, "statvfs", fail)
    assert describe_free_space(tmp_path) == "free space unknown"
