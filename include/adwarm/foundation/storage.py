"""How this process reaches object storage: credentials, address, retries, and how much runs in parallel.

A process has one data URL, and its access log and its tables usually lie beside it, so the options are those of the
process. They come from the settings; in Airflow, what a connection says takes precedence. An unset credential,
address or region is looked up by the storage's own library: for `s3://` the standard chain of AWS, for `gs://` the
default credentials of Google.

Errors of disks become messages: which setting names the path, what is wrong with it, and how much space is free.
"""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from adwarm.foundation.errors import BadRequest, StorageError
from adwarm.foundation.redaction import redact
from adwarm.foundation.wording import format_bytes

DATA_SETTING: Final = "ADWARM_DATA_URL"
DATABASE_SETTING: Final = "ADWARM_DATABASE_URL"
LOG_SETTING: Final = "ADWARM_ACCESS_LOG__URL"
SOURCE_SETTING: Final = "ADWARM_SOURCE__URL"
_FAMILIES: Final = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
_EXTRAS: Final = {"s3": ("s3", "s3fs"), "gs": ("gcs", "gcsfs")}
RETRIES_INSIDE_S3FS: Final = 1
"""botocore makes the attempts; s3fs would multiply them."""
_FULL = "free some space, or move it to a larger disk"
_RIGHTS = "give this user the right to read and write it"


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """What the settings say about object storage.

    Attributes:
        options: options of the fsspec file system of `family`; they may hold credentials.
        family: the storage that `options` are for, `s3`, `gs` or another protocol; empty for every one.
        attempts: how often a request is made that fails for the moment; with growing pauses it bridges some seconds.
        parallel: maximum requests at once, per process; they hide a latency of 10 to 50 ms.
        cache_bytes: how much of what was read or written last stays in memory: a worker reads what it has just stored.
    """

    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    family: str = ""
    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    attempts: int = 4
    parallel: int = 16
    cache_bytes: int = 32_000_000


@dataclass(slots=True)
class _Process:
    settings: StorageOptions = field(default_factory=StorageOptions)
    connections: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    connection_names: set[str] = field(default_factory=set)


_process = _Process()


def use_settings(options: StorageOptions) -> None:
    """Use these options in this process from now on."""
    _process.settings = options


def use_connection(name: str, family: str, options: Mapping[str, Any]) -> None:
    """Use the options of a connection for the storage `family`; they take precedence over those of the settings."""
    _process.connections[family] = dict(options)
    _process.connection_names.add(name)


def uses_connection(name: str) -> bool:
    """Whether this process uses the connection of that name."""
    return name in _process.connection_names


def get_storage_settings() -> StorageOptions:
    """Return the options of the settings that were loaded last."""
    return _process.settings


def find_family(url: str) -> str:
    """Return the storage behind a URL: `s3`, `gs` or another protocol; empty for a local path."""
    scheme, separator, _ = url.partition("://")
    return _FAMILIES.get(scheme, scheme) if separator and scheme != "file" else ""


def find_extra(url: str) -> tuple[str, str] | None:
    """Return the extra of adwarm that brings the file system of a URL, and its package; None when there is none."""
    return _EXTRAS.get(find_family(url))


def options_for(url: str, setting: str = DATA_SETTING) -> dict[str, Any]:
    """Return the options of the fsspec file system behind a URL; they may hold credentials.

    Raises:
        BadRequest: credentials are in a URL that has no place for them: its library would take them for the name of a
            bucket, and log that. The message names the setting.
    """
    family, settings = find_family(url), _process.settings
    bucket = url.partition("://")[2].partition("/")[0]
    if family in _EXTRAS and ("@" in bucket or (":" in bucket and not bucket.startswith("arn:"))):
        scheme = url.partition("://")[0]
        raise BadRequest(
            f"{setting}: {scheme}:// URLs have no place for a key and a secret; write {scheme}://bucket/path, and put "
            "them into ADWARM_DATA_OPTIONS, or where the tools of the storage look for them",
            code="credentials_in_url",
        )
    applies = settings.family in {"", family}
    options = dict(settings.options) if applies else {}
    connection = _process.connections.get(family)
    if connection is not None:
        options = _merge(options, connection)
    if family == "s3":
        return _merge(_s3_defaults(settings), options)
    if family == "gs":
        return {"use_listings_cache": False, **options}
    return options


def _s3_defaults(settings: StorageOptions) -> dict[str, Any]:
    """Return what s3fs gets without options: its cached listings would hide what other processes write."""
    config = {
        "connect_timeout": settings.connect_seconds,
        "read_timeout": settings.read_seconds,
        "max_pool_connections": settings.parallel,
        "retries": {"mode": "standard", "total_max_attempts": settings.attempts},
    }
    # With more than one range at once, s3fs asks for the size of each object before it reads it.
    return {"use_listings_cache": False, "max_concurrency": 1, "config_kwargs": config}


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return both mappings as one, and mappings within them too; `over` wins."""
    merged = dict(base)
    for name, value in over.items():
        before = merged.get(name)
        merged[name] = _merge(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return merged


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
    """Raise `StorageError` for an `OSError` within the context."""
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
