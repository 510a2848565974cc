"""Parameters are accepted in all forms that clients use, and unknown ones are errors."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph_simulator.error_responses import GraphError
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
    """JSON with single quotes is read as the same value."""
    text = json.dumps(value, ensure_ascii=False)
    assert json_value("x", text.replace('"', "'")) == json_value("x", text) == value


def test_quotes_inside_of_strings() -> None:
    """A double quote within single quotes, and an escaped single quote, are part of the text."""
    assert json_value("x", """{'name': 'say "yes"', 'more': 'it\\'s'}""") == {"name": 'say "yes"', "more": "it's"}


def test_keys_without_quotes() -> None:
    """The form of the platform's own examples is accepted: keys without quotes, strings with either quote."""
    text = """[{field:"ad.id",operator:'IN',value:['1',2]}]"""
    assert json_value("filtering", text) == [{"field": "ad.id", "operator": "IN", "value": ["1", 2]}]


@given(st.text(max_size=30))
def test_any_text_is_json_or_an_error(text: str) -> None:
    """Any text is parsed or rejected with code 100."""
    try:
        result = {"value": json_value("x", text)}
    except GraphError as error:
        result = {"code": error.code}
    assert result.get("code", 100) == 100


def test_invalid_json(subtests: pytest.Subtests) -> None:
    """Bare words as values, trailing commas and code are errors."""
    for text in ["{since:yesterday}", "NaN", "[1,]", "{'a'}", "{'a':1", "__import__('os')"]:
        with subtests.test(text=text), pytest.raises(GraphError, match="x must be valid JSON"):
            json_value("x", text)


def test_lists_in_every_form() -> None:
    """Commas, JSON and single quotes give the same list; an object is an error."""
    assert string_list("a, b") == string_list('["a","b"]') == string_list("['a','b']") == ["a", "b"]
    with pytest.raises(GraphError):
        string_list("{'a':'b'}")


def test_brackets_in_names() -> None:
    """Bracketed names become one JSON parameter: objects, lists with and without indexes, and lists of objects."""
    result = fold_parameters([
        ("level", "ad"),
        ("time_range[since]", "2026-11-01"),
        ("time_range[until]", "2026-11-07"),
        ("fields[]", "spend"),
        ("fields[]", "clicks"),
        ("filtering[0][field]", "ad.id"),
        ("filtering[0][value][0]", "1"),
    ])
    assert result["level"] == "ad"
    assert json.loads(result["time_range"]) == {"since": "2026-11-01", "until": "2026-11-07"}
    assert json.loads(result["fields"]) == ["spend", "clicks"]
    assert json.loads(result["filtering"]) == [{"field": "ad.id", "value": ["1"]}]


@given(st.lists(st.tuples(st.text("ab[].", max_size=12), st.text(max_size=3)), max_size=6))
def test_any_names_can_be_folded(items: list[tuple[str, str]]) -> None:
    """With brackets anywhere, every plain name is kept."""
    result = fold_parameters(items)
    assert {name for name, _ in items if "[" not in name} <= set(result)


def test_booleans_and_numbers() -> None:
    """Booleans are words or digits; numbers are ASCII digits in range, however long the text."""
    assert [boolean("x", text) for text in ("true", "1", "False", "0")] == [True, True, False, False]
    with pytest.raises(GraphError):
        boolean("x", "yes")
    assert whole_number("07", 1, 90) == 7
    assert [whole_number(text, 1, 90) for text in ("0", "91", "-1", "٣", "9" * 5000)] == [None] * 5


QUICK = {"reports": {"base_seconds": 0, "full_seconds": 0, "spread": 0, "seconds_per_1000_cells": 0}}


def message(driven: Driven, path: str, method: str = "GET", **params: str) -> str:
    """The message of an error."""
    return str(json.loads(driven.call(path, method, **params).body)["error"]["message"])


def test_unknown_parameters_are_errors(subtests: pytest.Subtests) -> None:
    """On every route, an unknown parameter is code 100 and named."""
    for path, method in [
        ("act_1/insights", "GET"),
        ("act_1/insights", "POST"),
        ("{run}", "GET"),
        ("{run}/insights", "GET"),
        ("act_1", "GET"),
        ("me/adaccounts", "GET"),
        ("act_1/campaigns", "GET"),
        ("", "POST"),
        ("", "GET"),
    ]:
        with subtests.test(path=path, method=method):
            driven = drive(QUICK)
            envelope = {"POST": {"batch": '[{"method":"GET","relative_url":"act_1"}]'}, "GET": {"ids": "act_1"}}
            given = {} if path else envelope[method]
            assert driven.call(path.format(run=driven.submit()), method, **given).status == 200
            assert "since" in message(driven, path.format(run=driven.submit()), method, **given, since="2026-11-01")


def test_invalid_values(subtests: pytest.Subtests) -> None:
    """An invalid value is an error, also for parameters without effect."""
    for name, value in [
        ("default_summary", "maybe"),
        ("action_report_time", "noon"),
        ("use_unified_attribution_setting", "x"),
        ("format", "xml"),
        ("locale", "de_DE"),
        ("pretty", "very"),
        ("export_format", "csv"),
        ("callback", "f"),
        ("time_range", "{'since':'2026-11-01','until':'2026-11-02','zone':'UTC'}"),
        ("time_range", '{"since":"20261101","until":"20261102"}'),
        ("filtering", '[{"field":"ad.id","operator":"IN","value":["1"],"more":1}]'),
        ("filtering", '[{"field":"ad.colour","operator":"CONTAIN","value":"x"}]'),
    ]:
        with subtests.test(name=name, value=value):
            assert error_of(drive().insights(**{name: value})) == (100, None)


def test_parameters_without_effect() -> None:
    """Parameters that the platform ignores are accepted, and have no effect."""
    driven = drive()
    plain = driven.insights().body
    said = {"action_report_time": "conversion", "use_unified_attribution_setting": "true", "graph_cache": "0"}
    assert driven.insights(**said).body == plain


def test_pretty_and_suppressed_status() -> None:
    """`pretty` indents, and `suppress_http_code` makes an error HTTP 200."""
    driven = drive()
    assert b"\n  " in driven.call("act_1", pretty="1").body
    refused = driven.call("nothing", suppress_http_code="1")
    assert (refused.status, error_of(refused)) == (200, (100, 33))


def test_post_with_method_get_is_a_get() -> None:
    """`method` overrides the verb: POST with `method=get` returns rows, GET with `method=post` submits a report."""
    driven = drive(QUICK)
    query_params = {"level": "ad", "fields": "ad_id", "time_range": RANGE}
    rows = json.loads(driven.call("act_1/insights", **query_params).body)["data"]
    assert json.loads(driven.call("act_1/insights", "POST", method="get", **query_params).body)["data"] == rows
    assert "report_run_id" in json.loads(driven.call("act_1/insights", method="post", **query_params).body)


def test_a_report_is_deleted() -> None:
    """After DELETE, or `method=delete`, a report does not exist, and cannot be deleted again."""
    driven = drive(QUICK)
    for method, params in (("DELETE", {}), ("POST", {"method": "delete"})):
        run = driven.submit()
        assert json.loads(driven.call(run, method, **params).body) == {"success": True}
        assert error_of(driven.call(run)) == (100, 33)
        assert error_of(driven.call(f"{run}/insights")) == (100, 33)
        assert error_of(driven.call(run, method, **params)) == (100, 33)


def test_unsupported_verbs(subtests: pytest.Subtests) -> None:
    """A verb that a path does not support is the platform's error."""
    for path, method, words in [
        ("act_1", "DELETE", "Unsupported delete request"),
        ("act_1", "POST", "Unsupported post request"),
        ("act_1/insights", "DELETE", "Unsupported delete request"),
        ("act_1/campaigns", "POST", "Unsupported post"),
        ("me/adaccounts", "POST", "Unsupported post request"),
        ("act_1", "PUT", "Unsupported put request"),
        ("{run}", "POST", "Unsupported post request"),
        ("{run}/insights", "POST", "Unsupported post request"),
        ("", "DELETE", "Unsupported delete request"),
        ("act_1/pixels", "GET", "Unknown path components: /pixels"),
    ]:
        with subtests.test(path=path, method=method, words=words):
            driven = drive(QUICK)
            assert words in message(driven, path.format(run=driven.submit()), method)


def test_unknown_parameters_are_user_errors() -> None:
    """An unknown parameter counts as a user error, which reduces the limits."""
    driven = drive({"quota": {"headers_above": 0, "tier": "development_access", "base_calls": 10, "calls_per_ad": 0}})
    for _ in range(3):
        assert error_of(driven.insights(shoe_size="43")) == (100, None)
    assert driven.platform.quota.headers("act_1", driven.platform.clock.now(), insights=True)[
        "X-Business-Use-Case-Usage"
    ]
