"""Finds the files of a log and detects their format: a file, a folder or a glob; a local path or any fsspec URL.

A symlink that leads out of the folder of the log is reported and not followed.
"""

import errno
import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

import pyarrow as pa

from adwarm.foundation.errors import BadRequest, NotFound

Format = Literal["parquet", "jsonl", "csv", "combined"]

_SUFFIXES: dict[str, Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
}
_LOG_NAME = re.compile(r".*\.(log|txt)([.-]\d+)?(\.gz)?", re.IGNORECASE)
_GZIP_MAGIC, _PARQUET_MAGIC = b"\x1f\x8b", b"PAR1"
_UNSUPPORTED = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh91AY&SY": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"PK\x03\x04": "a zip archive",
    b"\x04\x22\x4d\x18": "lz4",
    b"Obj\x01": "Avro",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_LOCAL = "file://"
_NameFilter = Callable[[str], bool]
"""Whether a file of that name is meant."""

_is_link = os.path.islink  # unlike the method of a path, it does not raise where a folder is closed
FILE_ERRORS = (BadRequest, pa.ArrowException, EOFError, zlib.error, UnicodeDecodeError, OSError)
"""What reading a damaged file may raise; ask `is_of_file` about what was caught."""

_FILE_ERRNOS = frozenset({
    errno.EACCES,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ENXIO,
    errno.EPERM,
    errno.ESTALE,
})


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file of a log.

    Attributes:
        path: absolute, or the URL; what the file is known by.
        size: bytes as stored.
        mtime: seconds since the epoch; 0 where the storage does not say.
        problem: why it is not read; empty when nothing speaks against it.
        reason: what the quarantine counts the problem as.
    """

    path: str
    size: int
    mtime: float
    format: Format
    is_gzipped: bool
    problem: str = ""
    reason: str = "unreadable"

    def open(self) -> IO[bytes]:
        """Open the content, decompressed."""
        raw = _path(self.path).open("rb")
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw) if self.is_gzipped else raw)

    def open_at(self, offset: int) -> IO[bytes]:
        """Open the content at `offset`; a compressed file is read up to there."""
        stream = self.open()
        try:
            stream.seek(offset)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            return stream  # shorter than it was: the first read says so
        return stream


@dataclass(frozen=True, slots=True)
class _FileCandidate:
    """A file that may be read, or what speaks against it."""

    path: Any
    problem: str = ""
    reason: str = "unreadable"


def list_files(url: str) -> list[LogFile]:
    """Return the files of the log, by path; those that must not or cannot be read say why.

    Raises:
        NotFound: there is nothing at `url`.
    """
    found = sorted(_files(url), key=lambda file: file.path)
    if not found:
        raise NotFound(f"there is no access log at {url}; give a file, a folder or a glob in ADWARM_ACCESS_LOG_URL")
    return found


def _files(url: str) -> Iterator[LogFile]:
    is_local = "://" not in url or url.startswith(_LOCAL)
    scheme = _LOCAL if url.startswith(_LOCAL) else ""
    candidates = _unique_files(_local_candidates(url.removeprefix(_LOCAL))) if is_local else _candidates(url)
    for found in candidates:
        path = f"{scheme}{found.path}"
        file = _unreadable_file(path, found.problem, found.reason) if found.problem else _inspect(found.path, path)
        if file is not None:
            yield file


def _path(url: str) -> Any:
    if "://" not in url or url.startswith(_LOCAL):
        return Path(url.removeprefix(_LOCAL))
    from upath import UPath  # a sixth of the time that counting a local log takes to start

    return UPath(url)


def _local_candidates(url: str) -> Iterable[_FileCandidate]:
    path = Path(url).expanduser().absolute()
    folder, pattern = _glob(str(path))
    try:
        path.stat()
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and not is_file_error(error):
            raise
        if pattern:
            return _scan_glob(Path(folder), pattern, lambda name: _matches_glob(name, pattern))
        return [_FileCandidate(path, describe_error(error))] if isinstance(error, PermissionError) else []
    return _scan_folder(path, _is_log) if path.is_dir() else [_FileCandidate(path)]


def _candidates(url: str) -> list[_FileCandidate]:
    path = _path(url)
    folder, pattern = _glob(url)
    if pattern and not path.exists():
        return [
            _FileCandidate(item)
            for item in _path(folder).glob(pattern)
            if _matches_glob(item.name, url) and item.is_file()
        ]
    if path.is_dir():
        return [_FileCandidate(item) for item in path.rglob("*") if _is_log(item.name) and item.is_file()]
    return [_FileCandidate(path)] if path.exists() else []


def _glob(url: str) -> tuple[str, str]:
    """Return the folder that holds all a glob may mean, and the glob from there on; empty when it is none."""
    glob = re.search(r"[*?\[]", url)
    cut = url.rfind("/", 0, glob.start()) + 1 if glob else len(url)
    return url[:cut], url[cut:]


def _matches_glob(name: str, pattern: str) -> bool:
    """Whether a glob means the file: hidden ones only when it says so, as in a shell."""
    return not name.startswith(".") or pattern.rpartition("/")[2].startswith(".")


def _is_log(name: str) -> bool:
    known = _SUFFIXES.get(Path(name.removesuffix(".gz")).suffix.lower())
    return not name.startswith((".", "_")) and bool(known or _LOG_NAME.fullmatch(name))


def _inspect(path: Any, name: str) -> LogFile | None:
    """Return what a look at the file tells; None when it is gone since it was listed."""
    try:
        stat = path.stat()
        with path.open("rb") as file:
            head = file.read(4096)
    except FileNotFoundError:
        return None
    except OSError as error:
        if not is_file_error(error):
            raise
        return _unreadable_file(name, describe_error(error), "unreadable")
    gzipped = head.startswith(_GZIP_MAGIC)
    content = _decompress(head) if gzipped else head
    form = _format(path.name, content)
    mtime = float(getattr(stat, "st_mtime", 0.0) or 0.0)
    return LogFile(name, int(stat.st_size), mtime, form, gzipped, _unsupported_format(content))


def _unreadable_file(name: str, problem: str, reason: str) -> LogFile:
    return LogFile(name, 0, 0.0, _format(name.rpartition("/")[2], b""), False, problem, reason)


def _unsupported_format(content: bytes) -> str:
    """Return what is wrong with content that is no log by its first bytes."""
    kind = next((kind for magic, kind in _UNSUPPORTED.items() if content.startswith(magic)), "")
    return kind and f"it holds {kind}, which is not read; give UTF-8 text or Parquet, plain or with gzip"


def _decompress(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(head, 4096)
    except zlib.error:
        return b""  # reading it says where it is damaged


def _format(name: str, content: bytes) -> Format:
    if content.startswith(_PARQUET_MAGIC):
        return "parquet"
    return _SUFFIXES.get(Path(name.lower().removesuffix(".gz")).suffix) or _sniff_format(content)


def _sniff_format(head: bytes) -> Format:
    first = head.lstrip(b"\xef\xbb\xbf \r\n\t").partition(b"\n")[0]
    if first.startswith(b"{"):
        return "jsonl"
    return "csv" if b"account_id" in first and b"," in first else "combined"


def _scan_folder(folder: Path, name_filter: _NameFilter) -> Iterator[_FileCandidate]:
    """Yield the files below `folder`, what cannot be looked into, and what leads out of it."""
    root = Path(os.path.realpath(folder))
    closed: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=closed.append):
        # A folder that is linked to from within is found where it lies; one outside is to be named.
        linked = [name for name in folders if _is_link(Path(place, name))]
        for name in (*linked, *filter(name_filter, names)):
            yield from _check_candidate(Path(place, name), root)
    for error in closed:
        if not is_file_error(error):
            raise error
        yield _FileCandidate(Path(str(error.filename)), describe_error(error))


def _scan_glob(folder: Path, pattern: str, name_filter: _NameFilter) -> Iterator[_FileCandidate]:
    """Yield the files below `folder` that a glob means, and those of them that lead out of it."""
    root = Path(os.path.realpath(folder))
    for path in folder.glob(pattern):
        if name_filter(path.name):
            yield from _check_candidate(path, root)


def _unique_files(candidates: Iterable[_FileCandidate]) -> Iterator[_FileCandidate]:
    """Yield each local file once: one that a symlink leads to is read where it lies."""
    seen: set[str] = set()
    for item in sorted(candidates, key=lambda item: (_is_link(item.path), str(item.path))):
        real = os.path.realpath(item.path)
        if item.problem or real not in seen:
            yield item
        seen.add(real)


def _check_candidate(path: Path, root: Path) -> Iterator[_FileCandidate]:
    """Yield the file, or what is wrong with it; nothing when it is none, or gone."""
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(root):
        yield _FileCandidate(
            path, f"it is a symlink to {real}, outside the folder of the log, and is not followed", "symlink"
        )
        return
    try:
        if path.is_file():
            yield _FileCandidate(path)
    except OSError as error:
        if not is_file_error(error):
            raise
        yield _FileCandidate(path, describe_error(error))


def is_file_error(error: BaseException) -> bool:
    """Whether the error says that this one file is damaged, closed to us or gone.

    Arrow and gzip report damage as an OSError without a number. A connection that breaks, a disk that fails and a read
    that was interrupted are no fault of the file.
    """
    if isinstance(error, (ConnectionError, TimeoutError, pa.ArrowCancelled)):
        return False
    return not isinstance(error, OSError) or error.errno is None or error.errno in _FILE_ERRNOS


def describe_error(error: BaseException) -> str:
    """Return what the error says, without the path that is named beside it."""
    told = error.strerror if isinstance(error, OSError) else None
    return told or str(error) or type(error).__name__
