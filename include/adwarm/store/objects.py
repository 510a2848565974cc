"""Immutable objects named by the SHA-256 of their bytes, in a local folder or behind any fsspec URL.

A name is built from a hash alone, never from input, so input cannot reach another path. An object is complete or
absent: a local write goes to a temporary name and is renamed; object storage shows a put when it is complete.
"""

import errno
import hashlib
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

from sqlalchemy import Engine

from adwarm.foundation.errors import AdwarmError, BadRequest, Corrupt, NotFound
from adwarm.foundation.home import make_private_folder, write_private_file
from adwarm.foundation.redaction import redact
from adwarm.foundation.remote_files import RemoteFolder
from adwarm.foundation.storage import DATA_SETTING, storage_error
from adwarm.settings import Settings

Item = TypeVar("Item")
Result = TypeVar("Result")
_FOLDER = "objects"
PICTURE_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}
"""Media types of pictures by their suffix."""
_CONTENT_TYPES = {
    ".parquet": "application/vnd.apache.parquet",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    **PICTURE_TYPES,
}
_HASH = re.compile(r"[0-9a-f]{64}")
_SUFFIX = re.compile(r"(\.[a-z0-9]{1,10}){1,2}")
OnDamage = Callable[[Exception, str | None, str | None], object]
"""Gets the error about damaged data, the account that the data belongs to, and what it holds, such as a report key."""


class StoredObject(NamedTuple):
    """An object of a listing: hash, suffix, and when it was last written (UTC)."""

    digest: str
    suffix: str
    modified_at: datetime


class ObjectStore:
    """Stores and returns immutable objects. Safe to share between threads and processes.

    Behind a URL, what this process has read or written lately stays in memory, and calls over many objects make several
    requests at once.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._remote = RemoteFolder(url, DATA_SETTING) if "://" in url else None
        self._folder = Path(url) / _FOLDER

    def put(self, data: bytes, suffix: str = ".parquet") -> str:
        """Store `data` and return its SHA-256 in hex.

        An object that exists is written again. That repairs a damaged one and renews its modification time, which
        protects it from garbage collection until a row refers to it.

        Raises:
            StorageError: it cannot be written; nothing of it is stored.
        """
        digest = hashlib.sha256(data).hexdigest()
        name = _name(digest, suffix)
        if self._remote is not None:
            content_type = _CONTENT_TYPES.get(suffix, "application/octet-stream")
            self._remote.write(f"{_FOLDER}/{name}", data, content_type, recent=True)
            return digest
        path = self._folder / name
        with _translating_errors(path):
            _write(path, data)
        return digest

    def put_many(self, items: Iterable[bytes], suffix: str = ".parquet") -> list[str]:
        """Store several objects and return their hashes, in order; see `put`."""
        return list(self.map(lambda data: self.put(data, suffix), items))

    def get(self, digest: str, suffix: str = ".parquet", *, from_storage: bool = False) -> bytes:
        """Return the bytes of an object.

        Args:
            from_storage: read what is stored, even if this process has the object in memory.

        Raises:
            NotFound: there is no such object.
            Corrupt: its bytes do not match its name.
            StorageError: it cannot be read.
        """
        if self._remote is not None and not from_storage:
            recent = self._remote.get_recent(f"{_FOLDER}/{_name(digest, suffix)}")
            if recent is not None:
                return recent
        data = self.read_unverified(digest, suffix)
        if hashlib.sha256(data).hexdigest() != digest:
            raise Corrupt(f"object {digest[:12]} of {len(data):,} bytes does not match its checksum")
        if self._remote is not None:
            self._remote.keep_recent(f"{_FOLDER}/{_name(digest, suffix)}", data)
        return data

    def read_many(self, digests: Sequence[str], suffix: str = ".parquet") -> Iterator[bytes | Corrupt | NotFound]:
        """Yield the bytes of each object in order, or why it is lost.

        Behind a URL the next objects are read ahead, `StorageOptions.parallel` at once.

        Raises:
            StorageError: an object cannot be read.
        """

        def read(digest: str) -> bytes | Corrupt | NotFound:
            try:
                return self.get(digest, suffix)
            except (Corrupt, NotFound) as error:
                return error

        return self.map(read, digests)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield the result of a function that reads or writes objects, for each item in order.

        Behind a URL several calls run at once, in threads; in a local folder each runs when its result is asked for.
        """
        return map(function, items) if self._remote is None else self._remote.map(function, items)

    def read_unverified(self, digest: str, suffix: str = ".parquet") -> bytes:
        """Return the bytes of an object whatever they are, for the copy of a damaged one.

        Raises:
            NotFound: there is no such object.
            Corrupt: a folder has its name.
            StorageError: it cannot be read.
        """
        name = _name(digest, suffix)
        try:
            if self._remote is not None:
                return self._remote.read(f"{_FOLDER}/{name}")
            path = self._folder / name
            with _translating_errors(path):
                return path.read_bytes()
        except FileNotFoundError:
            raise NotFound(f"object {digest[:12]} is not in the store") from None
        except IsADirectoryError:
            raise Corrupt(f"object {digest[:12]} is a folder") from None

    def exists(self, digest: str, suffix: str = ".parquet") -> bool:
        """Whether the object exists."""
        name = _name(digest, suffix)
        if self._remote is not None:
            return self._remote.exists(f"{_FOLDER}/{name}")
        with _translating_errors(self._folder / name):
            return (self._folder / name).exists()

    def describe_location(self, digest: str, suffix: str = ".parquet") -> str:
        """Return the path or URL of an object for a person, without credentials."""
        name = _name(digest, suffix)
        if self._remote is not None:
            return self._remote.describe(f"{_FOLDER}/{name}")
        return redact(str(self._folder / name))

    def get_modified_at(self, digest: str, suffix: str = ".parquet") -> datetime:
        """Return when the object was last written.

        Raises:
            NotFound: there is no such object.
        """
        name = _name(digest, suffix)
        try:
            if self._remote is not None:
                return self._remote.get_modified_at(f"{_FOLDER}/{name}")
            with _translating_errors(self._folder / name):
                return datetime.fromtimestamp((self._folder / name).stat().st_mtime, UTC)
        except FileNotFoundError:
            raise NotFound(f"object {digest[:12]} is not in the store") from None

    def delete(self, digest: str, suffix: str = ".parquet") -> None:
        """Delete an object. A missing object is not an error; a folder that has its name is deleted with its content.

        Raises:
            StorageError: it cannot be deleted.
        """
        name = _name(digest, suffix)
        if self._remote is not None:
            self._remote.delete(f"{_FOLDER}/{name}")
            return
        path = self._folder / name
        with _translating_errors(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def list_objects(self) -> Iterator[tuple[str, str]]:
        """Yield hash and suffix of each object."""
        for _, items in self.list_folders():
            yield from ((item.digest, item.suffix) for item in items)

    def list_folders(self, after: str = "") -> Iterator[tuple[str, list[StoredObject]]]:
        """Yield each folder after `after`, in order, with its objects.

        A folder is named by the first two hex digits of its objects.

        Raises:
            StorageError: a folder cannot be listed.
        """
        remote = self._remote
        if remote is None:
            for path in (path for path in _list_folder(self._folder) if path.name > after):
                yield path.name, _list_local(path)
            return
        names = [name for name in remote.list_folders(_FOLDER) if name > after]
        listings = remote.map(lambda name: remote.list_files(f"{_FOLDER}/{name}"), names)
        for name, files in zip(names, listings, strict=True):
            named = ((*file.name.partition("."), file.modified_at) for file in files)
            yield name, [StoredObject(hash_, f".{rest}", at) for hash_, _, rest, at in named if _HASH.fullmatch(hash_)]

    def check(self) -> None:
        """Write, read and delete a probe object.

        Raises:
            StorageError: the store cannot be written; the message names the setting.
        """
        self.measure()

    def measure(self) -> tuple[float, float]:
        """Write, read and delete a probe object; return the seconds that writing and reading took.

        Raises:
            StorageError: the store cannot be written; the message names the setting.
        """
        start = time.perf_counter()
        probe = self.put(secrets.token_bytes(16), ".probe")
        written = time.perf_counter()
        self.get(probe, ".probe", from_storage=True)
        seconds = written - start, time.perf_counter() - written
        self.delete(probe, ".probe")
        return seconds

    def describe_root(self) -> str:
        """Return the folder or URL of the store for a person, without credentials."""
        return redact(self.url)

    @property
    def width(self) -> int:
        """How many requests run at once; 1 in a local folder."""
        return 1 if self._remote is None else self._remote.width

    @property
    def is_lost(self) -> bool:
        """Whether the folder is absent: nothing was stored yet, or it was deleted or unmounted. False behind a URL."""
        return self._remote is None and not self._folder.is_dir()

    @property
    def local_path(self) -> Path | None:
        """The folder of the store; None behind a URL."""
        return Path(self.url) if self._remote is None else None


def _name(digest: str, suffix: str) -> str:
    if not _HASH.fullmatch(digest) or not _SUFFIX.fullmatch(suffix):
        raise BadRequest("object names are a SHA-256 in hex and a short suffix")
    return f"{digest[:2]}/{digest}{suffix}"


@contextmanager
def _translating_errors(path: Path) -> Iterator[None]:
    """Raise `StorageError` for what the disk raises; that a name is absent, or a folder, passes unchanged."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, AdwarmError):
        raise
    except OSError as error:
        raise storage_error(error, path, DATA_SETTING) from error


def _list_folder(folder: Path) -> list[Path]:
    """Return what is in a folder, by name; nothing when it is absent or no folder."""
    with _translating_errors(folder):
        return sorted(folder.iterdir(), key=lambda item: item.name) if folder.is_dir() else []


def _list_local(folder: Path) -> list[StoredObject]:
    objects = []
    for path in _list_folder(folder):
        digest, _, suffix = path.name.partition(".")
        if _HASH.fullmatch(digest):
            try:
                with _translating_errors(path):
                    modified = path.stat().st_mtime
            except FileNotFoundError:  # another worker has deleted it
                continue
            objects.append(StoredObject(digest, f".{suffix}", datetime.fromtimestamp(modified, UTC)))
    return objects


def _write(path: Path, data: bytes) -> None:
    try:
        make_private_folder(path.parent)
        write_private_file(path, data, verify=True)
    except FileNotFoundError as error:  # which to callers of `get` means that the object is absent
        raise OSError(errno.ESTALE, "the folder was deleted meanwhile") from error


def ignore_damage(error: Exception, account_id: str | None, subject: str | None) -> None:
    """Do nothing: for processes that keep no error history."""


@dataclass(frozen=True, slots=True)
class Context:
    """The database, the object store and the settings of one process.

    Attributes:
        engine: the database; opened after a fork, never before.
        on_damage: called by whoever meets damaged data while reading, so that it is recorded, healed and alerted.
    """

    engine: Engine
    objects: ObjectStore
    settings: Settings
    on_damage: OnDamage = ignore_damage
