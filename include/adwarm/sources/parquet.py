"""Daily rows in Parquet files: one file, a folder (Hive partitions included), or any fsspec URL of either."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from fsspec.core import url_to_fs

from adwarm.foundation.errors import BadRequest, StorageError
from adwarm.foundation.redaction import register_url
from adwarm.foundation.remote_files import translating_remote_errors
from adwarm.foundation.storage import SOURCE_SETTING, find_family, options_for, translating_storage_errors
from adwarm.model import Window, spell_account_id
from adwarm.sources.tabular import Owner, TableOptions, TabularSource, day_bounds


class ParquetSource(TabularSource):
    """Parquet files as a source. The files are listed again for every report, so new ones are found."""

    name = "parquet"

    def __init__(self, url: str, options: TableOptions | None = None) -> None:
        super().__init__(options)
        register_url(url)
        self._url = url

    def _dataset(self) -> Any:
        options = options_for(self._url, SOURCE_SETTING)
        with self._typed_errors():
            try:
                files, path = url_to_fs(self._url, **options)
            except ValueError as error:
                raise BadRequest(f"the Parquet source cannot be opened ({type(error).__name__})") from None
            return ds.dataset(path, filesystem=files, format="parquet", partitioning="hive")

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        """Raise adwarm's errors for those of files; the errors of file systems may contain a URL with its secrets."""
        translating = translating_remote_errors if find_family(self._url) else translating_storage_errors
        try:
            with translating(self._url, SOURCE_SETTING):
                try:
                    yield
                except FileNotFoundError:
                    raise BadRequest("the Parquet source is not there; check ADWARM_SOURCE__URL") from None
                except pa.ArrowInvalid:
                    raise BadRequest("a file of the Parquet source is damaged, or no Parquet; write it again") from None
        except StorageError as error:
            raise error from None

    def _columns(self) -> Sequence[str]:
        return list(self._dataset().schema.names)

    def _distinct(self, columns: Sequence[str], owner: Owner) -> Iterable[tuple[Any, ...]]:
        dataset, names = self._dataset(), list(dict.fromkeys(columns))
        account_filter = _of_account(dataset.schema, owner)
        values: set[tuple[Any, ...]] = set()
        with self._typed_errors():
            for batch in dataset.scanner(columns=names, filter=account_filter).to_batches():
                distinct = pa.Table.from_batches([batch]).group_by(names).aggregate([])
                values.update(tuple(row[name] for name in columns) for row in distinct.to_pylist())
        return values

    def _has_account(self, owner: Owner) -> bool:
        dataset = self._dataset()
        with self._typed_errors():
            rows = dataset.head(1, columns=list(owner), filter=_of_account(dataset.schema, owner))
            return bool(rows.num_rows)

    def _load(self, owner: Owner, window: Window, day: str, columns: Sequence[str]) -> Iterable[Mapping[str, Any]]:
        dataset = self._dataset()
        row_filter = _of_days(dataset.schema, day, window, self._options.day_zone)
        row_filter &= _of_account(dataset.schema, owner)
        with self._typed_errors():
            rows: list[dict[str, Any]] = dataset.to_table(columns=list(columns), filter=row_filter).to_pylist()
        return rows


def _of_account(schema: Any, owner: Owner) -> Any:
    rows = pc.scalar(True)
    for column, account in owner.items():
        names = spell_account_id(account)
        if pa.types.is_integer(schema.field(column).type):
            rows &= pc.field(column).isin([int(name) for name in names if name.isdecimal()])
        else:
            rows &= pc.field(column).cast(pa.string()).isin(names)
    return rows


def _of_days(schema: Any, column: str, window: Window, day_zone: str) -> Any:
    kind = schema.field(column).type
    if pa.types.is_timestamp(kind):
        bounds = day_bounds(datetime, window, day_zone if kind.tz else None)
        first, end = (pa.scalar(value, pa.timestamp("us", kind.tz)) for value in bounds)
    elif pa.types.is_date(kind):
        first, end = (pa.scalar(value, pa.date32()) for value in day_bounds(date, window))
    else:
        first, end = day_bounds(str, window)
    return (pc.field(column) >= first) & (pc.field(column) < end)
