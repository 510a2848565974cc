"""Columns of text: different texts, and numbers."""

import numpy as np
import pyarrow as pa

from adwarm.fatigue.text_columns import encode_column, get_column, parse_numbers


def test_each_different_text_has_a_code() -> None:
    """None is one of them; a column in several parts has one list of texts."""
    column = pa.chunked_array([["b", None], ["a", "b"]], pa.string())
    codes, texts = encode_column(get_column(pa.table({"x": column}), "x"))
    assert [texts[code] for code in codes] == ["b", None, "a", "b"]
    assert len(texts) == 3
    assert get_column(pa.table({"x": column}), "z").to_pylist() == [None] * 4


def test_numbers_are_parsed_and_invalid_ones_are_named() -> None:
    """Empty texts are unknown; a text that only Python reads as a number is read, too; another one has its reason."""
    table = pa.table({"ad_id": ["7", "8", "9"], "spend": ["1.5", "", None], "clicks": ["1_000", " 2 ", None]})
    for name, expected in (("spend", [1.5, np.nan, np.nan]), ("clicks", [1000, 2, np.nan]), ("reach", [np.nan] * 3)):
        numbers, bad = parse_numbers(table, name)
        np.testing.assert_array_equal(numbers, expected)
        assert bad == {}
    numbers, bad = parse_numbers(table, "spend", pa.array(["1", "-2", ""]))
    np.testing.assert_array_equal(numbers, [1, np.nan, np.nan])
    assert bad == {1: "None: ad 8: spend is '-2', not a number of 0 or more"}
