"""Files behind an fsspec URL, such as `s3://bucket/prefix`: whole files only, in as few requests as possible.

A file is complete or absent, because object storage shows a put when it is complete. There is no rename and there are
no folders. Safe to share between threads; after a fork the process opens connections of its own.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from cachetools import LRUCache

from adwarm.foundation.clock import utc
from adwarm.foundation.compute_turn import waiting
from adwarm.foundation.errors import AdwarmError
from adwarm.foundation.redaction import redact
from adwarm.foundation.remote_errors import MissingBucket, is_broken_body, is_missing_bucket, remote_storage_error
from adwarm.foundation.storage import RETRIES_INSIDE_S3FS, find_family, get_storage_settings, options_for

if TYPE_CHECKING:
    from upath import UPath

Item = TypeVar("Item")
Result = TypeVar("Result")
_MODIFIED: Final = ("LastModified", "last_modified", "mtime", "updated", "created")
_CONTENT_TYPE: Final = {"s3": "ContentType", "gs": "content_type"}


def map_ordered(function: Callable[[Item], Result], items: Iterable[Item], width: int) -> Iterator[Result]:
    """Yield the result of each item, in order; up to `width` of them are computed at once, in threads.

    With a width of 1, or for a single item, the function runs in this thread, when its result is asked for. An error
    is raised where its result would have been; what has not started by then never does.

    Args:
        function: called once for each item; must be safe to call from several threads.
        items: read in this thread, `width` items ahead.
        width: maximum calls at once; one result more may be in memory.
    """
    iterator = iter(items)
    first = list(islice(iterator, 2))
    if width <= 1 or len(first) < 2:
        yield from map(function, chain(first, iterator))
        return
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(width, "adwarm-parallel") as pool:
        try:
            for item in chain(first, iterator):
                pending.append(pool.submit(function, item))
                if len(pending) > width:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def open_path(url: str, setting: str) -> "UPath":
    """Return a URL as a path, with the options of this process; it must not be kept over a fork.

    Raises:
        BadRequest: the package of its file system is not installed, or the URL holds credentials that it must not hold.
        StorageError: it cannot be opened.
    """
    from upath import UPath

    options = options_for(url, setting)
    try:
        path = UPath(url, **options)
        files = path.fs  # some connect here
    except Exception as error:
        raise remote_storage_error(error, url, setting) from None
    if find_family(url) == "s3":
        files.retries = RETRIES_INSIDE_S3FS
    return path


@contextmanager
def translating_remote_errors(url: str, setting: str) -> Iterator[None]:
    """Raise an error of adwarm for what a driver raises; that a file is absent, or a folder, passes unchanged."""
    try:
        with waiting():
            yield
    except AdwarmError:
        raise
    except (FileNotFoundError, IsADirectoryError) as error:
        if not is_missing_bucket(error):
            raise
        raise remote_storage_error(error, url, setting) from error
    except Exception as error:
        raise remote_storage_error(error, url, setting) from error


def find_modified(info: Mapping[str, Any]) -> datetime | float | None:
    """Return when the file of a listing was written, as a time or as seconds since the epoch; None when unknown."""
    value = next((info[key] for key in _MODIFIED if info.get(key) is not None), None)
    return datetime.fromisoformat(value) if isinstance(value, str) else value


class RemoteFile(NamedTuple):
    """A file of a listing: its name within the folder, its size in bytes, and when it was written (UTC)."""

    name: str
    size: int
    modified_at: datetime


class RemoteFolder:
    """The files below one URL, by their names relative to it.

    Args:
        setting: the setting that names the URL, for messages.
    """

    def __init__(self, url: str, setting: str) -> None:
        self.url = url.rstrip("/")
        self._setting = setting
        self._opened: tuple[int, UPath, RecentBytes] | None = None

    @property
    def width(self) -> int:
        """How many requests run at once."""
        return get_storage_settings().parallel

    def describe(self, name: str = "") -> str:
        """Return the URL of a file for a person, without credentials."""
        return redact(f"{self.url}/{name}" if name else self.url)

    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            FileNotFoundError: there is none.
            StorageError: it cannot be read.
        """
        root = self._open()[1]
        with self._translating(name):
            return self._read(root, name)

    def write(self, name: str, data: bytes, content_type: str, *, recent: bool = False) -> None:
        """Write a file, or replace it.

        Args:
            content_type: its media type, where the storage keeps one.
            recent: whether the bytes stay in memory for `get_recent`.

        Raises:
            StorageError: it cannot be written; what there was before stays.
        """
        root = self._open()[1]
        path, option = self._path(root, name), _CONTENT_TYPE.get(find_family(self.url))
        described = {option: content_type} if option else {}
        with self._translating(name):
            try:
                root.fs.pipe_file(path, data, **described)
            except FileNotFoundError as error:
                if option:  # object storage has no folders, so its bucket is absent
                    raise MissingBucket from error
                root.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
                root.fs.pipe_file(path, data)
        if recent:
            self.keep_recent(name, data)

    def get_recent(self, name: str) -> bytes | None:
        """Return the bytes of a file that this process has kept, or None; for files that never change."""
        return self._open()[2].get(name)

    def keep_recent(self, name: str, data: bytes) -> None:
        """Keep the bytes of a file in memory, as long as there is room."""
        self._open()[2].put(name, data)

    def get_modified_at(self, name: str) -> datetime:
        """Return when a file was last written.

        Raises:
            FileNotFoundError: there is none.
            StorageError: it cannot be read.
        """
        root = self._open()[1]
        with self._translating(name):
            return utc(root.fs.modified(self._path(root, name)))

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        root = self._open()[1]
        try:
            with self._translating(name):  # `exists` of a file system takes any error for an absent file
                root.fs.info(self._path(root, name))
        except FileNotFoundError:
            return False
        return True

    def delete(self, name: str) -> None:
        """Delete a file; one that is absent is not an error."""
        _, root, recent_bytes = self._open()
        recent_bytes.drop(name)
        try:
            with self._translating(name):
                root.fs.rm_file(self._path(root, name))
        except FileNotFoundError:
            return

    def list_files(self, folder: str = "") -> list[RemoteFile]:
        """Return the files directly in a folder, by name; none when it is absent. Pages are followed to the end."""
        files = [self._describe(info) for info in self._list(folder) if info["type"] == "file"]
        return sorted(file for file in files if file.name)

    def list_folders(self, folder: str = "") -> list[str]:
        """Return the names of the folders directly in a folder, in order."""
        paths = (str(info["name"]).rstrip("/") for info in self._list(folder) if info["type"] == "directory")
        return sorted(path.rpartition("/")[2] for path in paths)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield the result of each item, in order, up to `width` of them at once."""
        return map_ordered(function, items, self.width)

    def _list(self, folder: str) -> list[dict[str, Any]]:
        root = self._open()[1]
        path = self._path(root, folder) if folder else str(root.path).rstrip("/")
        try:
            with self._translating(folder):
                infos: list[dict[str, Any]] = root.fs.ls(path, detail=True)
        except FileNotFoundError:
            return []
        return [info for info in infos if str(info["name"]).strip("/") != path.strip("/")]

    def _read(self, root: "UPath", name: str) -> bytes:
        left = get_storage_settings().attempts
        while True:
            try:
                data: bytes = root.fs.cat_file(self._path(root, name))
            except Exception as error:
                left -= 1
                if not left or not is_broken_body(error):
                    raise
            else:
                return data

    def _describe(self, info: dict[str, Any]) -> RemoteFile:
        path = str(info["name"])
        modified = find_modified(info)
        if not isinstance(modified, datetime):
            modified = self._open()[1].fs.modified(path)
        return RemoteFile(path.rpartition("/")[2], int(info["size"]), utc(modified))

    def _open(self) -> "tuple[int, UPath, RecentBytes]":
        opened = self._opened
        if opened is None or opened[0] != os.getpid():
            path = open_path(self.url, self._setting)
            opened = self._opened = os.getpid(), path, RecentBytes(get_storage_settings().cache_bytes)
        return opened

    @staticmethod
    def _path(root: "UPath", name: str) -> str:
        return f"{str(root.path).rstrip('/')}/{name}"

    def _translating(self, name: str) -> Any:
        return translating_remote_errors(f"{self.url}/{name}" if name else self.url, self._setting)


class RecentBytes:
    """The files that were used last, up to `limit` bytes; the one that was used longest ago makes room. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._files: LRUCache[str, bytes] = LRUCache(limit, getsizeof=len)
        self._lock = threading.Lock()

    def get(self, name: str) -> bytes | None:
        """Return the bytes of a file, or None."""
        with self._lock:
            return self._files.get(name)

    def put(self, name: str, data: bytes) -> None:
        """Keep the bytes of a file, unless they would displace most of the others."""
        if len(data) <= self._limit // 4:
            with self._lock:
                self._files[name] = data

    def drop(self, name: str) -> None:
        """Forget a file."""
        with self._lock:
            self._files.pop(name, None)
