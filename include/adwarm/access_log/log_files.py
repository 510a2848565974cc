"""Finds the files of a log and tells their format: a file, a folder or a glob; a local path or any fsspec URL."""

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

from adwarm.access_log.file_errors import describe_error, is_file_error
from adwarm.access_log.folder_scan import FileCandidate, scan_folder, scan_glob, unique_files
from adwarm.foundation.errors import NotFound

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
    candidates = unique_files(_local_candidates(url.removeprefix(_LOCAL))) if is_local else _candidates(url)
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


def _local_candidates(url: str) -> Iterable[FileCandidate]:
    path = Path(url).expanduser().absolute()
    folder, pattern = _glob(str(path))
    try:
        path.stat()
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and not is_file_error(error):
            raise
        if pattern:
            return scan_glob(Path(folder), pattern, lambda name: _matches_glob(name, pattern))
        return [FileCandidate(path, describe_error(error))] if isinstance(error, PermissionError) else []
    return scan_folder(path, _is_log) if path.is_dir() else [FileCandidate(path)]


def _candidates(url: str) -> list[FileCandidate]:
    path = _path(url)
    folder, pattern = _glob(url)
    if pattern and not path.exists():
        return [
            FileCandidate(item)
            for item in _path(folder).glob(pattern)
            if _matches_glob(item.name, url) and item.is_file()
        ]
    if path.is_dir():
        return [FileCandidate(item) for item in path.rglob("*") if _is_log(item.name) and item.is_file()]
    return [FileCandidate(path)] if path.exists() else []


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
