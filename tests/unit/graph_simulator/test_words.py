"""Values are read as callers write them: commas, JSON, single quotes, brackets in names."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph_simulator.graph_errors import GraphError
from graph_simulator.parameters import folded, is_true, json_value, whole_number, word_list

WORDS = st.text(st.characters(blacklist_characters="'\"\\", blacklist_categories=("Cs", "Cc")), max_size=12)
VALUES = st.recursive(
    WORDS | st.integers(-(10**6), 10**6) | st.booleans() | st.none(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(WORDS, below, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_single_quotes_mean_what_double_quotes_mean(value: object) -> None:
    """JSON whose strings are in single quotes is read as the same value."""
    text = json.dumps(value, ensure_ascii=False)
    assert json_value("x", text.replace('"', "'")) == json_value("x", text) == value


def test_quotes_inside_of_strings() -> None:
    """A double quote in single ones, and an escaped single quote, are part of the text."""
    assert json_value("x", """{'name': 'say "yes"', 'more': 'it\\'s'}""") == {"name": 'say "yes"', "more": "it's"}


def test_keys_without_quotes() -> None:
    """The form of the platform's own examples is read: keys without quotes, strings with any."""
    text = """[{field:"ad.id",operator:'IN',value:['1',2]}]"""
    assert json_value("filtering", text) == [{"field": "ad.id", "operator": "IN", "value": ["1", 2]}]


@given(st.text(max_size=30))
def test_any_text_is_json_or_refused(text: str) -> None:
    """Nothing that a caller sends breaks the reading of it."""
    try:
        found = {"value": json_value("x", text)}
    except GraphError as refusal:
        found = {"code": refusal.code}
    assert found.get("code", 100) == 100


@pytest.mark.parametrize("text", ["{since:yesterday}", "NaN", "[1,]", "{'a'}", "{'a':1", "__import__('os')"])
def test_what_is_no_json(text: str) -> None:
    """Bare words as values, trailing commas and code are refused."""
    with pytest.raises(GraphError, match="x must be valid JSON"):
        json_value("x", text)


def test_lists_in_every_form() -> None:
    """Commas, JSON and single quotes mean the same list; an object is none."""
    assert word_list("a, b") == word_list('["a","b"]') == word_list("['a','b']") == ["a", "b"]
    with pytest.raises(GraphError):
        word_list("{'a':'b'}")


def test_brackets_in_names() -> None:
    """Bracketed names become one parameter of JSON: objects, lists with and without indexes, and lists of objects."""
    found = folded([
        ("level", "ad"),
        ("time_range[since]", "2026-11-01"),
        ("time_range[until]", "2026-11-07"),
        ("fields[]", "spend"),
        ("fields[]", "clicks"),
        ("filtering[0][field]", "ad.id"),
        ("filtering[0][value][0]", "1"),
    ])
    assert found["level"] == "ad"
    assert json.loads(found["time_range"]) == {"since": "2026-11-01", "until": "2026-11-07"}
    assert json.loads(found["fields"]) == ["spend", "clicks"]
    assert json.loads(found["filtering"]) == [{"field": "ad.id", "value": ["1"]}]


@given(st.lists(st.tuples(st.text("ab[].", max_size=12), st.text(max_size=3)), max_size=6))
def test_any_names_can_be_folded(items: list[tuple[str, str]]) -> None:
    """However brackets stand, every plain name stays and nothing breaks."""
    found = folded(items)
    assert {name for name, _ in items if "[" not in name} <= set(found)


def test_truths_and_numbers() -> None:
    """Booleans are words or digits; numbers are plain digits in range, however long the text."""
    assert [is_true("x", text) for text in ("true", "1", "False", "0")] == [True, True, False, False]
    with pytest.raises(GraphError):
        is_true("x", "yes")
    assert whole_number("07", 1, 90) == 7
    assert [whole_number(text, 1, 90) for text in ("0", "91", "-1", "٣", "9" * 5000)] == [None] * 5
