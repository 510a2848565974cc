"""Finds the files of a log and tells their format: a file, a folder or a glob; a local path or any fsspec URL."""

import gzip
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

from adwarm.errors import NotFound

Format = Literal["parquet", "jsonl", "csv", "combined"]

_SUFFIXES: dict[str, Format] = {
    ".parquet": "parquet", ".pq": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv",
}  # fmt: skip
_LOG_NAME = re.compile(r".*\.(log|txt)([.-]\d+)?(\.gz)?", re.IGNORECASE)
_GZIP_MAGIC, _PARQUET_MAGIC = b"\x1f\x8b", b"PAR1"


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file of a log.

    Attributes:
        path: absolute, or the URL; what the file is known by.
        size: bytes as stored.
        mtime: seconds since the epoch; 0 where the storage does not say.
    """

    path: str
    size: int
    mtime: float
    format: Format
    gzipped: bool

    def open(self) -> IO[bytes]:
        """Open the content, decompressed."""
        raw = _path(self.path).open("rb")
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw) if self.gzipped else raw)

    def open_at(self, offset: int) -> IO[bytes]:
        """Open the content at `offset`; a compressed file is read up to there."""
        stream = self.open()
        try:
            stream.seek(offset)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            return stream  # shorter than it was: the first read says so
        return stream


def list_files(url: str) -> list[LogFile]:
    """Return the files of the log, by path.

    Raises:
        NotFound: there is nothing at `url`.
    """
    found = [_describe(path) for path in sorted(_candidates(url), key=str)]
    if not found:
        raise NotFound(f"there is no access log at {url}; give a file, a folder or a glob in ADWARM_ACCESS_LOG_URL")
    return found


def _path(url: str) -> Any:
    if "://" not in url:
        return Path(url)
    from upath import UPath  # a sixth of the time that counting a local log takes to start

    return UPath(url)


def _candidates(url: str) -> list[Any]:
    if "://" not in url:
        url = str(Path(url).expanduser().absolute())
    path = _path(url)
    glob = re.search(r"[*?\[]", url)
    if glob and not path.exists():
        cut = url.rfind("/", 0, glob.start()) + 1
        return [item for item in _path(url[:cut]).glob(url[cut:]) if _is_meant(item.name, url) and item.is_file()]
    if path.is_dir():
        return [item for item in path.rglob("*") if _is_log(item.name) and item.is_file()]
    return [path] if path.exists() else []


def _is_meant(name: str, pattern: str) -> bool:
    """Whether a glob means the file: hidden ones only when it says so, as in a shell."""
    return not name.startswith(".") or pattern.rpartition("/")[2].startswith(".")


def _is_log(name: str) -> bool:
    known = _SUFFIXES.get(Path(name.removesuffix(".gz")).suffix.lower())
    return not name.startswith((".", "_")) and bool(known or _LOG_NAME.fullmatch(name))


def _describe(path: Any) -> LogFile:
    stat = path.stat()
    with path.open("rb") as file:
        head = file.read(4096)
    gzipped = head.startswith(_GZIP_MAGIC)
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    form = _SUFFIXES.get(suffix) or _sniff(zlib.decompressobj(31).decompress(head, 4096) if gzipped else head)
    return LogFile(str(path), int(stat.st_size), float(getattr(stat, "st_mtime", 0.0) or 0.0), form, gzipped)


def _sniff(head: bytes) -> Format:
    if head.startswith(_PARQUET_MAGIC):
        return "parquet"
    first = head.lstrip(b"\xef\xbb\xbf \r\n\t").partition(b"\n")[0]
    if first.startswith(b"{"):
        return "jsonl"
    return "csv" if b"account_id" in first and b"," in first else "combined"
