"""One notation finds a value in objects, lists, lists of keys and values, and text that holds JSON."""

from typing import Any

import orjson
import pytest

from adwarm.access_log.nested_values import find_source, find_value, flatten

ROW: dict[str, Any] = {
    "user": {"tz": "UTC", "ids": [7, 8]},
    "params": [
        {"key": "url", "value": {"string_value": "/a", "int_value": None}},
        {"key": "n", "value": {"int_value": 3}},
    ],
    "map": [("k", "v")],
    "text": orjson.dumps({"a": {"b": 1}, "$x.y": 2}).decode(),
    "plain": "x",
}


def test_each_path_of_a_row_finds_its_value_again(subtests: pytest.Subtests) -> None:
    """What is listed for people can be written into the settings as it is."""
    found = dict(flatten(ROW))
    assert found == {
        "user.tz": "UTC", "user.ids": 7, "params.url": "/a", "params.n": 3, "map.k": "v", "text.a.b": 1, "text.$x.y": 2,
        "plain": "x",
    }  # fmt: skip
    for path, value in found.items():
        with subtests.test(path=path):
            source = find_source(path, ROW)
            assert source is not None
            assert source.read([[ROW[column]] for column, _ in source.parts]) == [value]
    assert find_value(ROW["user"], "ids.1") == 8


def test_two_columns_are_joined() -> None:
    """The name of a column wins over a joint; an absent part is left out with the joint."""
    columns = {"date": ["2026-03-02"], "time": ["10:00"], "stem": ["/a"], "query": ["-"], "a b": [1]}
    for name, value in {"date time": "2026-03-02 10:00", "stem?query": "/a", "a b": 1}.items():
        source = find_source(name, columns)
        assert source is not None
        assert source.read([columns[column] for column, _ in source.parts]) == [value]
    assert find_source("date nothing", columns) is None
