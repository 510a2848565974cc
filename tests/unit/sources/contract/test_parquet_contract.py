"""The contract of sources, on Parquet files with typed columns and with text, on a file system that can fail."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem

from adwarm.model import Row
from adwarm.sources.parquet import ParquetSource
from adwarm.sources.tabular import TableOptions
from adwarm.testing import CannotHold, SourceContract, UpstreamData, UpstreamFailure, sample_data

ZONE = "Europe/Berlin"
TYPES = {
    **dict.fromkeys(("impressions", "reach", "clicks", "inline_link_clicks", "account_id", "ad_id"), pa.int64()),
    "spend": pa.float64(),
    "date_start": pa.date32(),
}


class FailingFileSystem(LocalFileSystem):
    """A folder that cannot be reached while `is_down`."""

    protocol = "failing"
    is_down = False

    def _open(self, path: str, *args: Any, **options: Any) -> Any:
        self._check()
        return super()._open(path, *args, **options)

    def info(self, path: str, **options: Any) -> Any:
        """Return what the folder says of a path."""
        self._check()
        return super().info(path, **options)

    def ls(self, path: str, *args: Any, **options: Any) -> Any:
        """Return the files of a folder."""
        self._check()
        return super().ls(path, *args, **options)

    def _check(self) -> None:
        if type(self).is_down:
            raise ConnectionResetError(104, "reset of https://reader:hush-hush-0123@files.example")


fsspec.register_implementation("failing", FailingFileSystem, clobber=True)


class ParquetContract(SourceContract):
    """The contract on a folder with a file for each account."""

    types: ClassVar[dict[str, Any]] = {}
    failures = frozenset({UpstreamFailure.UNREACHABLE, UpstreamFailure.ABSENT, UpstreamFailure.DAMAGED})
    secrets = ("hush-hush-0123",)
    folder: Path

    @pytest.fixture(autouse=True)
    def _files(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "ads"
        self.folder.mkdir()
        self.write()

    def make_source(self) -> ParquetSource:
        """Return a source over the folder."""
        return ParquetSource(f"failing://{self.folder}", TableOptions(data_zone=ZONE, currency="EUR"))

    def data(self) -> UpstreamData:
        """Return the sample rows; files have one zone and one currency."""
        sample = sample_data()
        accounts = (replace(item, data_zone=ZONE, reader_zone=ZONE, currency="EUR") for item in sample.accounts)
        return replace(sample, accounts=tuple(accounts))

    def write(self, changed: Row | None = None, field: str = "", value: Any = None) -> None:
        """Write the files, with another value in one field of one row."""
        data = self.data()
        for account in data.accounts:
            rows = [row for row in (*data.daily_rows, *data.zero_rows) if f"act_{row['account_id']}" == account.id]
            columns = {
                name: [self._typed(name, value if row == changed and name == field else row[name]) for row in rows]
                for name in (*data.fields, "date_start")
            }
            types = {name: self.types.get(name, pa.string()) for name in columns}
            table = pa.table({name: pa.array(values, types[name]) for name, values in columns.items()})
            pq.write_table(table, self.folder / f"{account.id}.parquet")

    def _typed(self, name: str, value: Any) -> Any:
        kind = self.types.get(name)
        if value is None:
            return None
        if kind is None:
            return str(value)
        return int(value) if kind == pa.int64() else float(value) if kind == pa.float64() else date.fromisoformat(value)

    @contextmanager
    def replace_value(self, row: Row, field: str, value: Any) -> Iterator[None]:
        """Write the files again."""
        if field in self.types and field != "date_start" and isinstance(value, str) and not value.isdecimal():
            raise CannotHold(f"{field} is a column of numbers")
        try:
            self.write(row, field, value)
        except (ValueError, OverflowError, pa.ArrowInvalid) as error:
            raise CannotHold(str(error)) from error
        yield
        self.write()

    @contextmanager
    def fail_upstream(self, failure: UpstreamFailure, account_id: str) -> Iterator[None]:
        """Refuse connections, rename the folder, or cut a file in half."""
        if failure is UpstreamFailure.UNREACHABLE:
            FailingFileSystem.is_down = True
        elif failure is UpstreamFailure.ABSENT:
            self.folder.rename(self.folder.with_name("gone"))
        else:
            path = self.folder / f"{account_id}.parquet"
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        try:
            yield
        finally:
            FailingFileSystem.is_down = False
            if failure is UpstreamFailure.ABSENT:
                self.folder.with_name("gone").rename(self.folder)
            self.write()


class TestTypedFiles(ParquetContract):
    """Columns with the types of their values."""

    types: ClassVar = TYPES


class TestTextFiles(ParquetContract):
    """Columns of text, as a loader that trusts no type writes them."""
