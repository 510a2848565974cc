"""Fifty calls in one request, each with its own answer."""

import json
from typing import Any

from tests.unit.graph_simulator.conftest import SimulatorHarness, error_codes, make_simulator


def batch(driven: SimulatorHarness, entries: Any, **params: Any) -> Any:
    """Send a batch and return its answers."""
    reply = driven.call("", "POST", batch=entries if isinstance(entries, str) else json.dumps(entries), **params)
    return json.loads(reply.body)


def urls(*paths: str) -> list[dict[str, str]]:
    """Entries that get these addresses."""
    return [{"method": "GET", "relative_url": path} for path in paths]


def test_answers_in_order_with_their_own_codes() -> None:
    """Each entry has its status, its body as text and its headers, in the order of the request."""
    driven = make_simulator({"quota": {"headers_above": 0}})
    run_id = driven.submit()
    asked = urls(f"{run_id}/", "v25.0/act_1?fields=currency", "nothing", f"act_2/insights?level=ad&access_token={'x'}")
    found = batch(driven, asked)
    assert [entry["code"] for entry in found] == [200, 200, 400, 400]
    assert json.loads(found[0]["body"])["id"] == run_id
    assert json.loads(found[1]["body"]) == {"id": "act_1", "currency": "USD"}
    assert [json.loads(entry["body"])["error"]["code"] for entry in found[2:]] == [100, 190]
    names = {header["name"] for header in found[0]["headers"]}
    assert {"X-Business-Use-Case-Usage", "X-FB-Ads-Insights-Throttle"} - names == {"X-FB-Ads-Insights-Throttle"}
    assert "headers" not in batch(driven, asked, include_headers="false")[0]


def test_a_report_is_submitted_in_a_batch() -> None:
    """An entry may be a POST with a form."""
    driven = make_simulator()
    found = batch(driven, [{"method": "POST", "relative_url": "act_1/insights", "body": "level=ad&fields=ad_id"}])
    assert "report_run_id" in json.loads(found[0]["body"])


def test_next_leads_out_of_the_batch() -> None:
    """A page that came in a batch names the address of its next one."""
    driven = make_simulator()
    body = json.loads(batch(driven, urls("act_1/insights?level=ad&limit=1"))[0]["body"])
    assert body["paging"]["next"].startswith("http://host/v26.0/act_1/insights?")


def test_each_entry_is_a_call() -> None:
    """Entries count against the limits one by one; the batch itself does not, but it is logged."""
    driven = make_simulator(hourly_limit=2)
    found = batch(driven, urls(*["act_1/insights?level=ad"] * 3))
    assert [entry["code"] for entry in found] == [200, 200, 400]
    assert driven.platform.calls.counts()["total"] == 3
    entries, _ = driven.platform.calls.entries()
    assert [(entry.route, entry.batched) for entry in entries] == [*[("insights", True)] * 3, ("batch", False)]


def test_at_most_fifty() -> None:
    """51 entries are refused as a whole and none is made."""
    driven = make_simulator()
    assert len(batch(driven, urls(*["act_1"] * 50))) == 50
    refused = batch(driven, urls(*["act_1"] * 51))
    assert "Maximum batch size is 50" in refused["error"]["message"]
    assert driven.platform.calls.counts()["total"] == 50


def test_what_is_no_batch() -> None:
    """Text that is no list of requests is code 100."""
    driven = make_simulator()
    for wrong in ("no json", "{}", "[]", '["x"]', '[{"method":"GET"}]'):
        assert batch(driven, wrong)["error"]["code"] == 100
    assert error_codes(driven.call("", "POST")) == (100, 33)


def test_entries_that_time_out_are_null() -> None:
    """An entry hit by a fault of the way is null, and what it did is done all the same."""
    driven = make_simulator({"fault": [{"kind": "null_entry", "every": 2, "routes": ["submit"]}]})
    submit = {"method": "POST", "relative_url": "act_1/insights", "body": "level=ad"}
    found = batch(driven, [submit, submit])
    assert [entry is None for entry in found] == [False, True]
    assert len(driven.platform.desk.jobs()) == 2


def test_a_call_may_refer_to_an_earlier_one() -> None:
    """`{result=...}` stands for what a named call answered, whose own answer is null unless it asks for it."""
    driven = make_simulator(accounts=2)
    first = {"method": "GET", "relative_url": "me/adaccounts?fields=id", "name": "mine"}
    second = {"method": "GET", "relative_url": "{result=mine:$.data[0].id}?fields=currency"}
    found = batch(driven, [first, second])
    assert found[0] is None
    assert json.loads(found[1]["body"])["currency"] == "USD"
    shown = batch(driven, [first | {"omit_response_on_success": False}, second])
    assert shown[0]["code"] == 200


def test_a_list_of_answers_goes_into_one_call() -> None:
    """A star stands for every item, joined by commas."""
    driven = make_simulator()
    asked = {"field": "campaign.id", "operator": "IN", "value": "X"}
    url = f"act_1/insights?level=campaign&fields=campaign_id&filtering={json.dumps([asked])}"
    entries = [
        {"method": "GET", "relative_url": "act_1/campaigns?fields=id", "name": "campaigns"},
        {"method": "GET", "relative_url": url.replace('"X"', '["{result=campaigns:$.data.*.id}"]')},
    ]
    assert batch(driven, entries)[1]["code"] == 200


def test_a_reference_that_leads_nowhere_is_refused_alone() -> None:
    """A call that refers to nothing, or to a call that failed, is not made; the others are."""
    driven = make_simulator()
    entries = [
        {"method": "GET", "relative_url": "nothing", "name": "failed"},
        *urls("{result=failed:$.id}", "{result=act:$.id}", "act_1"),
    ]
    found = batch(driven, entries)
    assert [entry["code"] for entry in found] == [400, 400, 400, 200]
    assert driven.platform.calls.counts()["total"] == 2


def test_an_entry_says_nothing_that_is_ignored() -> None:
    """A key or a parameter that an entry does not take refuses that entry alone; single quotes are read."""
    driven = make_simulator()
    strange = [{"method": "GET", "relative_url": "act_1", "depends_on": "x"}, *urls("act_1?colour=red", "act_1")]
    assert [entry["code"] for entry in batch(driven, strange)] == [400, 400, 200]
    url = "act_1/insights?level=ad&time_range[since]=2026-11-01&time_range[until]=2026-11-02"
    loose = f"[{{'method':'GET','relative_url':'{url}'}}]"
    rows = json.loads(batch(driven, loose)[0]["body"])["data"]
    assert {row["date_stop"] for row in rows} == {"2026-11-02"}
