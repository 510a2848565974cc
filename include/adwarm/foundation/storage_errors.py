"""Errors of disks in words: which setting names the path, what is wrong with it, and how much space is free."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from adwarm.foundation.errors import StorageError
from adwarm.foundation.redaction import redact
from adwarm.foundation.wording import format_bytes

DATA_SETTING: Final = "ADWARM_DATA_URL"
DATABASE_SETTING: Final = "ADWARM_DATABASE_URL"
LOG_SETTING: Final = "ADWARM_ACCESS_LOG__URL"
SOURCE_SETTING: Final = "ADWARM_SOURCE__URL"


class DiskSpace(NamedTuple):
    """Bytes of the file system of a path, and whether it has names left for new files."""

    free: int
    total: int
    has_names: bool
    is_read_only: bool


class _Problem(NamedTuple):
    code: str
    text: str
    advice: str


_FULL = "free some space, or move it to a larger disk"
_RIGHTS = "give this user the right to read and write it"
_PROBLEMS: Final = {
    errno.ENOSPC: _Problem("disk_full", "the disk is full", _FULL),
    errno.EDQUOT: _Problem("disk_full", "the quota of the disk is used up", _FULL),
    errno.EROFS: _Problem("disk_read_only", "the file system is read-only", "mount it for writing"),
    errno.EACCES: _Problem("disk_denied", "this user may not access it", _RIGHTS),
    errno.EPERM: _Problem("disk_denied", "this user may not access it", _RIGHTS),
    errno.EIO: _Problem("disk_error", "the disk reports an error", "check the disk and the system's log"),
}


@contextmanager
def translating_storage_errors(path: Path | str, setting: str) -> Iterator[None]:
    """Raise `StorageError` for an `OSError` within the context.

    Args:
        path: what is read or written.
        setting: the setting that names the path.
    """
    try:
        yield
    except OSError as error:
        raise storage_error(error, path, setting) from error


def storage_error(error: OSError, path: Path | str, setting: str) -> StorageError:
    """Return the error to raise for an error of the operating system; its code says what is wrong."""
    problem = _PROBLEMS.get(error.errno or 0)
    if problem is None:
        text = error.strerror or type(error).__name__
        problem = _Problem("storage", text[:1].lower() + text[1:], "check the path")
    return StorageError(describe_storage_problem(path, setting, problem.text, problem.advice), code=problem.code)


def describe_storage_problem(path: Path | str, setting: str, text: str, advice: str) -> str:
    """Return a sentence that names the setting, the path, what is wrong, the free space, and what to do."""
    space = "" if "://" in str(path) else f" ({describe_free_space(Path(path))})"
    return f"{setting}: {redact(str(path))}: {text}{space}; {advice}"


def measure_space(path: Path) -> DiskSpace | None:
    """Return the space of the file system that holds a path, or its nearest existing folder; None when unknown."""
    for folder in (path.absolute(), *path.absolute().parents):
        try:
            status = os.statvfs(folder)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return None
        has_names = status.f_files == 0 or status.f_favail > 0  # some file systems do not count names
        is_read_only = bool(status.f_flag & os.ST_RDONLY)
        return DiskSpace(status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize, has_names, is_read_only)
    return None


def describe_free_space(path: Path) -> str:
    """Return how much space is free on the file system that holds a path."""
    space = measure_space(path)
    if space is None:
        return "free space unknown"
    names = "" if space.has_names else ", and no room for further files"
    return f"{format_bytes(space.free)} of {format_bytes(space.total)} free{names}"
