"""Columns of actions are pivoted by type, and every cell comes back exactly as it was."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.compression.action_columns import pivot
from adwarm.foundation.errors import Corrupt
from adwarm_client.document import unpivot_column

TYPES = st.sampled_from(["link_click", "purchase", "video_view", "omni_purchase"])
VALUES = st.one_of(
    st.none(), st.text(max_size=3), st.integers(-9, 9), st.booleans(), st.lists(st.integers(-9, 9), max_size=2)
)
ITEMS = st.one_of(
    st.fixed_dictionaries({"action_type": TYPES, "value": st.from_regex(r"[0-9]{1,3}", fullmatch=True)}),
    st.fixed_dictionaries({"action_type": TYPES}, optional={"value": VALUES, "7d_click": VALUES}),
    st.dictionaries(st.sampled_from(["action_type", "value"]), VALUES, max_size=2),
    VALUES,
)
CELLS = st.one_of(st.none(), st.lists(ITEMS, max_size=5), VALUES)
REGULAR = st.lists(st.tuples(TYPES, st.text(max_size=3)), max_size=4, unique_by=lambda pair: pair[0]).map(
    lambda pairs: [{"action_type": kind, "value": value} for kind, value in sorted(pairs)]
)


def _pivot(cells: list[Any]) -> Any:
    """Return a column as a document of its JSON has it."""
    found = pivot(cells)
    return orjson.loads(orjson.dumps(cells if found is None else found.to_json(cells)))


def _items(*kinds: str) -> list[dict[str, str]]:
    return [{"action_type": kind, "value": str(number)} for number, kind in enumerate(kinds)]


@given(st.one_of(st.lists(CELLS, max_size=12), st.lists(st.one_of(st.none(), REGULAR), max_size=40)))
def test_every_cell_comes_back(cells: list[Any]) -> None:
    """Whatever a source sends: repeated types, items without a type, nulls, empty lists, any order, other values."""
    assert unpivot_column(_pivot(cells), len(cells)) == cells


@given(st.lists(CELLS, max_size=4), st.integers(200, 600), st.lists(st.one_of(CELLS, REGULAR), max_size=4))
def test_rows_far_apart_come_back(first: list[Any], gap: int, last: list[Any]) -> None:
    """A type that some hundreds of rows do not have, or that comes late, has a value per row as well."""
    regular = _items("purchase", "video_view")
    for filler in (None, regular):
        cells = [regular, *first, *[filler] * gap, *last, regular]
        column = _pivot(cells)
        assert unpivot_column(column, len(cells)) == cells
        assert filler is None or isinstance(column, dict)


@given(st.lists(REGULAR.filter(bool), min_size=1, max_size=40))
def test_ordinary_columns_are_pivoted(cells: list[Any]) -> None:
    """Lists whose types have a common order are pivoted, without exceptions."""
    column = _pivot(cells)
    assert isinstance(column, dict)
    assert "exceptions" not in column
    lists = [values for own in column["items"].values() if isinstance(own, dict) for values in own.values()]
    assert {len(values) for values in lists} == {len(cells)}


def test_the_form_of_a_pivoted_column() -> None:
    """One list per type and field, as long as the table, in an order that suits every row."""
    cells = [_items("b", "c"), None, _items("a", "b"), [{"action_type": "c", "7d_click": 1.5, "value": "9"}]]
    assert _pivot(cells) == {
        "by": "action_type",
        "items": {
            "a": {"value": [None, None, "0", None]},
            "b": {"value": ["0", None, "1", None]},
            "c": {"7d_click": [None, None, None, 1.5], "value": ["1", None, None, "9"]},
        },
    }


def test_a_few_odd_cells_are_exceptions(subtests: pytest.Subtests) -> None:
    """The column stays pivoted, and the odd cell is stored as it is."""
    for odd in [
        [],
        _items("b", "a"),
        _items("a", "a"),
        [{"value": "1"}],
        [{"action_type": "a"}],
        [{"action_type": 1, "value": "1"}],
        [{"action_type": "a", "value": None}],
        [{"action_type": "a", "value": "1"}, "text"],
        {"action_type": "a", "value": "1"},
        "text",
    ]:
        with subtests.test(odd=odd):
            cells = [_items("a", "b")] * 20 + [odd]
            column = _pivot(cells)
            assert isinstance(column, dict)
            assert column["exceptions"] == {"20": odd}
            assert unpivot_column(column, 21) == cells


def test_the_order_of_most_rows_counts() -> None:
    """One row in another order is an exception, whichever type has the smaller name."""
    cells = [_items("b", "x", "a")] * 20 + [_items("a", "b")]
    column = _pivot(cells)
    assert isinstance(column, dict)
    assert list(column["items"]) == ["b", "x", "a"]
    assert column["exceptions"] == {"20": cells[20]}
    assert unpivot_column(column, 21) == cells


def test_equal_types_share_their_lists() -> None:
    """A type with the lists of an earlier one has that one's name; values that differ in JSON alone do not count."""
    cells: list[Any] = [
        [{"action_type": kind, "value": value} for kind, value in (("a", text), ("b", text), ("c", 1), ("d", True))]
        for text in "xy"
    ]
    column = _pivot(cells)
    assert isinstance(column, dict)
    assert column["items"] == {
        "a": {"value": ["x", "y"]},
        "b": "a",
        "c": {"value": [1, 1]},
        "d": {"value": [True, True]},
    }
    restored = unpivot_column(column, 2)
    assert orjson.dumps(restored) == orjson.dumps(cells)


def test_many_odd_cells_stay_lists() -> None:
    """A column with breakdowns, whose types repeat in every row, is not pivoted."""
    cells = [_items("a", "a")] * 20
    assert _pivot(cells) == cells


def test_rare_types_stay_lists() -> None:
    """A column in which every row has its own type would be nulls mostly."""
    cells = [_items(f"custom.{number}") for number in range(100)]
    assert _pivot(cells) == cells


def test_a_new_row_does_not_change_the_order_of_types() -> None:
    """The order depends on which types follow each other, not on which row comes first."""
    cells = [_items("x", "c"), _items("a", "x"), _items("a", "b", "c")]
    first, second = _pivot(cells), _pivot(cells[::-1])
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert list(first["items"]) == list(second["items"]) == ["a", "b", "x", "c"]


def test_a_malformed_column_is_corrupt(subtests: pytest.Subtests) -> None:
    """A column of another form or length is never read as something else."""
    for column in [
        ["too", "short"],
        {"by": "action_device", "items": {}},
        {"by": "action_type"},
        {"by": "action_type", "items": {"a": {"value": ["1"]}}},
        {"by": "action_type", "items": {"a": ["1", "2", "3"]}},
        {"by": "action_type", "items": {"a": "b"}},
        {"by": "action_type", "items": {"a": "a"}},
        {"by": "action_type", "items": {}, "exceptions": {"3": []}},
        {"by": "action_type", "items": {}, "exceptions": {"-1": []}},
        {"by": "action_type", "items": {}, "exceptions": {"x": []}},
        "text",
        None,
    ]:
        with subtests.test(column=column), pytest.raises(Corrupt, match="fetch it again"):
            unpivot_column(column, 3)
