"""Columns that follow from others are stored as formulas where that pays, and every cell comes back as it was sent."""

from dataclasses import replace
from datetime import date, timedelta
from itertools import product
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.compression.document import Shape, WindowTable, encode_document, find_derived_columns, render_shape
from adwarm.foundation.errors import Corrupt
from adwarm.model import ColumnTable, Row, Window
from adwarm_client.derived_columns import FORMULAS, compute_column
from adwarm_client.document import CONTENT_TYPE, decode_document

from .client_documents import CASES
from .documents import make_document

COUNT = st.one_of(st.integers(0, 300).map(str), st.sampled_from(["", "-3", "1.5", "10000000000000000", "٣"]))
ITEM = st.fixed_dictionaries(
    {"action_type": st.sampled_from(["buy", "see", "like"])}, optional={"value": COUNT, "7d_click": COUNT}
)
ROW = st.fixed_dictionaries(
    {"ad_id": st.just("1")},
    optional={
        "spend": st.decimals(0, 10**4, places=2).map(str),
        "clicks": st.one_of(COUNT, st.integers(0, 9)),
        "impressions": COUNT,
        "actions": st.one_of(st.lists(ITEM, max_size=3), COUNT),
        "results": st.lists(st.fixed_dictionaries({"values": st.lists(ITEM, max_size=2)}), max_size=2),
    },
)
NAMES = ("ctr", "cpm", "cpc", "cost_per_action_type", "cost_per_result")


def _with_ratios(row: Row, other: dict[str, Any]) -> Row:
    """Return a row with its ratios, and other cells instead of some of them."""
    columns = {name: [row.get(name)] for name in ("spend", "clicks", "impressions", "actions", "results")}
    computed = {name: compute_column(columns, FORMULAS[name])[0] for name in NAMES}
    return {name: cell for name, cell in {**row, **computed, **other}.items() if cell is not None}


CELL = st.one_of(st.none(), COUNT, st.lists(ITEM, max_size=2), st.just(True))
TABLE = st.lists(
    st.builds(_with_ratios, ROW, st.one_of(st.just({}), st.dictionaries(st.sampled_from(NAMES), CELL, max_size=2))),
    max_size=12,
)


@given(TABLE)
def test_any_ratios_come_back(rows: list[Row]) -> None:
    """Ratios that follow, other texts, absent ones, lists with repeated types: a reader gets what was sent."""
    document = make_document(rows)
    raw = encode_document(document)
    assert decode_document(raw, CONTENT_TYPE) == document
    body = orjson.loads(render_shape(raw, Shape.ROWS))
    assert orjson.dumps(body["daily"], option=orjson.OPT_SORT_KEYS) == orjson.dumps(rows, option=orjson.OPT_SORT_KEYS)


@given(st.one_of(TABLE, st.tuples(TABLE, TABLE).map(lambda parts: [*parts[0], *parts[1]])), st.integers(1, 4))
def test_a_window_of_a_longer_one_is_written_as_by_itself(rows: list[Row], rows_per_day: int) -> None:
    """Documents of all windows within one are byte for byte those of their own rows, whatever the cells are."""
    first = date(2026, 11, 1)
    days = [first + timedelta(days=number // rows_per_day) for number in range(len(rows))]
    dated = [{**row, "date_start": str(day)} for row, day in zip(rows, days, strict=True)]
    whole = WindowTable.of(ColumnTable.from_rows(dated))
    for since, until in [(first, max(days, default=first)), *product([*dict.fromkeys(days)], repeat=2)]:
        if since <= until:
            document = make_document([row for row in dated if str(since) <= row["date_start"] <= str(until)])
            nested = replace(document, daily=whole.take_window(Window(since, until)))
            assert encode_document(nested) == encode_document(document)


@pytest.mark.parametrize("name", CASES)
def test_the_clients_documents_come_back(name: str) -> None:
    """The documents of the TypeScript tests are read to the same rows in Python."""
    document = make_document(*CASES[name])
    assert decode_document(encode_document(document), CONTENT_TYPE) == document


def _rows(*ctr: str | None) -> ColumnTable:
    return ColumnTable.from_rows([{"ad_id": "1", "clicks": "1", "impressions": "8", "ctr": text} for text in ctr])


def test_exceptions_are_stored_beside_the_formula() -> None:
    """A cell that differs, or is absent, is an exception with its row number."""
    column = {"ratio": ("clicks", "impressions"), "times": 100}
    assert find_derived_columns(_rows("12.5", "12.5"), {}) == {"ctr": column}
    exceptions = {"1": "12.500000", "3": None}
    found = find_derived_columns(_rows("12.5", "12.500000", "12.5", None, "12.5"), {})
    assert found == {"ctr": {**column, "exceptions": exceptions}}


def test_a_row_in_another_order_is_an_exception() -> None:
    """Costs of actions stay a formula when one row lists its types in another order."""
    rows: list[Row] = [
        _with_ratios(
            {"ad_id": "1", "spend": "3.00", "actions": [{"action_type": kind, "value": "4"} for kind in kinds]}, {}
        )
        for kinds in ["ba"] * 8 + ["ab"]
    ]
    document = make_document(rows)
    raw = encode_document(document)
    column = orjson.loads(raw)["daily"]["columns"]["cost_per_action_type"]
    assert (column["types"], [*column["exceptions"]]) == (["b", "a"], ["8"])
    assert decode_document(raw, CONTENT_TYPE) == document


def test_a_column_of_exceptions_is_stored_as_it_is() -> None:
    """With exceptions in most cells, or without the columns of its formula, a column is a list of its values."""
    for table in (_rows("12.50", "12.50", "12.5"), ColumnTable.from_rows([{"ctr": "1", "clicks": "1"}])):
        assert find_derived_columns(table, {}) == {}
        raw = encode_document(make_document(table.to_rows()))
        assert orjson.loads(raw)["daily"]["columns"]["ctr"] == table.columns["ctr"]


def test_a_malformed_formula_is_corrupt(subtests: pytest.Subtests) -> None:
    """A formula of a missing column, or of another form, is never read as something else."""
    body = orjson.loads(encode_document(make_document(_rows("12.5", "12.5").to_rows())))
    for column in [
        {"ratio": ["clicks", "ctr"]},
        {"ratio": ["clicks", "spend"]},
        {"ratio": ["clicks"]},
        {"ratio": ["clicks", "impressions"], "times": "2"},
        {"ratio": ["clicks", "impressions"], "types": "buy"},
        {"ratio": ["clicks", "impressions"], "exceptions": {"2": "1"}},
        {"ratio": ["clicks", "impressions"], "exceptions": {"x": "1"}},
        {"ratio": ["clicks", "impressions"], "exceptions": ["1"]},
    ]:
        body["daily"]["columns"]["ctr"] = column
        with subtests.test(column=column), pytest.raises(Corrupt, match="fetch it again"):
            decode_document(orjson.dumps(body), CONTENT_TYPE)
