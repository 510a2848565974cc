"""The TypeScript client is tested with documents as they are stored."""

import orjson

from .client_documents import FILE, encode_cases


def test_the_documents_of_the_typescript_tests_are_current() -> None:
    """They are what `encode_document` writes; `python -m tests.unit.compression.client_documents` renews them."""
    assert FILE.read_bytes() == encode_cases()


def test_they_have_every_form_of_a_column() -> None:
    """Plain lists, lists per type, a type that names another one, exceptions, lists that are not pivoted, formulas."""
    columns = [
        column
        for case in orjson.loads(encode_cases()).values()
        for table in (case["document"]["daily"], case["document"]["summary"])
        if table is not None
        for column in table["columns"].values()
    ]
    pivoted = [column for column in columns if isinstance(column, dict) and "by" in column]
    assert {"ratio", "times", "types", "exceptions"} == {
        key for column in columns if isinstance(column, dict) and "ratio" in column for key in column
    }
    assert any(isinstance(column, list) and isinstance(column[0], list) for column in columns)
    assert any("exceptions" in column for column in pivoted)
    assert {type(own) for column in pivoted for own in column["items"].values()} == {str, dict}
