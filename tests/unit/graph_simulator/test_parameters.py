"""Nothing that a caller says is ignored: each word is honored or refused, and so is each verb."""

import json

import pytest

from tests.unit.graph_simulator.conftest import TIME_RANGE, SimulatorHarness, error_codes, make_simulator

QUICK = {"reports": {"base_seconds": 0, "full_seconds": 0, "spread": 0, "seconds_per_1000_cells": 0}}


def message(driven: SimulatorHarness, path: str, method: str = "GET", **params: str) -> str:
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
    driven = make_simulator(QUICK)
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
    assert error_codes(make_simulator().insights(**{name: value})) == (100, None)


def test_words_without_effect() -> None:
    """What the platform says has no effect any more is taken, and has none."""
    driven = make_simulator()
    plain = driven.insights().body
    said = {"action_report_time": "conversion", "use_unified_attribution_setting": "true", "graph_cache": "0"}
    assert driven.insights(**said).body == plain


def test_a_body_made_readable_and_a_status_hidden() -> None:
    """`pretty` indents, and `suppress_http_code` makes a refusal HTTP 200."""
    driven = make_simulator()
    assert b"\n  " in driven.call("act_1", pretty="1").body
    refused = driven.call("nothing", suppress_http_code="1")
    assert (refused.status, error_codes(refused)) == (200, (100, 33))


def test_post_with_method_get_is_a_get() -> None:
    """`method` says what is done: POST with `method=get` answers rows, GET with `method=post` makes a report."""
    driven = make_simulator(QUICK)
    asked = {"level": "ad", "fields": "ad_id", "time_range": TIME_RANGE}
    rows = json.loads(driven.call("act_1/insights", **asked).body)["data"]
    assert json.loads(driven.call("act_1/insights", "POST", method="get", **asked).body)["data"] == rows
    assert "report_run_id" in json.loads(driven.call("act_1/insights", method="post", **asked).body)


def test_a_report_is_deleted() -> None:
    """After DELETE, or `method=delete`, a report is not there any more, and cannot be deleted again."""
    driven = make_simulator(QUICK)
    for method, given in (("DELETE", {}), ("POST", {"method": "delete"})):
        run = driven.submit()
        assert json.loads(driven.call(run, method, **given).body) == {"success": True}
        assert error_codes(driven.call(run)) == (100, 33)
        assert error_codes(driven.call(f"{run}/insights")) == (100, 33)
        assert error_codes(driven.call(run, method, **given)) == (100, 33)


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
    driven = make_simulator(QUICK)
    assert words in message(driven, path.format(run=driven.submit()), method)


def test_a_mistake_is_the_callers_own() -> None:
    """A refused word counts as an error of the caller's, which the limits take into account."""
    driven = make_simulator({
        "quota": {"headers_above": 0, "tier": "development_access", "base_calls": 10, "calls_per_ad": 0}
    })
    for _ in range(3):
        assert error_codes(driven.insights(shoe_size="43")) == (100, None)
    assert driven.platform.quota.headers("act_1", driven.clock.moment, insights=True)["X-Business-Use-Case-Usage"]
