"""Reads insights rows strictly: identity, day, numbers, the weekly frequency, and columns of stored rows as text."""

import math
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from adwarm.foundation.errors import BadRequest

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
InsightsRow = Mapping[str, Any]
"""An insights row: numbers as numeric strings, days as ISO text, absent where zero or undefined."""

AdKey = tuple[str, str]
"""Account id and ad id."""

_TEXT: Final = pa.string()


def read_frequencies(rows: Iterable[InsightsRow]) -> dict[AdKey, float]:
    """Return each ad's frequency from range summaries of one week; ads without one are left out.

    Reach does not add up over days, so frequency can come from a range summary only.
    """
    frequencies: dict[AdKey, float] = {}
    for row in rows:
        ad, frequency, reach = read_ad_key(row), read_number(row, "frequency"), read_number(row, "reach")
        if not frequency and reach:
            frequency = read_number(row, "impressions") / reach
        if frequency:
            frequencies[ad] = max(frequency, frequencies.get(ad, 0.0))
    return frequencies


def read_ad_key(row: InsightsRow) -> AdKey:
    """Return the account id and ad id of a row.

    Raises:
        BadRequest: one is missing.
    """
    try:
        return str(row["account_id"]), str(row["ad_id"])
    except KeyError as error:
        raise BadRequest(f"an insights row has no {error}; ask for level=ad with account_id and ad_id") from None


def read_day(row: InsightsRow, name: str) -> date:
    """Return the day in a row's field.

    Raises:
        BadRequest: it is not a day.
    """
    value = row.get(name)
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise BadRequest(
            f"ad {row.get('ad_id')}: {name} is {str(value)[:40]!r}, not a day such as 2026-11-25"
        ) from None


def read_number(row: InsightsRow, name: str) -> float:
    """Return the number in a row's field, zero when it is absent.

    Raises:
        BadRequest: it is not a number of 0 or more.
    """
    value = row.get(name)
    if value is None or value == "":
        return 0.0
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise BadRequest(f"ad {row.get('ad_id')}: {name} is {str(value)[:40]!r}, not a number of 0 or more")
    return number


def get_column(table: pa.Table, name: str) -> pa.Array:
    """Return a column, nulls when the table does not have it."""
    if name not in table.column_names:
        return pa.nulls(table.num_rows, _TEXT)
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def encode_column(column: pa.Array) -> tuple[IntArray, list[str | None]]:
    """Return the index of each row's text in the list of different texts, and that list; None is one of them."""
    encoded = pc.dictionary_encode(column, null_encoding="encode")
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    indices: IntArray = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return indices, encoded.dictionary.to_pylist()


def parse_numbers(table: pa.Table, name: str, column: pa.Array | None = None) -> tuple[FloatArray, dict[int, str]]:
    """Return the numbers of a column, nan where a row has none, and why a row's is not a number of 0 or more, by row.

    Args:
        table: the rows, for their ads and days.
        column: its values, when not those of the table.
    """
    texts = get_column(table, name) if column is None else column
    try:
        values = pc.cast(pc.if_else(pc.equal(texts, ""), pa.scalar(None, _TEXT), texts), pa.float64())
    except pa.ArrowException:
        values = pa.array([-1.0])  # another text than a plain number
    numbers: FloatArray = values.to_numpy(zero_copy_only=False)
    if np.count_nonzero((numbers >= 0) & (numbers < np.inf)) == len(numbers) - values.null_count:
        return numbers, {}
    numbers, bad = np.full(len(texts), np.nan), {}
    for row, text in enumerate(texts.to_pylist()):
        if text:
            try:
                numbers[row] = read_number({"ad_id": get_column(table, "ad_id")[row].as_py(), name: text}, name)
            except BadRequest as error:
                bad[row] = f"{get_column(table, 'date_start')[row].as_py()}: {error}"
    return numbers, bad
