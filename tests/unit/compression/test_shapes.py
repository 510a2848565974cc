"""A document in every shape: the same rows, safe in spreadsheets, and bounded."""

import csv
import io
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.compression.document import (
    Shape,
    TableName,
    encode_document,
    parse_shape,
    parse_table,
    render_shape,
)
from adwarm.foundation.errors import BadRequest, Corrupt, TooMuchData
from adwarm.model import Row
from adwarm_client.document import Document

from .documents import ACTIONS, DAILY, SUMMARY, make_document


def _render(document: Document, shape: Shape, table: TableName = "daily") -> bytes:
    return render_shape(encode_document(document), shape, table)


def _read_csv(body: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(body.decode(), newline=""), strict=True))


def _one_cell(value: Any) -> str:
    return _read_csv(_render(make_document([{"ad_name": value, "ad_id": "1"}]), Shape.CSV))[1][1]


def test_columns_are_the_stored_bytes(document: Document) -> None:
    """A document is returned as it is."""
    raw = encode_document(document)
    assert render_shape(raw, Shape.COLUMNAR) is raw


def test_rows(document: Document) -> None:
    """The header, then both tables as lists of rows."""
    body = orjson.loads(_render(document, Shape.ROWS))
    assert (body["account_id"], body["complete"], body["currency"]) == ("act_1", True, "EUR")
    assert (body["summary"], body["daily"]) == (SUMMARY, DAILY)
    assert body["summary_metadata"] == {"fetched_at": "2026-11-25T12:00:00+00:00", "versions": 7, "missing": None}


def test_rows_of_a_single_day() -> None:
    """There is no summary."""
    body = orjson.loads(_render(make_document(DAILY), Shape.ROWS))
    assert (body["summary"], body["summary_metadata"], body["daily"]) == (None, None, DAILY)


def test_ndjson_is_a_row_per_line(document: Document) -> None:
    """Every line is a row of the chosen table, and ends with a line feed."""
    lines = _render(document, Shape.NDJSON).split(b"\n")
    assert [orjson.loads(line) for line in lines[:-1]] == DAILY
    assert lines[-1] == b""
    assert _render(document, Shape.NDJSON, "summary") == orjson.dumps(SUMMARY[0]) + b"\n"


def test_the_summary_of_a_single_day_is_its_rows() -> None:
    """A window of one day has one table, under both names."""
    document = make_document(DAILY[:1])
    for shape in (Shape.NDJSON, Shape.CSV, Shape.ARROW):
        assert _render(document, shape, "summary") == _render(document, shape)


def test_csv(document: Document) -> None:
    """Days first, then the query's fields in their order; lists are JSON, absent values empty, lines end with CRLF."""
    body = _render(document, Shape.CSV)
    header, *rows = _read_csv(body)
    assert header == ["date_start", "ad_id", "spend", "actions"]
    assert rows[0] == ["2026-11-18", "9007199254740993", "5.00", orjson.dumps(ACTIONS).decode()]
    assert rows[1][3] == ""
    assert body.count(b"\r\n") == 4
    assert b'"[{""action_type""' in body


def test_a_cell_is_never_a_formula(subtests: pytest.Subtests) -> None:
    """Text that a spreadsheet would run gets a quote in front, also in a column's name."""
    for text in ["=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\uff1d1", "-", "=-1"]:
        with subtests.test(text=text):
            assert _one_cell(text) == f"'{text}"
            assert f"'{text}" in _read_csv(_render(make_document([{text: "1"}]), Shape.CSV))[0]


def test_numbers_and_harmless_text_stay(subtests: pytest.Subtests) -> None:
    """Negative numbers stay numbers, and other text is not changed."""
    for text in ["-1.5", "-0", "-1e-7", "5", "", "a=b", "a-b", "'", "[1]"]:
        with subtests.test(text=text):
            assert _one_cell(text) == text


@pytest.mark.parametrize(
    ("value", "cell"), [(-1.5, "-1.5"), (-7, "-7"), (True, "true"), (["=1"], '["=1"]'), (-1e-9, "-1e-9")]
)
def test_other_values_are_json(value: Any, cell: str) -> None:
    """Numbers, booleans and lists are written as JSON."""
    assert _one_cell(value) == cell


@given(st.lists(st.dictionaries(st.text(max_size=4), st.text(max_size=8), min_size=2, max_size=3), max_size=5))
def test_any_text_survives_csv(rows: list[Row]) -> None:
    """Quotes, commas and line breaks come back; no cell begins a formula."""
    header, *cells = _read_csv(_render(make_document(rows), Shape.CSV)) if any(rows) else [[], *rows]
    expected = make_document(rows).daily
    assert len(cells) == len(rows)
    for place, (name, values) in enumerate(sorted(expected.columns.items())):
        assert header[place].removeprefix("'") == name.removeprefix("'")
        assert [row[place].removeprefix("'") for row in cells] == [(text or "").removeprefix("'") for text in values]
    assert not [cell for row in [header, *cells] for cell in row if cell[:1] in set("=+@\t\r\n")]


def test_arrow(document: Document) -> None:
    """Text stays text, actions are lists of structs, and the header is in the schema."""
    table = pa.ipc.open_stream(_render(document, Shape.ARROW)).read_all()
    assert table.column_names == ["date_start", "ad_id", "spend", "actions"]
    assert table.schema.field("ad_id").type == pa.string()
    assert pa.types.is_struct(table.schema.field("actions").type.value_type)
    assert table["actions"].to_pylist()[0][0] == {"7d_click": "2", "action_type": "link_click", "value": "3"}
    assert table["actions"].to_pylist()[1] is None
    assert orjson.loads(table.schema.metadata[b"adwarm.header"])["account_id"] == "act_1"


@pytest.mark.parametrize("values", [[1, "a"], [2**63, 1], [[{"a": 1}], [{"a": "b"}]], [True, 1]])
def test_mixed_types_are_json_in_arrow(values: list[Any]) -> None:
    """A column without a common type is JSON text, and its field says so."""
    document = make_document([{"ad_id": "1", "odd": value} for value in values])
    table = pa.ipc.open_stream(_render(document, Shape.ARROW)).read_all()
    assert table.schema.field("odd").metadata == {b"adwarm.encoding": b"json"}
    assert [orjson.loads(text) for text in table["odd"].to_pylist()] == values


def test_groups_without_a_name_stay_rows_of_their_own() -> None:
    """An empty name, `unknown` and none are three groups; in CSV an empty name is quoted, and none is an empty cell."""
    names = ("NO", "", "unknown", None)
    rows = [{"ad_id": "1", "date_start": "2026-11-24", **({} if name is None else {"country": name})} for name in names]
    document = make_document(rows)
    lines = _render(document, Shape.CSV).decode().split("\r\n")
    assert [line.rsplit(",", 1)[1] for line in lines[1:-1]] == ["NO", '""', "unknown", ""]
    table = pa.ipc.open_stream(_render(document, Shape.ARROW)).read_all()
    assert table.column("country").to_pylist() == list(names)
    assert [orjson.loads(line) for line in _render(document, Shape.NDJSON).splitlines()] == rows


@pytest.mark.parametrize("shape", Shape)
def test_empty_reports_have_every_shape(shape: Shape) -> None:
    """A report without rows is not an error."""
    assert _render(make_document([], []), shape) is not None


def test_a_huge_report_is_only_columnar(document: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the message says what to do, and columns are still returned."""
    monkeypatch.setattr("adwarm.compression.document.MAX_CELLS", 5)
    for shape in (Shape.ROWS, Shape.NDJSON, Shape.CSV, Shape.ARROW):
        with pytest.raises(TooMuchData, match="columnar"):
            _render(document, shape)
    assert _render(document, Shape.COLUMNAR)


def test_unknown_names_are_refused() -> None:
    """The message lists what there is."""
    assert (parse_shape("csv"), parse_table("summary")) == (Shape.CSV, "summary")
    with pytest.raises(BadRequest, match="columnar, rows, ndjson, csv, arrow"):
        parse_shape("xml")
    with pytest.raises(BadRequest, match="daily and summary"):
        parse_table("hourly")


def test_another_format_has_no_shape(document: Document) -> None:
    """A document of a newer version is refused in every shape that is made of it."""
    newer = orjson.dumps({**orjson.loads(encode_document(document)), "format_version": 4})
    for shape in set(Shape) - {Shape.COLUMNAR}:
        with pytest.raises(Corrupt):
            render_shape(newer, shape)
