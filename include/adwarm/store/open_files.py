"""The closed files of the open log, adwarm's own record of the opens that its read API served.

A file holds JSON lines, an `OpenLine` each in any order, compressed by gzip. It lies in the folder of the UTC day of
its opens (`opens/2026-11-25/` in the data folder), and never changes. It is complete or absent: locally it is renamed
into place, and object storage shows a put when it is complete.
"""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import msgspec

from adwarm.foundation.home import make_private_folder, write_private_file
from adwarm.foundation.remote_files import RemoteFolder
from adwarm.foundation.storage import DATA_SETTING, translating_storage_errors


class OpenLine(msgspec.Struct, gc=False):
    """A line of the open log; one that any reader of an access log understands.

    Attributes:
        status: `hit`, `stale`, `miss` or `fetched`.
        bytes: those of the body that was sent.
    """

    ts: datetime
    account_id: str
    date_range: str
    report: str
    actor: str
    status: str
    hit: bool
    latency_ms: float
    bytes: int
    request_id: str | None = None


_FOLDER, _SUFFIX = "opens", ".jsonl.gz"
_CONTENT_TYPE = "application/gzip"
_READERS = 8


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A closed file.

    Attributes:
        day: UTC day of its opens.
        size: bytes as stored.
    """

    day: date
    name: str
    size: int


class OpenFiles:
    """The closed files in a data folder, a local one or any fsspec URL."""

    def __init__(self, data_url: str) -> None:
        self.url = f"{data_url.rstrip('/')}/{_FOLDER}"
        self._remote = RemoteFolder(self.url, DATA_SETTING) if "://" in data_url else None
        self._root = Path(self.url)

    def put(self, day: date, name: str, data: bytes) -> None:
        """Store lines of one day, compressed, as the file `name` without its suffix.

        Raises:
            StorageError: it cannot be written; nothing of it is stored.
        """
        if self._remote is not None:
            self._remote.write(f"{day}/{name}{_SUFFIX}", data, _CONTENT_TYPE)
            return
        path = self._root / day.isoformat() / f"{name}{_SUFFIX}"
        with translating_storage_errors(path, DATA_SETTING):
            make_private_folder(path.parent)
            write_private_file(path, data, verify=True)

    def list_days(self, since: date | None = None, until: date | None = None) -> list[date]:
        """Return the days from `since` to `until`, both included, that have a folder, oldest first."""
        names = self._list_folders()
        days = (day for name in names if (day := _parse_day(name)))
        return sorted(day for day in days if (since is None or day >= since) and (until is None or day <= until))

    def list_files(self, days: Sequence[date]) -> dict[date, list[OpenFile]]:
        """Return the files of the days that have any, by name."""
        files: dict[date, list[OpenFile]] = defaultdict(list)
        with ThreadPoolExecutor(_READERS, "adwarm-opens") as pool:
            for day, listed in zip(days, pool.map(self._list_day, days), strict=True):
                files[day] += listed
        return {day: sorted(listed, key=lambda file: file.name) for day, listed in files.items() if listed}

    def read(self, file: OpenFile) -> bytes | None:
        """Return the compressed lines of a file, or None when it was removed meanwhile."""
        name = f"{file.day}/{file.name}"
        try:
            return self._remote.read(name) if self._remote is not None else (self._root / name).read_bytes()
        except FileNotFoundError:
            return None

    def delete_day(self, day: date) -> int:
        """Delete the files of a day; return how many there were."""
        remote = self._remote
        if remote is not None:
            names = [file.name for file in remote.list_files(day.isoformat())]
            deleted = remote.map(lambda name: remote.delete(f"{day}/{name}"), names)
            return sum(1 for _ in deleted)
        folder, count = self._root / day.isoformat(), 0
        for path in list(folder.iterdir()) if folder.exists() else ():
            path.unlink(missing_ok=True)
            count += not path.name.startswith(".")
        if folder.exists():
            folder.rmdir()
        return count

    def _list_folders(self) -> list[str]:
        if self._remote is not None:
            return self._remote.list_folders()
        return [path.name for path in self._root.iterdir()] if self._root.exists() else []

    def _list_day(self, day: date) -> list[OpenFile]:
        if self._remote is not None:
            listed = [(file.name, file.size) for file in self._remote.list_files(day.isoformat())]
        else:
            paths = (path for path in (self._root / day.isoformat()).iterdir() if path.name.endswith(_SUFFIX))
            listed = [(path.name, path.stat().st_size) for path in paths]
        return [OpenFile(day, name, size) for name, size in listed if name.endswith(_SUFFIX) and name[0] != "."]


def _parse_day(name: str) -> date | None:
    try:
        return date.fromisoformat(name)
    except ValueError:
        return None
