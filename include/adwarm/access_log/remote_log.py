"""Log files behind an fsspec URL: listed by pages of a thousand instead of one by one, and read ahead in blocks."""

import io
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, Final, cast

from adwarm.foundation.clock import utc
from adwarm.foundation.remote_files import find_modified, map_ordered, open_path, translating_remote_errors
from adwarm.foundation.storage import LOG_SETTING, get_storage_settings

HEAD_BYTES: Final = 4096
_FIRST_BLOCK, _START_BLOCK, _BLOCK = 64 * 1024, 1024 * 1024, 4 * 1024 * 1024
_KEPT_STARTS: Final = 2


@dataclass(frozen=True, slots=True)
class RemoteLogFile:
    """A file behind a URL.

    Attributes:
        url: identifies it.
        size: bytes as stored.
        mtime: when it was written, in seconds since the epoch; 0 where the storage has no times.
    """

    url: str
    name: str
    size: int
    mtime: float


def list_glob(folder: str, pattern: str) -> list[RemoteLogFile]:
    """Return the files that match a glob below the URL `folder`."""
    with translating_remote_errors(folder, LOG_SETTING):
        root = open_path(folder, LOG_SETTING)
        listed = root.fs.glob(f"{str(root.path).rstrip('/')}/{pattern}", detail=True)
        return list(_describe(root, folder, listed.values()))


def list_below(url: str) -> list[RemoteLogFile]:
    """Return every file below a URL, at any depth; none when there is no such folder."""
    with translating_remote_errors(url, LOG_SETTING):
        root = open_path(url, LOG_SETTING)
        try:
            listed = root.fs.find(str(root.path).rstrip("/"), detail=True)
        except FileNotFoundError:
            return []
        return list(_describe(root, url, listed.values()))


def find_file(url: str) -> RemoteLogFile | None:
    """Return the file at a URL; None when there is none, or a folder."""
    try:
        with translating_remote_errors(url, LOG_SETTING):
            root = open_path(url, LOG_SETTING)
            info = root.fs.info(str(root.path))
            return next(_describe(root, url, [info]), None)
    except FileNotFoundError:
        return None


def read_heads(files: Iterable[RemoteLogFile]) -> Iterator[bytes | Exception]:
    """Yield the first bytes of each file in order, or why they cannot be read, several files at once."""

    def read(file: RemoteLogFile) -> bytes | Exception:
        try:
            return _read_range(file.url, 0, min(HEAD_BYTES, file.size)) if file.size else b""
        except FileNotFoundError as error:
            return error

    return map_ordered(read, files, get_storage_settings().parallel)


def open_file(url: str, size: int, ahead: "ReadAhead | None" = None) -> IO[bytes]:
    """Open a file of `size` bytes for reading; the next block is read while this one is used.

    Args:
        ahead: where its first block may be; None when nothing reads it ahead.
    """
    return cast("IO[bytes]", io.BufferedReader(_BlockReader(url, size, ahead), 16 * 1024))


@contextmanager
def reading_starts_ahead(files: Sequence[tuple[str, int, int]]) -> Iterator["ReadAhead"]:
    """Within the context, read the first block of the next files before they are opened.

    Args:
        files: URL, offset of the first byte and size of each file, in the order in which they are opened.
    """
    with ThreadPoolExecutor(get_storage_settings().parallel, "adwarm-log-starts") as pool:
        ahead = ReadAhead(files, pool)
        try:
            yield ahead
        finally:
            ahead.cancel()


class ReadAhead:
    """The first blocks of files that are about to be opened, and of the last few that were. Thread-safe."""

    def __init__(self, files: Sequence[tuple[str, int, int]], pool: ThreadPoolExecutor) -> None:
        self._waiting = deque(item for item in files if item[1] < item[2])
        self._blocks: OrderedDict[str, tuple[int, Future[bytes]]] = OrderedDict()
        self._used: OrderedDict[str, None] = OrderedDict()
        self._pool = pool
        self._lock = threading.Lock()
        for _ in range(get_storage_settings().parallel):
            self._submit()

    def find(self, url: str, position: int) -> tuple[int, bytes] | None:
        """Return the block of a file that holds a position, with its offset; None when it was not read ahead."""
        with self._lock:
            block = self._blocks.get(url)
            if block is None:
                return None
            if url not in self._used:
                self._used[url] = None
                self._submit()
            while len(self._used) > _KEPT_STARTS:
                self._blocks.pop(self._used.popitem(last=False)[0], None)
        start, data = block[0], block[1].result()
        return (start, data) if start <= position < start + len(data) else None

    def cancel(self) -> None:
        """Stop reading ahead."""
        for _, future in self._blocks.values():
            future.cancel()

    def _submit(self) -> None:
        if self._waiting:
            url, start, size = self._waiting.popleft()
            self._blocks[url] = start, self._pool.submit(_read_range, url, start, min(size, start + _START_BLOCK))


def _describe(root: Any, folder: str, listed: Iterable[dict[str, Any]]) -> Iterator[RemoteLogFile]:
    base = str(root.path).rstrip("/")
    for info in listed:
        path = str(info["name"])
        if info["type"] == "file" and not path.endswith("/"):
            rest = path.removeprefix(base).strip("/")
            url = f"{folder.rstrip('/')}/{rest}" if rest else folder
            modified = find_modified(info)
            mtime = utc(modified).timestamp() if isinstance(modified, datetime) else float(modified or 0.0)
            yield RemoteLogFile(url, url.rpartition("/")[2], int(info["size"] or 0), mtime)


def _read_range(url: str, start: int, end: int) -> bytes:
    with translating_remote_errors(url, LOG_SETTING):
        path = open_path(url, LOG_SETTING)
        data: bytes = path.fs.cat_file(str(path.path), start=start, end=end)
        return data


class _BlockReader(io.RawIOBase):
    """Reads a file in ranges, larger ones the longer it is read in order, and one block ahead."""

    def __init__(self, url: str, size: int, ahead: ReadAhead | None) -> None:
        super().__init__()
        self._url, self._size, self._starts = url, size, ahead
        self._position = self._start = 0
        self._data = b""
        self._ahead: tuple[int, Future[bytes]] | None = None
        self._pool = ThreadPoolExecutor(1, "adwarm-log-ahead")

    def readable(self) -> bool:
        """Return true."""
        return True

    def seekable(self) -> bool:
        """Return true."""
        return True

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an offset and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read into `buffer` and return the number of bytes, 0 at the end."""
        view = memoryview(buffer)
        if not view or self._position >= self._size:
            return 0
        if not self._start <= self._position < self._start + len(self._data):
            self._load(len(view))
        offset = self._position - self._start
        part = self._data[offset : offset + len(view)]
        view[: len(part)] = part
        self._position += len(part)
        return len(part)

    def close(self) -> None:
        """Stop reading ahead."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        super().close()

    def _load(self, least: int) -> None:
        """Make the block at the position the current one."""
        goes_on = self._position == self._start + len(self._data) and bool(self._data)
        ahead, self._ahead = self._ahead, None
        block = self._starts.find(self._url, self._position) if self._starts else None
        if block is not None:
            self._start, self._data = block
            return
        if ahead is not None and ahead[0] == self._position:
            data = ahead[1].result()
        else:
            data = self._read(self._position, max(least, _FIRST_BLOCK))
        self._start, self._data = self._position, data
        following = self._start + len(data)
        if goes_on and data and following < self._size:
            length = min(_BLOCK, max(_FIRST_BLOCK, 4 * len(data)))
            self._ahead = following, self._pool.submit(self._read, following, length)

    def _read(self, start: int, length: int) -> bytes:
        data = _read_range(self._url, start, min(start + length, self._size))
        if not data:  # shorter than it was when it was listed
            self._size = min(self._size, start)
        return data
