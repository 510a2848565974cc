"""The simulated platform over HTTP behaves like the real one."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from graph_simulator.config import SimulatorConfig
from graph_simulator.http_app import PlatformApp
from tests.support.asgi_client import AsgiClient
from tests.unit.graph_simulator.conftest import ratio_text

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
RANGE = json.dumps({"since": "2026-11-01", "until": "2026-11-07"})
PLAIN = "ad_id,impressions,reach,frequency,clicks,inline_link_clicks,ctr,cpm,cpc,spend"


def client(host: str = "127.0.0.1", **changes: Any) -> AsgiClient:
    """A client of a fresh platform."""
    settings = {"now": NOW, "token": "tok", "ads": 6, **changes}
    return AsgiClient(PlatformApp(SimulatorConfig(**settings)), "http://localhost", client=(host, 50_000))


def insights(http: AsgiClient, **params: Any) -> Any:
    """The response to an insights call at ad level."""
    query_params = {"access_token": "tok", "level": "ad", "fields": PLAIN, "time_range": RANGE, "limit": 500, **params}
    return http.get(
        "/v26.0/act_1/insights", params={name: value for name, value in query_params.items() if value is not None}
    )


def test_rows_in_the_platforms_form() -> None:
    """All values are text; ratios follow from counts; zeros but impressions, clicks, ctr and spend are absent."""
    rows = insights(client(), time_increment=1).json()["data"]
    assert rows
    for row in rows:
        assert all(isinstance(value, str) for value in row.values())
        shown, clicks, spend = int(row["impressions"]), int(row["clicks"]), float(row["spend"])
        assert shown > 0
        assert row["frequency"] == ratio_text(shown / int(row["reach"]))
        assert row["cpm"] == ratio_text(1000 * spend / shown)
        assert row["ctr"] == ratio_text(100 * clicks / shown)
        assert row.get("cpc") == (ratio_text(spend / clicks) if clicks else None)
        assert row.get("inline_link_clicks") != "0"
        assert row["date_start"] == row["date_stop"]


def test_actions_repeat_under_aliases() -> None:
    """One purchase has three names, each with the requested attribution windows, and with its cost."""
    query_params = {"fields": "actions,cost_per_action_type,spend", "action_attribution_windows": '["7d_click"]'}
    rows = insights(client(), **query_params).json()["data"]
    bought = [{a["action_type"]: a["value"] for a in row["actions"]} for row in rows]
    sold = [result for result in bought if "purchase" in result]
    assert sold
    assert all(f["purchase"] == f["omni_purchase"] == f["offsite_conversion.fb_pixel_purchase"] for f in sold)
    row = rows[0]
    count, cost = row["actions"][0], row["cost_per_action_type"][0]
    assert 0 < int(count["7d_click"]) <= int(count["value"])
    assert cost["value"] == ratio_text(float(row["spend"]) / int(count["value"]))


def test_results_are_those_of_the_goal() -> None:
    """An ad states objective, goal, and the results and their cost by the action of its goal; no zero is written."""
    fields = "ad_id,campaign_id,objective,optimization_goal,results,cost_per_result,actions,spend"
    rows = insights(client(ads=14), fields=fields, time_increment=1).json()["data"]
    pixel = "offsite_conversion.fb_pixel_"
    names = {"OUTCOME_SALES": f"{pixel}purchase", "OUTCOME_LEADS": f"{pixel}lead"}
    seen, empty = set(), 0
    for row in rows:
        name = names.get(row["objective"], "link_click")
        assert (row["optimization_goal"] == "LINK_CLICKS") is (name == "link_click")
        [result], [cost] = row["results"], row["cost_per_result"]
        assert result["indicator"] == cost["indicator"] == f"actions:{name}"
        count = {action["action_type"]: action["value"] for action in row.get("actions", [])}.get(name)
        if count is None:
            assert "values" not in result
            assert "values" not in cost
            empty += 1
        else:
            seen.add(row["objective"])
            assert result["values"] == [{"value": count, "attribution_windows": ["default"]}]
            assert cost["values"][0]["value"] == ratio_text(float(row["spend"]) / int(count))
    assert empty
    assert seen == {*names, "OUTCOME_TRAFFIC"}


def test_each_attribution_setting_has_its_own_answer() -> None:
    """Without a parameter and with the unified one conversions are counted by ad set, else by the account's setting."""
    fields = "ad_id,attribution_setting,actions,results,spend"

    def answer(**params: str) -> Any:
        return insights(client(), fields=fields, **params).json()["data"]

    plain, by_account = answer(), answer(use_account_attribution_setting="true")
    both = {"use_account_attribution_setting": "true", "use_unified_attribution_setting": "true"}
    assert answer(use_unified_attribution_setting="true") == plain == answer(**both)
    assert {row["attribution_setting"] for row in plain} == {"7d_click_1d_view_1d_ev"}
    assert {row["attribution_setting"] for row in by_account} == {"1d_click"}
    assert _bought(by_account) < 0.8 * _bought(plain)
    assert [row["spend"] for row in by_account] == [row["spend"] for row in plain]
    windows = answer(action_attribution_windows='["1d_view"]')
    assert _bought(windows) == _bought(plain)
    assert windows != plain


def _bought(rows: list[dict[str, Any]]) -> int:
    actions = [action for row in rows for action in row.get("actions", [])]
    return sum(int(action["value"]) for action in actions if action["action_type"] == "purchase")


@pytest.mark.parametrize("level", ["account", "campaign", "adset"])
def test_levels_add_up(level: str) -> None:
    """Impressions and spend of a level are the sums of its ads; reach is less than their sum, and at least their
    largest."""
    http = client()
    ads = insights(http, fields=f"{PLAIN},campaign_id,adset_id,account_id").json()["data"]
    groups = insights(http, level=level, fields=f"{level}_id,ad_name,impressions,reach,spend").json()["data"]
    assert groups
    for group in groups:
        own = [row for row in ads if row[f"{level}_id"] == group[f"{level}_id"]]
        assert int(group["impressions"]) == sum(int(row["impressions"]) for row in own)
        assert float(group["spend"]) == pytest.approx(sum(float(row["spend"]) for row in own))
        reach = [int(row["reach"]) for row in own]
        assert max(reach) <= int(group["reach"]) <= sum(reach)
        assert "ad_name" not in group


def test_default_page_and_next() -> None:
    """Pages have 25 rows; `next` has the caller's token; the last page has a cursor and no `next`."""
    http = client()
    query_params = {"access_token": "tok", "level": "ad", "fields": "ad_id", "time_range": RANGE, "time_increment": "1"}
    page = http.get("/v26.0/act_1/insights", params=query_params).json()
    assert len(page["data"]) == 25
    rows = list(page["data"])
    while "next" in page["paging"]:
        assert "access_token=tok" in page["paging"]["next"]
        page = http.get(page["paging"]["next"]).json()
        rows += page["data"]
    assert page["paging"]["cursors"]["after"]
    assert rows == insights(http, fields="ad_id", time_increment=1).json()["data"]


def test_the_token_by_query_form_and_header() -> None:
    """A token is accepted in the query, a form and the Authorization header; a trailing slash changes nothing."""
    http = client()
    form = {"level": "ad", "fields": '["ad_id"]', "time_range": RANGE}
    expected = insights(http, fields="ad_id", limit=25).json()["data"]
    posted = http.post("/v25.0/act_1/insights", data={**form, "access_token": "tok"})
    bearer = http.get("/v26.0/act_1/insights/", params=form, headers={"Authorization": "Bearer tok"})
    assert posted.json().keys() == {"report_run_id"}
    assert bearer.json()["data"] == expected


def test_errors(subtests: pytest.Subtests) -> None:
    """Each error is HTTP 400 with the platform's code and subcode and a trace id."""
    for path, params, code, subcode in [
        ("/v26.0/act_1/insights", {"access_token": "other"}, 190, 463),
        ("/v26.0/act_1/insights", {}, 104, None),
        ("/v26.0/me/adaccounts", {}, 2500, None),
        ("/v26.0/insights", {"access_token": "tok", "ids": ""}, 2500, None),
        ("/v24.0/act_1/insights", {"access_token": "tok"}, 2635, None),
        ("/v26.0/act_1/pixels", {"access_token": "tok"}, 2500, None),
        ("/v26.0/act_x", {"access_token": "tok"}, 100, 33),
        ("/v26.0/", {"access_token": "tok"}, 100, 33),
        ("/v26.0/act_1", {"access_token": "tok", "fields": "colour"}, 100, None),
        ("/v26.0/me/adaccounts", {"access_token": "tok", "limit": "0"}, 100, None),
    ]:
        with subtests.test(path=path, params=params, code=code, subcode=subcode):
            answer = client().get(path, params=params)
            error = answer.json()["error"]
            assert answer.status_code == 400
            assert (error["code"], error.get("error_subcode")) == (code, subcode)
            assert error["fbtrace_id"]


def test_a_missing_account() -> None:
    """With a list of accounts, any other account is 100/33."""
    answer = client(accounts=("2",)).get("/v26.0/act_1", params={"access_token": "tok"})
    assert answer.json()["error"]["error_subcode"] == 33


def test_the_app_secret_proof() -> None:
    """With an app secret, a call needs the token's proof."""
    http = client(app_secret="sec")
    proof = hmac.new(b"sec", b"tok", hashlib.sha256).hexdigest()
    assert insights(http).json()["error"]["code"] == 100
    assert insights(http, appsecret_proof="0" * 64).status_code == 400
    assert insights(http, appsecret_proof=proof).status_code == 200


def test_account_fields() -> None:
    """An account has a time zone and a currency, and the accounts of the token are listed by pages."""
    http = client(accounts=3, zone="Europe/Berlin")
    accounts = http.get("/v26.0/me/adaccounts", params={"access_token": "tok", "limit": 2, "fields": "timezone_name"})
    assert [item["timezone_name"] for item in accounts.json()["data"]] == ["Europe/Berlin"] * 2
    assert "next" in accounts.json()["paging"]
    first = accounts.json()["data"][0]["id"]
    fields = http.get(f"/v26.0/{first}", params={"access_token": "tok", "fields": "currency,account_status"}).json()
    assert fields == {"id": first, "currency": "USD", "account_status": 1}
    assert client().get("/v26.0/me/adaccounts", params={"access_token": "tok"}).json() == {"data": []}


def test_usage_headers_and_the_hourly_cap() -> None:
    """All headers are sent; the call above the limit is 80000 with the time to regain access, after which calls
    succeed."""
    http = client(hourly_limit=2)
    answer = insights(http)
    for name in ("X-App-Usage", "X-Ad-Account-Usage", "X-Business-Use-Case-Usage", "X-FB-Ads-Insights-Throttle"):
        assert json.loads(answer.headers[name])
    assert insights(http).status_code == 200
    refused = insights(http)
    assert (refused.status_code, refused.json()["error"]["error_subcode"]) == (400, 2446079)
    usage = json.loads(refused.headers["X-Business-Use-Case-Usage"])["1"][0]
    assert usage["call_count"] == 100
    assert 59 <= usage["estimated_time_to_regain_access"] <= 60
    assert http.get("/v26.0/act_2/insights", params={"access_token": "tok"}).status_code == 200
    http.post("/control/clock", json={"now": "2026-11-25T13:00:05Z"})
    assert insights(http).status_code == 200


def test_control_moves_time_and_counts_calls() -> None:
    """The clock can be set, calls are counted by account, path and status, and a reset clears them."""
    http = client()
    assert http.post("/control/clock", json={"now": "2026-11-20T00:00:00Z", "frozen": True}).json() == {
        "now": "2026-11-20T00:00:00+00:00"
    }
    assert insights(http, date_preset="yesterday", time_range=None).json()["data"][0]["date_start"] == "2026-11-19"
    http.get("/v26.0/act_1", params={"access_token": "no"})
    assert http.get("/control/calls").json() == {
        "total": 2,
        "accounts": {"act_1": 2},
        "paths": {"insights": 1, "account": 1},
        "statuses": {"200": 1, "400": 1},
    }
    http.post("/control/reset")
    assert http.get("/control/calls").json()["total"] == 0


@pytest.mark.parametrize("host", ["10.0.0.5", "testclient"])
def test_control_is_for_this_machine(host: str) -> None:
    """A client on another machine cannot use the control routes."""
    http = client(host)
    assert http.get("/control/calls").status_code == 403
    assert http.post("/control/reset").status_code == 403


def test_an_empty_account_has_no_rows() -> None:
    """A day without delivery is an empty list without paging, not an error."""
    answer = insights(client(), time_range=json.dumps({"since": "2026-12-01", "until": "2026-12-02"}))
    assert answer.json() == {"data": []}


def test_every_response_has_the_platforms_date() -> None:
    """Rows, errors, batches, their entries, unusual verbs and control routes have the simulated clock's Date."""
    http = client()
    http.post("/control/clock", json={"now": "2026-11-20T08:30:00Z", "frozen": True})
    token = {"access_token": "tok"}
    entries = [{"method": "GET", "relative_url": path} for path in ("act_1", "{result=none:$.id}", "nothing")]
    batch = http.post("/v26.0/", data={**token, "batch": json.dumps(entries)})
    answers = [
        insights(http),
        insights(http, fields="colour"),
        http.get("/v26.0/act_1"),
        batch,
        http.put("/v26.0/act_1"),
        http.get("/v26.0/insights", params={**token, "ids": "act_1"}),
        http.get("/"),
        http.get("/control/calls"),
        http.post("/v26.0/act_1/insights", content=b"{", headers={"content-type": "application/json"}),
    ]
    assert {answer.headers["date"] for answer in answers} == {"Fri, 20 Nov 2026 08:30:00 GMT"}
    inside = [{header["name"]: header["value"] for header in entry["headers"]} for entry in batch.json()]
    assert [result["date"] for result in inside] == ["Fri, 20 Nov 2026 08:30:00 GMT"] * 3


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("PUT", "/v26.0/act_1", 100),
        ("PATCH", "/v26.0/act_1/insights", 100),
        ("DELETE", "/v26.0/act_1", 100),
        ("GET", "/", 100),
        ("GET", "/favicon.ico", 100),
        ("GET", "/v26.0", 100),
        ("GET", "/v1.0/act_1", 2635),
    ],
)
def test_every_error_has_the_platforms_shape(method: str, path: str, code: int) -> None:
    """Whatever the call, an error body has message, type, code and trace id, and never the server's own format."""
    answer = client().request(method, path, params={"access_token": "tok"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, code)
    assert {"message", "type", "code", "fbtrace_id"} <= set(error)


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"{", "application/json"), (b"[1]", "application/json"), (b"x", "multipart/form-data; boundary=y")],
)
def test_an_unreadable_body(content: bytes, kind: str) -> None:
    """A broken form or JSON is code 100."""
    answer = client().post("/v26.0/act_1/insights", content=content, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 100)


def test_a_json_body() -> None:
    """Parameters can be a JSON object."""
    body = {"access_token": "tok", "level": "ad", "fields": ["ad_id"], "time_range": json.loads(RANGE), "limit": 5}
    assert "report_run_id" in client().post("/v26.0/act_1/insights", json=body).json()
    result = client().post("/v26.0/act_1/insights?method=get", json=body).json()
    assert len(result["data"]) == 5


def test_a_range_with_brackets_and_single_quotes() -> None:
    """`time_range[since]` and JSON with single quotes equal plain JSON."""
    http = client()
    plain = insights(http).json()
    nested = {"time_range[since]": "2026-11-01", "time_range[until]": "2026-11-07", "time_range": None}
    assert insights(http, **nested).json() == plain
    assert insights(http, time_range=RANGE.replace('"', "'")).json() == plain


def test_paths_without_a_version() -> None:
    """A batch at the root, and a path without a version, are served by the oldest version; `next` works."""
    http = client()
    entries = [{"method": "GET", "relative_url": "act_1/insights?level=ad&limit=1"}]
    answer = http.post("/", data={"access_token": "tok", "batch": json.dumps(entries)})
    assert answer.headers["facebook-api-version"] == "v25.0"
    page = json.loads(answer.json()[0]["body"])
    assert http.get(page["paging"]["next"]).json()["data"]
    query_params = {"access_token": "tok", "level": "ad", "limit": "1"}
    result = http.get("/act_1/insights", params=query_params).json()
    assert http.get(result["paging"]["next"]).json()["data"]
    several = http.get("/insights", params={**query_params, "ids": "act_1"}).json()["act_1"]
    assert http.get(several["paging"]["next"]).json()["data"]


def test_sums_for_tests() -> None:
    """The control route returns the totals of every object; an unknown level is an error."""
    http = client()
    query_params = {"account": "1", "level": "campaign", "since": "2026-11-01", "until": "2026-11-07"}
    result = http.get("/control/sums", params=query_params).json()
    rows = insights(http, level="campaign", fields="campaign_id,impressions,spend").json()["data"]
    assert {row["campaign_id"]: int(row["impressions"]) for row in rows} == {i["id"]: i["impressions"] for i in result}
    assert len(http.get("/control/sums", params={**query_params, "daily": "true"}).json()) > len(result)
    assert http.get("/control/sums", params={**query_params, "level": "pixel"}).status_code == 400
    assert http.get("/control/sums", params={**query_params, "until": "2026-10-01"}).status_code == 400
