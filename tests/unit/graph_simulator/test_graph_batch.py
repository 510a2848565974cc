"""Batches and queries by `ids`: each entry is served by itself."""

import json
from typing import Any

import pytest

from tests.unit.graph_simulator.conftest import RANGE, Driven, drive, error_of


def batch(driven: Driven, entries: Any, **params: Any) -> Any:
    """Send a batch and return its responses."""
    reply = driven.call("", "POST", batch=entries if isinstance(entries, str) else json.dumps(entries), **params)
    return json.loads(reply.body)


def urls(*paths: str) -> list[dict[str, str]]:
    """Entries that get these paths."""
    return [{"method": "GET", "relative_url": path} for path in paths]


def test_responses_are_in_order() -> None:
    """Each entry has its status, its body as text and its headers, in the order of the request."""
    driven = drive({"quota": {"headers_above": 0}})
    run_id = driven.submit()
    entries = urls(
        f"{run_id}/", "v25.0/act_1?fields=currency", "nothing", f"act_2/insights?level=ad&access_token={'x'}"
    )
    result = batch(driven, entries)
    assert [entry["code"] for entry in result] == [200, 200, 400, 400]
    assert json.loads(result[0]["body"])["id"] == run_id
    assert json.loads(result[1]["body"]) == {"id": "act_1", "currency": "USD"}
    assert [json.loads(entry["body"])["error"]["code"] for entry in result[2:]] == [100, 190]
    names = {header["name"] for header in result[0]["headers"]}
    assert {"X-Business-Use-Case-Usage", "X-FB-Ads-Insights-Throttle"} - names == {"X-FB-Ads-Insights-Throttle"}
    assert "headers" not in batch(driven, entries, include_headers="false")[0]


def test_a_report_is_submitted_in_a_batch() -> None:
    """An entry can be a POST with a form."""
    driven = drive()
    result = batch(driven, [{"method": "POST", "relative_url": "act_1/insights", "body": "level=ad&fields=ad_id"}])
    assert "report_run_id" in json.loads(result[0]["body"])


def test_next_leads_out_of_the_batch() -> None:
    """A page in a batch has a `next` link to a path of its own."""
    driven = drive()
    body = json.loads(batch(driven, urls("act_1/insights?level=ad&limit=1"))[0]["body"])
    assert body["paging"]["next"].startswith("http://host/v26.0/act_1/insights?")


def test_each_entry_is_a_call() -> None:
    """Entries count against the limits one by one; the envelope does not, but it is logged."""
    driven = drive(hourly_limit=2)
    result = batch(driven, urls(*["act_1/insights?level=ad"] * 3))
    assert [entry["code"] for entry in result] == [200, 200, 400]
    assert driven.platform.calls.counts()["total"] == 3
    entries, _ = driven.platform.calls.entries()
    assert [(entry.route, entry.batched) for entry in entries] == [*[("insights", True)] * 3, ("batch", False)]


def test_at_most_fifty() -> None:
    """51 entries are rejected as a whole, and none is served."""
    driven = drive()
    assert len(batch(driven, urls(*["act_1"] * 50))) == 50
    refused = batch(driven, urls(*["act_1"] * 51))
    assert "Maximum batch size is 50" in refused["error"]["message"]
    assert driven.platform.calls.counts()["total"] == 50


def test_invalid_batches() -> None:
    """Text that is not a list of requests is code 100."""
    driven = drive()
    for wrong in ("no json", "{}", "[]", '["x"]', '[{"method":"GET"}]'):
        assert batch(driven, wrong)["error"]["code"] == 100
    assert error_of(driven.call("", "POST")) == (100, 33)


def test_entries_that_time_out_are_null() -> None:
    """An entry hit by `null_entry` is null, although its call was served."""
    driven = drive({"fault": [{"kind": "null_entry", "every": 2, "routes": ["submit"]}]})
    submit = {"method": "POST", "relative_url": "act_1/insights", "body": "level=ad"}
    result = batch(driven, [submit, submit])
    assert [entry is None for entry in result] == [False, True]
    assert len(driven.platform.report_runs.runs()) == 2


def test_an_entry_can_refer_to_an_earlier_one() -> None:
    """`{result=...}` is replaced by values of a named entry, whose own response is null unless it asks for it."""
    driven = drive(accounts=2)
    first = {"method": "GET", "relative_url": "me/adaccounts?fields=id", "name": "mine"}
    second = {"method": "GET", "relative_url": "{result=mine:$.data[0].id}?fields=currency"}
    result = batch(driven, [first, second])
    assert result[0] is None
    assert json.loads(result[1]["body"])["currency"] == "USD"
    shown = batch(driven, [first | {"omit_response_on_success": False}, second])
    assert shown[0]["code"] == 200


def test_a_star_selects_all_items() -> None:
    """A star in a reference selects all items, joined by commas."""
    driven = drive()
    has_id = {"field": "campaign.id", "operator": "IN", "value": "X"}
    url = f"act_1/insights?level=campaign&fields=campaign_id&filtering={json.dumps([has_id])}"
    entries = [
        {"method": "GET", "relative_url": "act_1/campaigns?fields=id", "name": "campaigns"},
        {"method": "GET", "relative_url": url.replace('"X"', '["{result=campaigns:$.data.*.id}"]')},
    ]
    assert batch(driven, entries)[1]["code"] == 200


def test_an_unresolved_reference_fails_alone() -> None:
    """An entry that refers to nothing, or to a failed entry, is not served; the others are."""
    driven = drive()
    entries = [
        {"method": "GET", "relative_url": "nothing", "name": "failed"},
        *urls("{result=failed:$.id}", "{result=act:$.id}", "act_1"),
    ]
    result = batch(driven, entries)
    assert [entry["code"] for entry in result] == [400, 400, 400, 200]
    assert driven.platform.calls.counts()["total"] == 2


def test_a_truncated_response_cannot_be_referred_to() -> None:
    """A named entry whose JSON is cut off is returned as it is; entries that refer to it fail by themselves."""
    driven = drive({"fault": [{"kind": "truncated", "routes": ["adaccounts"]}]}, accounts=2)
    first = {"method": "GET", "relative_url": "me/adaccounts?fields=id", "name": "mine"}
    result = batch(driven, [first, *urls("{result=mine:$.data[0].id}")])
    assert [entry["code"] for entry in result] == [200, 400]
    with pytest.raises(json.JSONDecodeError):
        json.loads(result[0]["body"])


def test_unknown_keys_fail_their_entry() -> None:
    """An unknown key or parameter fails its own entry only; single quotes are accepted."""
    driven = drive()
    unknown = [{"method": "GET", "relative_url": "act_1", "depends_on": "x"}, *urls("act_1?colour=red", "act_1")]
    assert [entry["code"] for entry in batch(driven, unknown)] == [400, 400, 200]
    url = "act_1/insights?level=ad&time_range[since]=2026-11-01&time_range[until]=2026-11-02"
    loose = f"[{{'method':'GET','relative_url':'{url}'}}]"
    rows = json.loads(batch(driven, loose)[0]["body"])["data"]
    assert {row["date_stop"] for row in rows} == {"2026-11-02"}


ASKED = {"level": "ad", "fields": "ad_id,spend", "time_range": RANGE}


def test_a_body_by_id() -> None:
    """Each id has the body of a call of its own, and `next` links to its own next page."""
    driven = drive()
    result = driven.get("insights", ids="act_1,act_2", limit=2, **ASKED)
    assert list(result) == ["act_1", "act_2"]
    for account, body in result.items():
        assert body == driven.get(f"{account}/insights", limit=2, **ASKED)
        assert body["paging"]["next"].startswith(f"http://host/v26.0/{account}/insights?")


def test_objects_and_edges_by_id() -> None:
    """Without an edge the objects themselves are returned; edges work as well."""
    driven = drive()
    assert driven.get("", ids='["act_1","act_2"]', fields="currency") == {
        "act_1": {"currency": "USD", "id": "act_1"},
        "act_2": {"currency": "USD", "id": "act_2"},
    }
    assert driven.get("campaigns", ids="act_1")["act_1"] == driven.get("act_1/campaigns")


def test_each_id_is_a_call() -> None:
    """Ids count against the limits one by one; the envelope does not."""
    driven = drive(hourly_limit=2)
    driven.get("insights", ids="act_1,act_2", **ASKED)
    assert driven.platform.calls.counts()["accounts"] == {"act_1": 1, "act_2": 1}
    entries, _ = driven.platform.calls.entries()
    assert [(entry.route, entry.batched) for entry in entries] == [
        ("insights", True),
        ("insights", True),
        ("batch", False),
    ]


def test_one_error_fails_all() -> None:
    """An unknown id, an invalid parameter, and a faulty response are the response to the whole query."""
    driven = drive({"fault": [{"kind": "html_500", "accounts": ["act_9"]}]}, accounts=("1", "9"))
    assert error_of(driven.call("insights", ids="act_1,act_5", **ASKED)) == (100, 33)
    assert error_of(driven.call("insights", ids="act_1", fields="colour")) == (100, None)
    broken = driven.call("insights", ids="act_1,act_9", **ASKED)
    assert (broken.status, error_of(broken)) == (500, (1, None))


def test_the_number_of_ids() -> None:
    """No id is error 2500, more than fifty are error 100, and a path with an id accepts no `ids`."""
    driven = drive()
    assert error_of(driven.call("insights", ids="[]")) == (2500, None)
    many: Any = json.loads(driven.call("", ids=",".join(f"act_{n}" for n in range(1, 52))).body)
    assert many["error"]["message"] == "(#100) Too many IDs. Maximum: 50. Provided: 51."
    assert error_of(driven.call("act_1/insights", ids="act_2", **ASKED)) == (100, None)
