"""Reports on the client's disk: their entity tags, and their documents.

One folder for each API and token id, readable by its user alone. Nothing in it, its name included, is made of the
token's secret. A file that is damaged, or that cannot be read or written, counts as absent: the cache only saves bytes.
"""

import logging
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from platformdirs import user_cache_path

from adwarm_client.errors import Corrupt, TooMuchData
from adwarm_client.exchange import MAX_DOCUMENT_BYTES

log = logging.getLogger(__name__)
MAX_CACHE_BYTES = 256 * 2**20
_DIGEST_BYTES = 32
_SUFFIX = ".report"
_LEVEL = 3


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A report as the API sent it.

    Attributes:
        content_type: type and format version of the document.
        document: the decoded bytes.
    """

    etag: str
    content_type: str
    document: bytes


class ReportCache:
    """Keeps reports by request target, at most `max_bytes` of them; the least recently used are deleted first.

    Args:
        folder: where; a folder for each API and token id is made in it. None for the user's cache folder.
        origin: scheme, host and port of the API, with its path.
        token_id: public id of the token.
        max_bytes: compressed bytes of this API and token id.
    """

    def __init__(self, folder: Path | str | None, origin: str, token_id: str, max_bytes: int = MAX_CACHE_BYTES) -> None:
        root = user_cache_path("adwarm", appauthor=False) / "client" if folder is None else Path(folder)
        self._folder = root.expanduser().absolute() / sha256(f"{origin}\n{token_id}".encode()).hexdigest()[:32]
        self._max_bytes = max_bytes

    def load(self, target: str) -> StoredReport | None:
        """Return the report that was stored for a request target, or None."""
        path = self._path(target)
        try:
            if not self._is_private():
                return None
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        try:
            return _unpack(data)
        except (Corrupt, TooMuchData, KeyError, TypeError, orjson.JSONDecodeError):
            log.warning("a stored report is damaged and is read again: %s", path)
            with suppress(OSError):
                path.unlink()
            return None

    def save(self, target: str, report: StoredReport) -> None:
        """Store a report, and delete the least recently used ones beyond the limit."""
        data = _pack(report)
        if len(data) > self._max_bytes:
            return
        try:
            _make_private_folder(self._folder)
            if not self._is_private():
                return
            _write_atomically(self._path(target), data)
            self._delete_excess()
        except OSError as error:
            log.warning("a report cannot be stored in %s (%s)", self._folder, type(error).__name__)

    def _is_private(self) -> bool:
        """Whether the folder belongs to this user and nobody else may use it."""
        status = self._folder.stat()
        return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o077)

    def _path(self, target: str) -> Path:
        return self._folder / f"{sha256(target.encode()).hexdigest()[:40]}{_SUFFIX}"

    def _delete_excess(self) -> None:
        files = [(path, path.stat()) for path in self._folder.glob(f"*{_SUFFIX}")]
        total = 0
        for path, status in sorted(files, key=lambda item: item[1].st_mtime_ns, reverse=True):
            total += status.st_size
            if total > self._max_bytes:
                path.unlink(missing_ok=True)


def _pack(report: StoredReport) -> bytes:
    """Return the bytes of a file: SHA-256 of the rest, a line of JSON, and the document compressed."""
    import zstandard

    facts = orjson.dumps({"etag": report.etag, "content_type": report.content_type})
    rest = facts + b"\n" + zstandard.ZstdCompressor(level=_LEVEL).compress(report.document)
    return sha256(rest).digest() + rest


def _unpack(data: bytes) -> StoredReport:
    from adwarm_client.codings import decode

    digest, rest = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if sha256(rest).digest() != digest:
        raise Corrupt
    line, _, body = rest.partition(b"\n")
    facts: dict[str, Any] = orjson.loads(line)
    return StoredReport(facts["etag"], facts["content_type"], decode(body, "zstd", MAX_DOCUMENT_BYTES))


def _write_atomically(path: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except OSError:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _make_private_folder(folder: Path) -> None:
    """Create a folder and its missing parents for this user alone; what exists keeps its rights."""
    for path in [*reversed(folder.parents), folder]:
        path.mkdir(mode=0o700, exist_ok=True)
