"""Reads row counts and statistics from an untrusted Parquet footer.

pyarrow aborts the process when it reads the statistics of some damaged footers, so they are parsed here. The footer is
encoded in Thrift's compact protocol: <https://parquet.apache.org/docs/file-format/metadata/>.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from adwarm.foundation.errors import BadRequest

_, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(13)
_ROW_GROUPS, _COLUMNS, _ROWS, _META, _STATISTICS = 4, 1, 3, 3, 12
_OLD_MAX, _OLD_MIN, _MAX, _MIN = 1, 2, 5, 6
_TAIL = 8
_PARSE_ERRORS = (IndexError, KeyError, TypeError, ValueError, RecursionError)

Fields = dict[int, Any]


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group as the footer describes it.

    Attributes:
        min_value: the smallest value of the column, as stored; None when the footer has no statistics.
    """

    rows: int
    min_value: bytes | None
    max_value: bytes | None


def row_groups(source: IO[bytes], column: int) -> list[RowGroup]:
    """Return the row groups of a Parquet file, with the statistics of the column of that number.

    Raises:
        BadRequest: the footer is damaged.
    """
    end = source.seek(0, io.SEEK_END)
    source.seek(max(end - _TAIL, 0))
    size = int.from_bytes(source.read(_TAIL)[:4], "little")
    if size > end - _TAIL:
        raise BadRequest("its footer is longer than the file")
    source.seek(end - _TAIL - size)
    try:
        return _parse_row_groups(_CompactReader(source.read(size)), column)
    except _PARSE_ERRORS as error:
        raise BadRequest(f"its footer is damaged: {error!r}"[:200]) from error


def _parse_row_groups(thrift: "_CompactReader", column: int) -> list[RowGroup]:
    def statistics() -> Fields:
        return thrift.struct(dict.fromkeys((_OLD_MAX, _OLD_MIN, _MAX, _MIN), thrift.binary))

    def chunk() -> Fields:
        return thrift.struct({_META: lambda: thrift.struct({_STATISTICS: statistics})})

    def group() -> Fields:
        return thrift.struct({_COLUMNS: lambda: thrift.item(column, chunk), _ROWS: thrift.number})

    footer = thrift.struct({_ROW_GROUPS: lambda: list(thrift.items(group))})
    return [_to_row_group(group) for group in footer[_ROW_GROUPS]]


def _to_row_group(group: Fields) -> RowGroup:
    stats = group[_COLUMNS].get(_META, {}).get(_STATISTICS, {})
    if group[_ROWS] < 0:
        raise ValueError(f"{group[_ROWS]} rows")
    return RowGroup(group[_ROWS], stats.get(_MIN, stats.get(_OLD_MIN)), stats.get(_MAX, stats.get(_OLD_MAX)))


class _CompactReader:
    """Reads values of the compact protocol in sequence and skips those that are not needed."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def struct(self, field_readers: Mapping[int, Callable[[], Any]]) -> Fields:
        """Return the fields of a struct that have a reader, by number."""
        fields: Fields = {}
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self.number()
            if field in field_readers:
                fields[field] = field_readers[field]()
            else:
                self._skip(head & 15)
        return fields

    def items(self, read: Callable[[], Any]) -> Iterator[Any]:
        """Yield the items of a list."""
        size, _ = self._list_head()
        for _ in range(size):
            yield read()

    def item(self, number: int, read: Callable[[], Any]) -> Any:
        """Return one item of a list that must have it."""
        size, kind = self._list_head()
        if number >= size:
            raise ValueError(f"a list of {size} without the item {number}")
        value = None
        for index in range(size):
            if index == number:
                value = read()
            else:
                self._skip(kind)
        return value

    def number(self) -> int:
        """Return an integer of any width."""
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def binary(self) -> bytes:
        """Return bytes."""
        size = self._varint()
        self._at += size
        return self._data[self._at - size : self._at]

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a number of more than 64 bits")

    def _list_head(self) -> tuple[int, int]:
        head = self._byte()
        return (head >> 4 if head >> 4 < 15 else self._varint()), head & 15

    def _skip(self, kind: int) -> None:
        if kind in {_I16, _I32, _I64}:
            self._varint()
        elif kind == _BINARY:
            self.binary()
        elif kind in {_BYTE, _DOUBLE}:
            self._at += 1 if kind == _BYTE else 8
        elif kind == _STRUCT:
            self.struct({})
        elif kind in {_LIST, _SET}:
            size, inner = self._list_head()
            self._skip_many(size, [inner])
        elif kind == _MAP:
            size = self._varint()
            kinds = self._byte() if size else 0
            self._skip_many(size, [kinds >> 4, kinds & 15])
        elif kind not in {_TRUE, _FALSE}:  # booleans have no bytes of their own
            raise ValueError(f"a value of the unknown kind {kind}")

    def _skip_many(self, size: int, kinds: list[int]) -> None:
        for _ in range(size):
            for kind in kinds:
                self._skip(_BYTE if kind in {_TRUE, _FALSE} else kind)
            if self._at > len(self._data):
                raise ValueError("a list beyond the end")
