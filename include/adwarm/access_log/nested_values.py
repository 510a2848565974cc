"""Finds a value in a row by the one notation of the settings, the same in every format.

`user.tz` is the value `tz` in the column `user`: of a JSON object, a Parquet struct or map, or text that holds JSON. A
number is the index of a list, and a name finds the entry of a list of keys and values, as analytics tools write them:
`event_params.page_location`. `date time` and `cs-uri-stem?cs-uri-query` join the values of two columns.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

JOINTS = (" ", "?")
_KEYS, _VALUES = ("key", "name"), ("value", "values")
_TYPED = "_value"
"""Ends the names of a value that has one column for each type, such as `string_value`."""
_ABSENT = (None, "", "-")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a field is read.

    Attributes:
        parts: each column with the path to the value within it; an empty path means the column's value itself.
        joint: stands between the values of several columns.
    """

    parts: tuple[tuple[str, str], ...]
    joint: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether it is the value of one column as it is."""
        return len(self.parts) == 1 and not self.parts[0][1]

    def read(self, columns: Sequence[Sequence[Any]]) -> list[Any]:
        """Return the value of each row, given the values of the columns of `parts`."""
        part_values = [
            values if not path else [find_value(value, path) for value in values]
            for (_, path), values in zip(self.parts, columns, strict=True)
        ]
        if len(part_values) == 1:
            return list(part_values[0])
        return [self._join(row) for row in zip(*part_values, strict=True)]

    def _join(self, values: Sequence[Any]) -> str | None:
        return self.joint.join(str(value) for value in values if value not in _ABSENT) or None


def find_source(name: str, available: Collection[str]) -> Source | None:
    """Return where the column or path `name` of the settings is read; None when no column begins it."""
    part = _find_part(name, available)
    if part is not None:
        return Source((part,))
    for joint in JOINTS:
        parts = [_find_part(word, available) for word in name.split(joint)]
        if len(parts) > 1 and all(parts):
            return Source(tuple(part for part in parts if part is not None), joint)
    return None


def _find_part(name: str, available: Collection[str]) -> tuple[str, str] | None:
    """Return the column and the rest of the path; the longest name of a column wins."""
    column, rest = name, ""
    while column:
        if column in available:
            return column, rest
        column, _, last = column.rpartition(".")
        rest = f"{last}.{rest}" if rest else last
    return None


def find_value(value: Any, path: str) -> Any:
    """Return the value at a dotted path; None when there is none. A list at the end gives its first value."""
    value = _open_text(value)
    if isinstance(value, Mapping):
        if path in value:
            return _to_scalar(value[path])
        head, dot, rest = path.partition(".")
        return find_value(value.get(head), rest) if dot else None
    if not isinstance(value, (list, tuple)):
        return None
    head, _, rest = path.partition(".")
    if head.isdecimal():
        inner = value[int(head)] if int(head) < len(value) else None
    else:
        inner = next((item for key, item in list_pairs(value) if key == head), None)
    return find_value(inner, rest) if rest else _to_scalar(inner)


def list_pairs(value: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the keys and values of a list of such pairs; nothing of another list."""
    for item in value:
        if isinstance(item, tuple) and len(item) == 2:
            yield str(item[0]), item[1]
        elif isinstance(item, Mapping):
            key = next((item[name] for name in _KEYS if name in item), None)
            held = [name for name in item if name in _VALUES]
            if isinstance(key, str) and held:
                yield key, _to_scalar(item[held[0]])


def flatten(item: Mapping[str, Any], depth: int = 4) -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of each plain value in a row; each path finds the value again."""
    for name, raw in item.items():
        value = _open_text(raw)
        value = dict(list_pairs(value)) or _to_scalar(value) if isinstance(value, (list, tuple)) else value
        value = _to_scalar(value)
        if isinstance(value, Mapping):
            if depth > 1:
                yield from ((f"{name}.{path}", leaf) for path, leaf in flatten(value, depth - 1))
        elif not isinstance(value, (list, tuple)):
            yield str(name), value


def _open_text(value: Any) -> Any:
    """Return the object or list that text holds as JSON; any other value as it is."""
    if isinstance(value, str) and value[:1] in {"{", "["}:
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def _to_scalar(value: Any) -> Any:
    """Return the first value of a list, and of a value with a column for each type the one that is there."""
    if isinstance(value, (list, tuple)):
        return value[0] if value else value
    if isinstance(value, Mapping) and value and all(str(name).endswith(_TYPED) for name in value):
        return next((held for held in value.values() if held is not None), None)
    return value
