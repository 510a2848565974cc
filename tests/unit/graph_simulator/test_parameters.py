"""Values are read as callers write them: commas, JSON, single quotes, brackets in names."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph_simulator.graph_errors import GraphError
from graph_simulator.parameters import boolean, fold_parameters, json_value, string_list, whole_number
from tests.unit.graph_simulator.conftest import RANGE, Driven, drive, error_of

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
    assert string_list("a, b") == string_list('["a","b"]') == string_list("['a','b']") == ["a", "b"]
    with pytest.raises(GraphError):
        string_list("{'a':'b'}")


def test_brackets_in_names() -> None:
    """Bracketed names become one parameter of JSON: objects, lists with and without indexes, and lists of objects."""
    found = fold_parameters([
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
    found = fold_parameters(items)
    assert {name for name, _ in items if "[" not in name} <= set(found)


def test_truths_and_numbers() -> None:
    """Booleans are words or digits; numbers are plain digits in range, however long the text."""
    assert [boolean("x", text) for text in ("true", "1", "False", "0")] == [True, True, False, False]
    with pytest.raises(GraphError):
        boolean("x", "yes")
    assert whole_number("07", 1, 90) == 7
    assert [whole_number(text, 1, 90) for text in ("0", "91", "-1", "٣", "9" * 5000)] == [None] * 5


QUICK = {"reports": {"base_seconds": 0, "full_seconds": 0, "spread": 0, "seconds_per_1000_cells": 0}}


def message(driven: Driven, path: str, method: str = "GET", **params: str) -> str:
    """The message of a refusal."""
    return str(json.loads(driven.call(path, method, **params).body)["error"]["message"])


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("act_1/insights", "GET"), ("act_1/insights", "POST"), ("{run}", "GET"), ("{run}/insights", "GET"),
        ("act_1", "GET"), ("me/adaccounts", "GET"), ("act_1/campaigns", "GET"), ("", "POST"), ("", "GET"),
    ],
)  # fmt: skip
def test_an_unknown_word_is_refused_everywhere(path: str, method: str) -> None:
    """Whatever is called, a parameter that it does not take is code 100 and named."""
    driven = drive(QUICK)
    envelope = {"POST": {"batch": '[{"method":"GET","relative_url":"act_1"}]'}, "GET": {"ids": "act_1"}}
    given = {} if path else envelope[method]
    assert driven.call(path.format(run=driven.submit()), method, **given).status == 200
    assert "since" in message(driven, path.format(run=driven.submit()), method, **given, since="2026-11-01")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("default_summary", "maybe"), ("action_report_time", "noon"), ("use_unified_attribution_setting", "x"),
        ("format", "xml"), ("locale", "de_DE"), ("pretty", "very"), ("export_format", "csv"), ("callback", "f"),
        ("time_range", "{'since':'2026-11-01','until':'2026-11-02','zone':'UTC'}"),
        ("time_range", '{"since":"20261101","until":"20261102"}'),
        ("filtering", '[{"field":"ad.id","operator":"IN","value":["1"],"more":1}]'),
        ("filtering", '[{"field":"ad.name","operator":"CONTAIN","value":"x"}]'),
    ],
)  # fmt: skip
def test_values_that_are_none(name: str, value: str) -> None:
    """A value that a parameter cannot have is refused, also where the parameter changes nothing."""
    assert error_of(drive().insights(**{name: value})) == (100, None)


def test_words_without_effect() -> None:
    """What the platform says has no effect any more is taken, and has none."""
    driven = drive()
    plain = driven.insights().body
    said = {"action_report_time": "conversion", "use_unified_attribution_setting": "true", "graph_cache": "0"}
    assert driven.insights(**said).body == plain


def test_a_body_made_readable_and_a_status_hidden() -> None:
    """`pretty` indents, and `suppress_http_code` makes a refusal HTTP 200."""
    driven = drive()
    assert b"\n  " in driven.call("act_1", pretty="1").body
    refused = driven.call("nothing", suppress_http_code="1")
    assert (refused.status, error_of(refused)) == (200, (100, 33))


def test_post_with_method_get_is_a_get() -> None:
    """`method` says what is done: POST with `method=get` answers rows, GET with `method=post` makes a report."""
    driven = drive(QUICK)
    asked = {"level": "ad", "fields": "ad_id", "time_range": RANGE}
    rows = json.loads(driven.call("act_1/insights", **asked).body)["data"]
    assert json.loads(driven.call("act_1/insights", "POST", method="get", **asked).body)["data"] == rows
    assert "report_run_id" in json.loads(driven.call("act_1/insights", method="post", **asked).body)


def test_a_report_is_deleted() -> None:
    """After DELETE, or `method=delete`, a report is not there any more, and cannot be deleted again."""
    driven = drive(QUICK)
    for method, params in (("DELETE", {}), ("POST", {"method": "delete"})):
        run = driven.submit()
        assert json.loads(driven.call(run, method, **params).body) == {"success": True}
        assert error_of(driven.call(run)) == (100, 33)
        assert error_of(driven.call(f"{run}/insights")) == (100, 33)
        assert error_of(driven.call(run, method, **params)) == (100, 33)


@pytest.mark.parametrize(
    ("path", "method", "words"),
    [
        ("act_1", "DELETE", "Unsupported delete request"), ("act_1", "POST", "Unsupported post request"),
        ("act_1/insights", "DELETE", "Unsupported delete request"), ("act_1/campaigns", "POST", "Unsupported post"),
        ("me/adaccounts", "POST", "Unsupported post request"), ("act_1", "PUT", "Unsupported put request"),
        ("{run}", "POST", "Unsupported post request"), ("{run}/insights", "POST", "Unsupported post request"),
        ("", "DELETE", "Unsupported delete request"), ("act_1/pixels", "GET", "Unknown path components: /pixels"),
    ],
)  # fmt: skip
def test_what_an_object_cannot_do(path: str, method: str, words: str) -> None:
    """A verb that a path does not have is refused as the platform refuses it."""
    driven = drive(QUICK)
    assert words in message(driven, path.format(run=driven.submit()), method)


def test_a_mistake_is_the_callers_own() -> None:
    """A refused word counts as an error of the caller's, which the limits take into account."""
    driven = drive({"quota": {"headers_above": 0, "tier": "development_access", "base_calls": 10, "calls_per_ad": 0}})
    for _ in range(3):
        assert error_of(driven.insights(shoe_size="43")) == (100, None)
    assert driven.platform.quota.headers("act_1", driven.platform.clock.now(), insights=True)[
        "X-Business-Use-Case-Usage"
    ]
