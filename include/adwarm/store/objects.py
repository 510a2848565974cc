"""Immutable objects named by the SHA-256 of their bytes, in a local folder or behind any fsspec URL.

A name is built from a hash alone, never from input, so input cannot reach another path. An object is complete or
absent: a local write goes to a temporary name and is renamed; object storage shows a put when it is complete.
"""

import errno
import hashlib
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from upath import UPath

from adwarm.foundation.clock import utc
from adwarm.foundation.errors import AdwarmError, BadRequest, Corrupt, NotFound, StorageError
from adwarm.foundation.home import make_private_folder, write_private_file
from adwarm.foundation.redaction import redact
from adwarm.foundation.storage_errors import DATA_SETTING, describe_storage_problem, storage_error

_HASH = re.compile(r"[0-9a-f]{64}")
_SUFFIX = re.compile(r"(\.[a-z0-9]{1,10}){1,2}")


class ObjectStore:
    """Stores and returns immutable objects. Safe to share between threads and processes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._root: Any = Path(url) if "://" not in url else UPath(url)

    def put(self, data: bytes, suffix: str = ".parquet") -> str:
        """Store `data` and return its SHA-256 in hex.

        An object that exists is written again. That repairs a damaged one and renews its modification time, which
        protects it from garbage collection until a row refers to it.

        Raises:
            StorageError: it cannot be written; nothing of it is stored.
        """
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest, suffix)
        with self._translating_errors(path):
            if _is_local(path):
                _write(path, data)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        return digest

    def get(self, digest: str, suffix: str = ".parquet") -> bytes:
        """Return the bytes of an object.

        Raises:
            NotFound: there is no such object.
            Corrupt: its bytes do not match its name.
            StorageError: it cannot be read.
        """
        data = self.read_unverified(digest, suffix)
        if hashlib.sha256(data).hexdigest() != digest:
            raise Corrupt(f"object {digest[:12]} of {len(data):,} bytes does not match its checksum")
        return data

    def read_unverified(self, digest: str, suffix: str = ".parquet") -> bytes:
        """Return the bytes of an object whatever they are, for the copy of a damaged one.

        Raises:
            NotFound: there is no such object.
            Corrupt: a folder has its name.
            StorageError: it cannot be read.
        """
        path = self._path(digest, suffix)
        try:
            with self._translating_errors(path):
                data: bytes = path.read_bytes()
        except FileNotFoundError:
            raise NotFound(f"object {digest[:12]} is not in the store") from None
        except IsADirectoryError:
            raise Corrupt(f"object {digest[:12]} is a folder") from None
        return data

    def exists(self, digest: str, suffix: str = ".parquet") -> bool:
        """Whether the object exists."""
        path = self._path(digest, suffix)
        with self._translating_errors(path):
            return bool(path.exists())

    def describe_location(self, digest: str, suffix: str = ".parquet") -> str:
        """Return the path or URL of an object for a person, without credentials."""
        return redact(str(self._path(digest, suffix)))

    def get_modified_at(self, digest: str, suffix: str = ".parquet") -> datetime:
        """Return when the object was last written.

        Raises:
            NotFound: there is no such object.
        """
        path = self._path(digest, suffix)
        try:
            with self._translating_errors(path):
                if not _is_local(path):  # `stat` has no time on some file systems
                    return utc(path.fs.modified(path.path))
                return datetime.fromtimestamp(path.stat().st_mtime, UTC)
        except FileNotFoundError:
            raise NotFound(f"object {digest[:12]} is not in the store") from None

    def delete(self, digest: str, suffix: str = ".parquet") -> None:
        """Delete an object. A missing object is no error; a folder that has its name is deleted with its content.

        Raises:
            StorageError: it cannot be deleted.
        """
        path = self._path(digest, suffix)
        with self._translating_errors(path):
            if _is_local(path) and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def list_objects(self) -> Iterator[tuple[str, str]]:
        """Yield hash and suffix of each object."""
        for _, items in self.list_folders():
            yield from items

    def list_folders(self, after: str = "") -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """Yield each folder after `after`, in order, with hash and suffix of its objects.

        A folder is named by the first two hex digits of its objects.

        Raises:
            StorageError: a folder cannot be listed.
        """
        for folder in (item for item in self._list_folder(self._root / "objects") if item.name > after):
            parts = (path.name.partition(".") for path in self._list_folder(folder))
            yield folder.name, [(digest, f".{suffix}") for digest, _, suffix in parts if _HASH.fullmatch(digest)]

    def check(self) -> None:
        """Write, read and delete a probe object.

        Raises:
            StorageError: the store cannot be written; the message names the setting.
        """
        probe = self.put(secrets.token_bytes(16), ".probe")
        self.get(probe, ".probe")
        self.delete(probe, ".probe")

    @property
    def local_path(self) -> Path | None:
        """The folder of the store; None behind a URL."""
        return self._root if _is_local(self._root) else None

    def _list_folder(self, folder: Any) -> list[Any]:
        """Return what is in a folder, by name; nothing when it is absent or no folder."""
        with self._translating_errors(folder):
            return sorted(folder.iterdir(), key=lambda item: item.name) if folder.is_dir() else []

    @contextmanager
    def _translating_errors(self, path: Any) -> Iterator[None]:
        """Raise `StorageError` for what a file system raises; that a name is absent, or a folder, passes unchanged."""
        try:
            yield
        except (FileNotFoundError, IsADirectoryError, AdwarmError):
            raise
        except OSError as error:
            raise storage_error(error, path, DATA_SETTING) from error
        except Exception as error:
            if _is_local(path):
                raise
            # The file systems behind URLs raise errors of their own, whose texts may hold anything.
            text = f"the store behind the URL failed ({type(error).__name__})"
            message = describe_storage_problem(path, DATA_SETTING, text, "check the URL and its credentials")
            raise StorageError(message, code="storage") from error

    def _path(self, digest: str, suffix: str) -> Any:
        if not _HASH.fullmatch(digest) or not _SUFFIX.fullmatch(suffix):
            raise BadRequest("object names are a SHA-256 in hex and a short suffix")
        return self._root / "objects" / digest[:2] / f"{digest}{suffix}"


def _is_local(path: Any) -> bool:
    return isinstance(path, Path) and not isinstance(path, UPath)


def _write(path: Path, data: bytes) -> None:
    try:
        make_private_folder(path.parent)
        write_private_file(path, data, verify=True)
    except FileNotFoundError as error:  # which to callers of `get` means that the object is absent
        raise OSError(errno.ESTALE, "the folder was deleted meanwhile") from error
