"""The rotated files of the open log, adwarm's own record of the opens that its read API served.

A file is Parquet, lies in the folder of the UTC day of its opens (`opens/2026-11-25/` in the data folder), and never
changes: its name holds a digest of what it was made of, so that writing it again writes the same file. It is complete
or absent: locally it is renamed into place, and object storage shows a put when it is complete.
"""

import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from adwarm.foundation.home import make_private_folder, write_private_file
from adwarm.foundation.remote_files import RemoteFolder
from adwarm.foundation.storage import DATA_SETTING, translating_storage_errors

OPEN_FILE_SCHEMA = pa.schema([
    pa.field("ts", pa.timestamp("us", "UTC"), nullable=False),
    pa.field("account_id", pa.string(), nullable=False),
    pa.field("date_range", pa.string(), nullable=False),
    pa.field("report", pa.string(), nullable=False),
    pa.field("actor", pa.string(), nullable=False),
    pa.field("status", pa.string(), nullable=False),
    pa.field("hit", pa.bool_(), nullable=False),
    pa.field("latency_ms", pa.float64(), nullable=False),
    pa.field("bytes", pa.int64(), nullable=False),
    pa.field("request_id", pa.string()),
])
"""One row per open. A log with these columns can be read by anything that reads an access log."""

_FOLDER, _SUFFIX = "opens", ".parquet"
_CONTENT_TYPE = "application/vnd.apache.parquet"
_READERS = 8


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A rotated file.

    Attributes:
        day: UTC day of its opens.
        size: bytes as stored.
    """

    day: date
    name: str
    size: int


class OpenFiles:
    """The rotated files in a data folder, a local one or any fsspec URL."""

    def __init__(self, data_url: str) -> None:
        self.url = f"{data_url.rstrip('/')}/{_FOLDER}"
        self._remote = RemoteFolder(self.url, DATA_SETTING) if "://" in data_url else None
        self._root = Path(self.url)

    def put(self, day: date, name: str, opens: pa.Table) -> None:
        """Store opens of one day, in `OPEN_FILE_SCHEMA`, as the file `name` without its suffix.

        Raises:
            StorageError: it cannot be written; nothing of it is stored.
        """
        buffer = io.BytesIO()
        pq.write_table(opens, buffer, compression="zstd")
        if self._remote is not None:
            self._remote.write(f"{day}/{name}{_SUFFIX}", buffer.getvalue(), _CONTENT_TYPE)
            return
        path = self._root / day.isoformat() / f"{name}{_SUFFIX}"
        with translating_storage_errors(path, DATA_SETTING):
            make_private_folder(path.parent)
            write_private_file(path, buffer.getvalue(), verify=True)

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

    def read(self, files: Sequence[OpenFile]) -> Iterator[pa.Table | str]:
        """Yield the opens of each file, or why it cannot be read; a file that was removed meanwhile has none."""
        with ThreadPoolExecutor(_READERS, "adwarm-opens") as pool:
            yield from pool.map(self._read_file, files)

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

    def _read_file(self, file: OpenFile) -> pa.Table | str:
        name = f"{file.day}/{file.name}"
        try:
            data = self._remote.read(name) if self._remote is not None else (self._root / name).read_bytes()
        except FileNotFoundError:
            return OPEN_FILE_SCHEMA.empty_table()  # retention deleted it
        try:
            table = pq.read_table(pa.BufferReader(data))
            return table.select(OPEN_FILE_SCHEMA.names).cast(OPEN_FILE_SCHEMA)
        except (pa.ArrowException, KeyError, ValueError, OSError) as error:
            return f"{self.url}/{name}: {str(error)[:200]}"


def _parse_day(name: str) -> date | None:
    try:
        return date.fromisoformat(name)
    except ValueError:
        return None
