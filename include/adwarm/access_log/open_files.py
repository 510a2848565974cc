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
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from adwarm.foundation.home import make_private_folder, write_private_file
from adwarm.foundation.storage_errors import DATA_SETTING, translating_storage_errors

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
        self._root: Any = Path(self.url) if "://" not in data_url else UPath(self.url)

    def put(self, day: date, name: str, opens: pa.Table) -> None:
        """Store opens of one day, in `OPEN_FILE_SCHEMA`, as the file `name` without its suffix.

        Raises:
            StorageError: it cannot be written; nothing of it is stored.
        """
        buffer = io.BytesIO()
        pq.write_table(opens, buffer, compression="zstd")
        path = self._root / day.isoformat() / f"{name}{_SUFFIX}"
        with translating_storage_errors(path, DATA_SETTING):
            if isinstance(path, UPath):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(buffer.getvalue())
            else:
                make_private_folder(path.parent)
                write_private_file(path, buffer.getvalue(), verify=True)

    def list_days(self, since: date | None = None, until: date | None = None) -> list[date]:
        """Return the days from `since` to `until`, both included, that have a folder, oldest first."""
        if not self._root.exists():
            return []
        days = (day for path in self._root.iterdir() if (day := _parse_day(path.name)))
        return sorted(day for day in days if (since is None or day >= since) and (until is None or day <= until))

    def list_files(self, days: Sequence[date]) -> dict[date, list[OpenFile]]:
        """Return the files of the days that have any, by name."""
        files: dict[date, list[OpenFile]] = defaultdict(list)
        with ThreadPoolExecutor(_READERS, "adwarm-opens") as pool:
            for day, found in zip(days, pool.map(self._list_day, days), strict=True):
                files[day] += found
        return {day: sorted(found, key=lambda file: file.name) for day, found in files.items() if found}

    def read(self, files: Sequence[OpenFile]) -> Iterator[pa.Table | str]:
        """Yield the opens of each file, or why it cannot be read; a file that was removed meanwhile has none."""
        with ThreadPoolExecutor(_READERS, "adwarm-opens") as pool:
            yield from pool.map(self._read_file, files)

    def delete_day(self, day: date) -> int:
        """Delete the files of a day; return how many there were."""
        folder, count = self._root / day.isoformat(), 0
        for path in list(folder.iterdir()) if folder.exists() else ():
            path.unlink(missing_ok=True)
            count += not path.name.startswith(".")
        if isinstance(folder, UPath) or not folder.exists():
            return count  # object storage has no folders
        folder.rmdir()
        return count

    def _list_day(self, day: date) -> list[OpenFile]:
        folder = self._root / day.isoformat()
        paths = [path for path in folder.iterdir() if path.name.endswith(_SUFFIX) and path.name[0] != "."]
        return [OpenFile(day, path.name, int(path.stat().st_size)) for path in paths]

    def _read_file(self, file: OpenFile) -> pa.Table | str:
        path = self._root / file.day.isoformat() / file.name
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return OPEN_FILE_SCHEMA.empty_table()  # retention deleted it
        try:
            table = pq.read_table(pa.BufferReader(data))
            return table.select(OPEN_FILE_SCHEMA.names).cast(OPEN_FILE_SCHEMA)
        except (pa.ArrowException, KeyError, ValueError, OSError) as error:
            return f"{path}: {str(error)[:200]}"


def _parse_day(name: str) -> date | None:
    try:
        return date.fromisoformat(name)
    except ValueError:
        return None
