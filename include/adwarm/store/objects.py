"""Immutable objects named by the SHA-256 of their bytes, in a local folder or behind any fsspec URL.

A name is built from a hash alone, never from input, so input cannot reach another path. An object is complete or
absent: a local write goes to a temporary name and is renamed; object storage shows a put when it is complete.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from upath import UPath

from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest, Corrupt, NotFound
from adwarm.foundation.redaction import redact

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
        """
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest, suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(path, Path) and not isinstance(path, UPath):
            _write_atomically(path, data)
        else:
            path.write_bytes(data)
        return digest

    def get(self, digest: str, suffix: str = ".parquet") -> bytes:
        """Return the bytes of an object.

        Raises:
            NotFound: there is no such object.
            Corrupt: its bytes do not match its name.
        """
        try:
            data: bytes = self._path(digest, suffix).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"object {digest[:12]} is not in the store") from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise Corrupt(f"object {digest[:12]} does not match its checksum")
        return data

    def read_unverified(self, digest: str, suffix: str = ".parquet") -> bytes:
        """Return the bytes of an object whatever they are, for the copy of a damaged one.

        Raises:
            NotFound: there is no such object.
        """
        try:
            return bytes(self._path(digest, suffix).read_bytes())
        except FileNotFoundError:
            raise NotFound(f"object {digest[:12]} is not in the store") from None

    def exists(self, digest: str, suffix: str = ".parquet") -> bool:
        """Whether the object exists."""
        return bool(self._path(digest, suffix).exists())

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
            if isinstance(path, UPath):  # `stat` has no time on some file systems
                return utc(path.fs.modified(path.path))
            return datetime.fromtimestamp(path.stat().st_mtime, UTC)
        except FileNotFoundError:
            raise NotFound(f"object {digest[:12]} is not in the store") from None

    def delete(self, digest: str, suffix: str = ".parquet") -> None:
        """Delete an object. A missing object is no error."""
        self._path(digest, suffix).unlink(missing_ok=True)

    def list_objects(self) -> Iterator[tuple[str, str]]:
        """Yield hash and suffix of each object."""
        root = self._root / "objects"
        if not root.exists():
            return
        for folder in sorted(root.iterdir(), key=lambda item: item.name):
            for path in folder.iterdir():
                digest, _, suffix = path.name.partition(".")
                if _HASH.fullmatch(digest):
                    yield digest, f".{suffix}"

    def check(self) -> None:
        """Write, read and delete a probe object.

        Raises:
            BadRequest: the store is not writable; the message names the setting.
        """
        try:
            probe = self.put(secrets.token_bytes(16), ".probe")
            self.get(probe, ".probe")
            self.delete(probe, ".probe")
        except OSError as error:
            raise BadRequest(
                f"ADWARM_DATA_URL is not writable ({type(error).__name__}); check the path and its permissions"
            ) from error

    def _path(self, digest: str, suffix: str) -> Any:
        if not _HASH.fullmatch(digest) or not _SUFFIX.fullmatch(suffix):
            raise BadRequest("object names are a SHA-256 in hex and a short suffix")
        return self._root / "objects" / digest[:2] / f"{digest}{suffix}"


def _write_atomically(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
