"""Finds the files of a log: a file, a folder or a glob; a local path or any fsspec URL.

A symlink that leads out of the folder of the log is reported and not followed.
"""

import errno
import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from adwarm.access_log.formats import (
    LOG_NAMES,
    Format,
    decompress_head,
    describe_unsupported,
    detect_format,
    has_log_name,
    is_gzip,
)
from adwarm.access_log.json_documents import may_be_document, open_document
from adwarm.access_log.remote_log import (
    ReadAhead,
    find_file,
    list_below,
    list_glob,
    open_file,
    read_heads,
    reading_starts_ahead,
)
from adwarm.foundation.errors import BadRequest, NotFound

_LOCAL = "file://"
_SMALL = 1_000_000
"""Larger Parquet files are not read ahead, because they are read from their end."""
_NameFilter = Callable[[str], bool]
"""Whether a file of that name belongs to the log."""

_is_link = os.path.islink  # Path.is_symlink raises in a folder without permission
FILE_ERRORS = (BadRequest, pa.ArrowException, EOFError, zlib.error, UnicodeDecodeError, OSError)
"""Errors that reading a damaged file may raise; `is_file_error` tells whether the file is at fault."""

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
        path: absolute path, or URL; identifies the file.
        mtime: seconds since the epoch; 0 where the storage has none.
        is_document: whether it may be one JSON document rather than JSON lines.
        problem: why it is not read; empty when it is.
    """

    path: str
    size: int
    mtime: float
    format: Format
    is_gzipped: bool
    is_document: bool = False
    problem: str = ""
    reason: str = "unreadable"

    @property
    def is_remote(self) -> bool:
        """Whether it is behind a URL."""
        return not _is_local(self.path)

    @property
    def is_stored_as_read(self) -> bool:
        """Whether an offset of the content is one of the stored bytes."""
        return not self.is_gzipped and not self.is_document

    def open(self) -> IO[bytes]:
        """Open the content, decompressed, and a JSON document as lines."""
        raw = self.open_stored()
        stream = cast("IO[bytes]", gzip.GzipFile(fileobj=raw) if self.is_gzipped else raw)
        return open_document(stream) if self.is_document else stream

    def open_stored(self) -> IO[bytes]:
        """Open the bytes as they are stored."""
        if not self.is_remote:
            return cast("IO[bytes]", _path(self.path).open("rb"))
        return open_file(self.path, self.size)

    def open_at(self, offset: int) -> IO[bytes]:
        """Open the content at `offset`; a compressed file is decompressed up to there."""
        stream = self.open()
        try:
            stream.seek(offset)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            return stream  # truncated since; the first read fails
        return stream


@dataclass(frozen=True, slots=True, kw_only=True)
class _FileAhead(LogFile):
    """A file behind a URL whose beginning is read ahead."""

    ahead: ReadAhead

    def open_stored(self) -> IO[bytes]:
        """Open the bytes as they are stored; the first block may have been read already."""
        return open_file(self.path, self.size, self.ahead)


@contextmanager
def reading_ahead(files: Sequence[tuple[LogFile, int]]) -> Iterator[list[LogFile]]:
    """Yield the files to open within the context; the beginnings of the next ones behind URLs are read ahead.

    Local files are left to the system.

    Args:
        files: the files in the order in which they are opened, each with the offset where reading begins.
    """
    remote = [
        (file.path, start if file.format != "parquet" and file.is_stored_as_read else 0, file.size)
        for file, start in files
        if file.is_remote and (file.format != "parquet" or file.size <= _SMALL)
    ]
    if not remote:
        yield [file for file, _ in files]
        return
    with reading_starts_ahead(remote) as ahead:
        yield [_with_ahead(file, ahead) if file.is_remote else file for file, _ in files]


def _with_ahead(file: LogFile, ahead: ReadAhead) -> LogFile:
    return _FileAhead(**{item.name: getattr(file, item.name) for item in fields(file)}, ahead=ahead)


@dataclass(frozen=True, slots=True)
class _FileCandidate:
    """A file that may be read, or the problem with it."""

    path: Path
    problem: str = ""
    reason: str = "unreadable"


def list_files(url: str) -> list[LogFile]:
    """Return the files of the log, by path; those that must not or cannot be read have a `problem`.

    Raises:
        NotFound: there is no file at `url`.
    """
    files = sorted(_files(url), key=lambda file: file.path)
    if not files:
        raise NotFound(f"there is no access log at {url}; give a file, a folder or a glob in ADWARM_ACCESS_LOG__URL")
    return files


@dataclass(frozen=True, slots=True)
class SkippedFiles:
    """The files of a folder that are not part of the log.

    Attributes:
        samples: path and reason of some of them.
    """

    count: int
    samples: list[tuple[str, str]]


def list_skipped(url: str, limit: int = 20) -> SkippedFiles:
    """Return the files below the folder `url` that are not read; none when it is a file or a glob."""
    count = 0
    samples: list[tuple[str, str]] = []
    for path, reason in _list_reasons(url):
        if reason:
            count += 1
            if len(samples) < limit:
                samples.append((path, reason))
    return SkippedFiles(count, samples)


def _list_reasons(url: str) -> Iterator[tuple[str, str]]:
    """Yield each file below the folder `url`, by path, and why it is not read; empty when it is."""
    if _is_local(url):
        folder = Path(url.removeprefix(_LOCAL)).expanduser().absolute()
        for path in sorted(folder.rglob("*"), key=str) if _is_folder(folder) else ():
            yield str(path), _skip_reason(path)
        return
    for file in sorted(list_below(url), key=lambda file: file.url):
        if file.url != url:
            yield file.url, _name_reason(file.name) or ("" if file.size else "empty")


def _is_folder(path: Path) -> bool:
    try:
        return bool(path.is_dir())
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and not is_file_error(error):
            raise
        return False  # listing the log reports it


def _skip_reason(path: Path) -> str:
    """Return why a file of a folder is not read; empty when it is read, or reported as unreadable."""
    try:
        if not path.is_file():
            return ""
        return _name_reason(path.name) or ("empty" if not path.stat().st_size else "")
    except OSError as error:
        if not is_file_error(error):
            raise
        return describe_error(error)


def _name_reason(name: str) -> str:
    if is_hidden(name):
        return "hidden: its name begins with a dot or an underscore"
    return "" if has_log_name(name) else f"unknown suffix; logs end in {LOG_NAMES}"


def is_hidden(name: str) -> bool:
    """Whether a folder's file of that name is left out, as Hive and Spark do."""
    return name.startswith((".", "_"))


def _files(url: str) -> Iterator[LogFile]:
    if not _is_local(url):
        yield from _remote_files(url)
        return
    scheme = _LOCAL if url.startswith(_LOCAL) else ""
    for item in _unique_files(_local_candidates(url.removeprefix(_LOCAL))):
        path = f"{scheme}{item.path}"
        if not _is_text(path):  # neither a database nor JSON holds such a name
            shown = path.encode("utf-8", "backslashreplace").decode()
            yield _unreadable_file(shown, "its name is not valid UTF-8; rename it", "unreadable")
            continue
        file = _unreadable_file(path, item.problem, item.reason) if item.problem else _inspect(item.path, path)
        if file is not None:
            yield file


def _remote_files(url: str) -> Iterator[LogFile]:
    folder, pattern = _glob(url)
    file = find_file(url)
    if file is not None:
        files = [file]
    elif pattern:
        files = [listed for listed in list_glob(folder, pattern) if _matches_glob(listed.name, url)]
    else:
        files = [listed for listed in list_below(url) if _is_log(listed.name)]
    for listed, head in zip(files, read_heads(files), strict=True):
        if isinstance(head, bytes):  # else it was removed since it was listed
            yield _detect(listed.url, listed.size, listed.mtime, head)


def _is_local(url: str) -> bool:
    return "://" not in url or url.startswith(_LOCAL)


def _is_text(path: str) -> bool:
    """Whether a path is valid Unicode; the bytes of other names are lone surrogates in Python."""
    return not any("\ud800" <= character <= "\udfff" for character in path)


def _path(url: str) -> Path:
    return Path(url.removeprefix(_LOCAL))


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


def _glob(url: str) -> tuple[str, str]:
    """Return the folder that contains all matches of a glob, and the rest of the glob; empty when it is not a glob."""
    glob = re.search(r"[*?\[]", url)
    cut = url.rfind("/", 0, glob.start()) + 1 if glob else len(url)
    return url[:cut], url[cut:]


def _matches_glob(name: str, pattern: str) -> bool:
    """Whether a glob includes the file: hidden files only when it names them, as in a shell."""
    return not name.startswith(".") or pattern.rpartition("/")[2].startswith(".")


def _is_log(name: str) -> bool:
    return not is_hidden(name) and has_log_name(name)


def _inspect(path: Path, name: str) -> LogFile | None:
    """Return the file with its size and format; None when it was removed since it was listed."""
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
    return _detect(name, stat.st_size, stat.st_mtime, head)


def _detect(name: str, size: int, mtime: float, head: bytes) -> LogFile:
    """Return a file by its name and its first bytes."""
    gzipped = is_gzip(head)
    content = decompress_head(head) if gzipped else head
    form = detect_format(name.replace("\\", "/").rpartition("/")[2], content)
    return LogFile(
        path=name,
        size=size,
        mtime=mtime,
        format=form,
        is_gzipped=gzipped,
        is_document=form == "jsonl" and may_be_document(content),
        problem=describe_unsupported(content, form),
    )


def _unreadable_file(name: str, problem: str, reason: str) -> LogFile:
    return LogFile(
        path=name,
        size=0,
        mtime=0.0,
        format=detect_format(name.rpartition("/")[2], b""),
        is_gzipped=False,
        problem=problem,
        reason=reason,
    )


def _scan_folder(folder: Path, name_filter: _NameFilter) -> Iterator[_FileCandidate]:
    """Yield the files below `folder`, the folders that cannot be read, and the symlinks that lead out of it."""
    root = Path(os.path.realpath(folder))
    errors: list[OSError] = []
    for parent, folders, names in os.walk(folder, onerror=errors.append):
        # A linked folder inside the log is found where it lies; a link to a folder outside must be reported.
        linked = [name for name in folders if _is_link(Path(parent, name))]
        for name in (*linked, *filter(name_filter, names)):
            yield from _check_candidate(Path(parent, name), root)
    for error in errors:
        if not is_file_error(error):
            raise error
        yield _FileCandidate(Path(str(error.filename)), describe_error(error))


def _scan_glob(folder: Path, pattern: str, name_filter: _NameFilter) -> Iterator[_FileCandidate]:
    """Yield the files below `folder` that match a glob, and the symlinks among them that lead out of it."""
    root = Path(os.path.realpath(folder))
    for path in folder.glob(pattern):
        if name_filter(path.name):
            yield from _check_candidate(path, root)


def _unique_files(candidates: Iterable[_FileCandidate]) -> Iterator[_FileCandidate]:
    """Yield each local file once: a symlink to another file of the log is left out."""
    seen: set[str] = set()
    for item in sorted(candidates, key=lambda item: (_is_link(item.path), str(item.path))):
        real = os.path.realpath(item.path)
        if item.problem or real not in seen:
            yield item
        seen.add(real)


def _check_candidate(path: Path, root: Path) -> Iterator[_FileCandidate]:
    """Yield the file, or the problem with it; nothing when it is not a file or was removed."""
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
    """Whether the error means that this one file is damaged, not permitted or gone.

    Arrow and gzip report damage as an OSError without a number. A broken connection, a failing disk and an interrupted
    read are not the fault of the file and must stop the run.
    """
    if isinstance(error, (ConnectionError, TimeoutError, pa.ArrowCancelled)):
        return False
    return not isinstance(error, OSError) or error.errno is None or error.errno in _FILE_ERRNOS


def describe_error(error: BaseException) -> str:
    """Return the error's message without the path in it."""
    message = error.strerror if isinstance(error, OSError) else None
    return message or str(error) or type(error).__name__
