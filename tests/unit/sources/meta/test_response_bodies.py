"""Tests of async reports: submit, poll in batches, read, and the meaning of each state."""

from dataclasses import replace
from datetime import date
from urllib.parse import parse_qs

import orjson
import pytest

from adwarm.foundation.errors import (
    BadRequest,
    Corrupt,
    Denied,
    FieldRefused,
    NotFound,
    Throttled,
    TokenDead,
    TooMuchData,
    Transient,
)
from adwarm.model import QuerySpec, Scope, ScopeKind, Window
from adwarm.sources.meta.source import MetaSource
from adwarm.sources.protocol import AsyncReportHandle, AsyncReportState, FetchUnit, Increment
from tests.unit.sources.conftest import TOKEN, ScriptedServer

UNIT = FetchUnit("act_1", (Window(date(2026, 9, 1), date(2026, 11, 7)),), Increment.DAY, QuerySpec(fields=("spend",)))
RUNS = [AsyncReportHandle(str(number), replace(UNIT, account_id=f"act_{number}")) for number in range(1, 4)]


def entry(body: object, code: int = 200, **headers: str) -> dict[str, object]:
    """One response of a batch."""
    named = [{"name": name.replace("_", "-"), "value": value} for name, value in headers.items()]
    return {"code": code, "headers": named, "body": orjson.dumps(body).decode()}


def status(words: str, percent: object, **more: object) -> dict[str, object]:
    """The body of a poll of one run."""
    return {"id": "1", "async_status": words, "async_percent_completion": percent, **more}


@pytest.mark.parametrize("body", [{"report_run_id": "6023"}, {"report_run_id": 6023}, {"id": "6023"}])
def test_a_submit_returns_the_run_id(scripted: ScriptedServer, meta: MetaSource, body: dict[str, object]) -> None:
    """Parameters are sent as a form without page and token; the id may be text, a number or the SDK's name."""
    scripted.add_reply(body)
    assert meta.submit_async(UNIT) == AsyncReportHandle("6023", UNIT)
    form = parse_qs(scripted.forms[0])
    assert orjson.loads(form["time_range"][0]) == {"since": "2026-09-01", "until": "2026-11-07"}
    assert form["fields"] == ["account_id,ad_id,spend"]
    assert "limit" not in form
    assert TOKEN not in scripted.forms[0] + scripted.paths[0]
    assert scripted.headers[0]["Authorization"] == f"Bearer {TOKEN}"


def test_a_submit_without_an_id_is_transient(
    scripted: ScriptedServer, meta: MetaSource, subtests: pytest.Subtests
) -> None:
    """A response without an id, or with one that no lease can store, is retried."""
    for body in ({"success": True}, {"id": True}, {"id": "9" * 41}, {"id": "٣"}, {"id": ["6023"]}):
        with subtests.test(body=body):
            scripted.add_reply(body)
            with pytest.raises(Transient):
                meta.submit_async(UNIT)


def test_fifty_runs_in_one_request(scripted: ScriptedServer, meta: MetaSource) -> None:
    """One request polls every run, each with its own state, usage and error; no part contains the token."""
    usage = orjson.dumps({"acc_id_util_pct": 42.0}).decode()
    scripted.add_reply([
        entry(status("Job Running", 40), X_Ad_Account_Usage=usage),
        None,
        entry({"error": {"code": 80000, "error_subcode": 2446079}}, 400),
    ])
    seen = meta.poll(RUNS)
    batch = orjson.loads(parse_qs(scripted.forms[0])["batch"][0])
    assert [item["relative_url"].partition("?")[0] for item in batch] == ["v26.0/1", "v26.0/2", "v26.0/3"]
    assert TOKEN not in scripted.forms[0] + scripted.paths[0]
    first, lost, refused = (seen[run] for run in RUNS)
    assert (first.state, first.percent, first.usage[0].percent) == (AsyncReportState.PENDING, 40, 42)
    assert first.usage[0].scope == Scope(ScopeKind.ACCOUNT, "act_1")
    assert (lost.state, type(lost.error)) == (AsyncReportState.PENDING, Transient)
    assert isinstance(refused.error, Throttled)
    assert (refused.state, refused.error.scope) == (AsyncReportState.PENDING, "account:act_3")


POLLS = [
    (status("Job Not Started", 0), AsyncReportState.PENDING, None),
    (status("Job Started", 0), AsyncReportState.PENDING, None),
    (status("Job Running", 100), AsyncReportState.PENDING, None),
    (status("Job Completed", 99), AsyncReportState.PENDING, None),
    (status("Job Completed", 100), AsyncReportState.READY, None),
    (status("Job Dreaming", 50), AsyncReportState.PENDING, None),
    ({"id": "1"}, AsyncReportState.PENDING, None),
    ({"id": 1, "async_status": ["Job Completed"]}, AsyncReportState.PENDING, None),
    (status("Job Completed", 100, id="2"), AsyncReportState.PENDING, Corrupt),
    (status("Job Completed", 100, id=["1"]), AsyncReportState.PENDING, Corrupt),
    (status("Job Completed", "NaN"), AsyncReportState.PENDING, None),
    (status("Job Running", 10**12), AsyncReportState.PENDING, None),
    ({"error": {"code": 200, "message": "(#200) Permissions error"}}, AsyncReportState.FAILED, Denied),
    (status("Job Skipped", 60), AsyncReportState.EXPIRED, Transient),
    (status("Job Failed", 60), AsyncReportState.FAILED, Transient),
    (status("Job Failed", 60, error_code=-2, error_subcode=2490547), AsyncReportState.FAILED, Transient),
    (status("Job Failed", 60, error_code=2, error_subcode=1504044), AsyncReportState.FAILED, Transient),
    (status("Job Failed", 60, error_code=100, error_subcode=1487534), AsyncReportState.FAILED, TooMuchData),
    (status("Job Failed", 60, error_code=-3, error_subcode=1504045), AsyncReportState.FAILED, TooMuchData),
    (status("Job Failed", 60, error_code=2, error_subcode=1504041), AsyncReportState.FAILED, BadRequest),
    ({"error": {"code": 100, "error_subcode": 33}}, AsyncReportState.UNKNOWN, NotFound),
    ({"error": {"code": 2, "is_transient": True}}, AsyncReportState.PENDING, Transient),
]


def test_what_a_poll_means(scripted: ScriptedServer, meta: MetaSource, subtests: pytest.Subtests) -> None:
    """Ready means completed at 100 %; the code of a failure decides whether to retry, split or stop."""
    for body, state, error in POLLS:
        with subtests.test(body=body, state=state, error=error):
            scripted.add_reply([entry(body, 400 if "error" in body else 200)])
            seen = meta.poll(RUNS[:1])[RUNS[0]]
            assert 0 <= seen.percent <= 100
            assert (seen.state, None if seen.error is None else type(seen.error)) == (state, error)


def test_a_dead_token_ends_the_poll(scripted: ScriptedServer, meta: MetaSource) -> None:
    """A dead token in one entry is dead for all."""
    scripted.add_reply([entry({"error": {"code": 190}}, 400)] * 3)
    with pytest.raises(TokenDead):
        meta.poll(RUNS)


def test_a_batch_that_failed_as_a_whole(scripted: ScriptedServer, meta: MetaSource, subtests: pytest.Subtests) -> None:
    """Too few responses, or an object or an error instead of the list, fail the whole poll."""
    for body, expected in (
        ([], Transient),
        ({"data": []}, Transient),
        ({"error": {"code": 4}}, Throttled),
        ([{"code": 200}], Transient),
    ):
        with subtests.test(body=body, expected=expected):
            scripted.add_reply(body, 400 if isinstance(body, dict) and "error" in body else 200)
            with pytest.raises(expected):
                meta.poll(RUNS)


def test_a_malformed_entry(scripted: ScriptedServer, meta: MetaSource) -> None:
    """A truncated or HTML entry affects its own run only."""
    third = entry(status("x", 1, id="3"))
    scripted.add_reply([{"code": 200, "body": '{"id": "1", "asy'}, {"code": 502, "body": "<html>"}, third])
    seen = meta.poll(RUNS)
    assert [type(seen[run].error) for run in RUNS] == [Transient, Transient, type(None)]


def test_odd_entries_of_a_batch(scripted: ScriptedServer, meta: MetaSource, subtests: pytest.Subtests) -> None:
    """Whatever stands in place of a response affects one run and does not fail the poll."""
    for odd in (
        "text",
        {"code": "200"},
        {"code": 200},
        {"code": 200, "body": {}},
        {"body": "{}"},
        {"code": 200, "body": "{}", "headers": [1, {"name": 2, "value": []}, {"value": "x"}]},
        {"code": 200, "body": "{}", "headers": 5},
        {"code": 200, "body": "[" * 2000},
        {"code": 400, "body": '{"error":' + '{"message":' * 900 + "1" + "}" * 901},
    ):
        with subtests.test(odd=odd):
            scripted.add_reply([odd, entry(status("Job Running", 5, id="2"))])
            seen = meta.poll(RUNS[:2])
            assert seen[RUNS[0]].state is AsyncReportState.PENDING
            assert (seen[RUNS[1]].percent, seen[RUNS[1]].error) == (5, None)


def test_a_failed_run_names_a_refused_field(scripted: ScriptedServer, meta: MetaSource) -> None:
    """A run that failed because of a field of its query says which, so that the next one leaves it out."""
    text = "(#100) spend is not valid for fields param"
    scripted.add_reply([entry(status("Job Failed", 0, error_code=100, error_message=text))])
    error = meta.poll(RUNS[:1])[RUNS[0]].error
    assert isinstance(error, FieldRefused)
    assert error.fields == ("spend",)


def test_a_result_is_read_by_its_run(scripted: ScriptedServer, meta: MetaSource) -> None:
    """Pages of a run are requested by its id with a page size; a forgotten run is not found."""
    row = {"account_id": "1", "ad_id": "1", "date_start": "2026-11-07", "date_stop": "2026-11-07"}
    scripted.add_reply({"data": [row], "paging": {"cursors": {"after": "c"}, "next": "x"}})
    scripted.add_reply({"error": {"code": 100, "error_subcode": 33}}, 400)
    page = meta.read(RUNS[0], None)
    assert (page.rows, page.next_cursor) == ([row], "c")
    with pytest.raises(NotFound):
        meta.read(replace(RUNS[0], unit=replace(UNIT, page_size=7)), "c")
    assert scripted.paths == ["/v26.0/1/insights?limit=500", "/v26.0/1/insights?limit=7&after=c"]


def test_a_result_of_another_account_is_refused(scripted: ScriptedServer, meta: MetaSource) -> None:
    """Rows of a run are checked like those of a call: one row of another account refuses the page."""
    row = {"account_id": "2", "ad_id": "1", "date_start": "2026-11-07", "date_stop": "2026-11-07"}
    scripted.add_reply({"data": [row | {"account_id": "1"}, row]})
    with pytest.raises(Corrupt, match="account_id is 2"):
        meta.read(RUNS[0], None)


def test_listed_objects_are_checked(scripted: ScriptedServer, meta: MetaSource) -> None:
    """A list of objects with a malformed id is refused."""
    scripted.add_reply({"data": [{"id": "31"}, {"id": "31 or so"}]})
    with pytest.raises(Corrupt, match="row 2"):
        meta.list_objects(UNIT, "campaign", None)


def test_objects_are_listed_below_their_parent(scripted: ScriptedServer, meta: MetaSource) -> None:
    """Campaigns of the account, ad sets of a campaign, with any status; never of several parents at once."""
    scripted.add_reply({"data": [{"id": "31"}, {"id": "32"}]})
    scripted.add_reply({"data": [{"id": "21"}]})
    assert [row["id"] for row in meta.list_objects(UNIT, "campaign", None).rows] == ["31", "32"]
    one = replace(UNIT, filters=(("campaign.id", "IN", "31"),))
    assert meta.list_objects(one, "adset", None).rows == [{"id": "21"}]
    assert scripted.paths[0].startswith("/v26.0/act_1/campaigns?fields=id&")
    assert "ARCHIVED" in scripted.paths[0]
    assert scripted.paths[1].startswith("/v26.0/31/adsets?")
    with pytest.raises(BadRequest):
        meta.list_objects(replace(UNIT, filters=(("campaign.id", "IN", "31,32"),)), "adset", None)
