"""Nobody reads without a valid token, and nobody reads another's accounts."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from adwarm.actions.warm_now import parse_keys
from adwarm.foundation.errors import BadRequest
from adwarm.model import Account, ReportKey, TokenScope, normalize_account_id
from adwarm.planning.strategy_changes import check_changes
from adwarm.recovery import IsolationTracker
from adwarm.serving.api.app import OPENAPI_PATH, build_application, describe_api
from adwarm.serving.api.guard import OPEN_PATHS
from adwarm.serving.hit_parts import HitParts
from adwarm.serving.problems import unknown_report
from adwarm.serving.services import ServingServices
from adwarm.settings import RecoverySettings
from adwarm.store import access_tokens, accounts, write_transaction
from adwarm.store.gates import SqlGates
from adwarm.store.gates import table as gate
from tests.support.gate_rows import park_row
from tests.support.route_list import list_routes
from tests.unit.conftest import SQLITE_ONLY
from tests.unit.serving.api.conftest import Api


def _fill(path: str, account: str = "act_1") -> str:
    for name, value in (("account", account), ("range", "last_7d"), ("request_id", "1")):
        path = path.replace("{" + name + "}", value)
    return path


def _bad_headers(api: Api) -> dict[str, str | None]:
    """Return headers that must not open anything, by what is wrong with them."""
    now = api.clock.now()
    expired = api.token(TokenScope.ADMIN, expires_at=now)
    revoked = api.token(TokenScope.ADMIN, revoked_at=now)
    good = api.token(TokenScope.ADMIN)
    other = api.token(TokenScope.ADMIN)
    return {
        "none": None,
        "empty": "",
        "another scheme": "Basic " + good.removeprefix("Bearer "),
        "unknown": "Bearer adwarm_abcdefghijkl_" + "A" * 43,
        "another's secret": "_".join([*good.split("_")[:2], other.split("_", 2)[2]]),
        "cut": good[:-1],
        "longer": good + "A",
        "no secret": good.rpartition("_")[0],
        "expired": expired,
        "revoked": revoked,
    }


@SQLITE_ONLY
def test_every_documented_operation_is_a_route(api: Api) -> None:
    """The enumeration of the next test misses nothing that the OpenAPI document names."""
    routes = {(method.lower(), path) for method, path in list_routes(api.app.routes)}
    documented = {(method, path) for path, item in describe_api()["paths"].items() for method in item}
    assert documented <= routes


@SQLITE_ONLY
def test_every_route_demands_a_token(api: Api) -> None:
    """Each route but the open ones answers 401, and always the same, to a missing, wrong, expired or revoked token."""
    extra = [("GET", "/"), ("GET", "/docs"), ("GET", "/openapi.json"), ("PUT", "/v1/batch"), ("OPTIONS", "/v1/queue")]
    guarded = [pair for pair in [*list_routes(api.app.routes), *extra] if pair[1] not in OPEN_PATHS]
    answers: dict[tuple[Any, ...], list[str]] = {}
    for name, value in _bad_headers(api).items():
        for method, path in guarded:
            headers = {} if value is None else {"Authorization": value}
            answer = api.client.request(method, _fill(path), headers=headers)
            key = (answer.status_code, answer.content, answer.headers["www-authenticate"])
            answers.setdefault(key, []).append(f"{name}: {method} {path}")
    assert len(guarded) > 14
    assert ({key[0] for key in answers}, api.opens.items) == ({401}, [])
    assert len(answers) == 1, answers
    api.clock.sleep(2)
    assert all(api.get(path, api.token(TokenScope.ADMIN)).status_code != 401 for _, path in guarded)


@SQLITE_ONLY
def test_what_is_not_found_or_not_allowed_creates_nothing(api: Api) -> None:
    """No route makes an account of an id that it answers with 404 or 401, and no open of it is recorded."""
    before = accounts.get_many(api.engine)
    bodies = {
        "/v1/requests": {"account": "act_99", "range": "last_7d"},
        "/v1/data-arrived": {"account": "act_99", "days": "2026-11-24"},
        "/v1/batch": {"items": [{"account": "act_99", "range": "last_7d"}]},
    }
    api.misses.outcome = unknown_report()
    statuses = []
    for method, path in list_routes(api.app.routes):
        for header in (api.token(TokenScope.ENQUEUE), "Bearer adwarm_abcdefghijkl_" + "A" * 43):
            headers = {"Authorization": header}
            answer = api.client.request(method, _fill(path, "act_99"), headers=headers, json=bodies.get(path))
            if "{account}" in path or path in bodies:
                statuses.append("not_found" if '"not_found"' in answer.text else answer.status_code)
    assert set(statuses) == {401, 404, "not_found"}
    assert (accounts.get_many(api.engine), api.opens.items) == (before, [])


@SQLITE_ONLY
@pytest.mark.parametrize("make", ["named", "logged", "listed"])
def test_a_new_account_is_there_within_a_second(api: Api, make: str) -> None:
    """However an account comes into being, every route that had answered 404 knows it a second later."""
    token = api.token(TokenScope.READ)
    paths = ["/v1/insights/act_99/last_7d", "/v1/scores/act_99", "/v1/scores/act_99/summary"]
    unknown = unknown_report().detail
    assert {api.get(path, token).json()["detail"] for path in paths} == {unknown}
    now = api.clock.now()
    if make == "named":
        accounts.add_named(api.services.context, ["99"], now)
    else:
        with write_transaction(api.engine) as connection:
            if make == "logged":
                accounts.add_logged(connection, {"act_99": "Asia/Tokyo"}, "UTC", now)
            else:
                accounts.save_listed(connection, [Account("act_99")], now)
    api.clock.sleep(1)
    answers = {path: api.get(path, token) for path in paths}
    assert {path: (answer.status_code, answer.json().get("title")) for path, answer in answers.items()} == {
        paths[0]: (404, "Not Stored"),
        paths[1]: (200, None),
        paths[2]: (200, None),
    }
    assert "act_99" in {item["id"] for item in api.get("/v1/accounts", token).json()["accounts"]}


@SQLITE_ONLY
def test_bare_digits_are_a_stored_account_or_metas(api: Api) -> None:
    """Every route means the same account by them; a new one of that id is found within a second."""
    token = api.token(TokenScope.ENQUEUE)
    accounts.save(api.engine, [Account("77"), Account("act_88"), Account("act_99")], api.clock.now())

    def find(text: str) -> list[str]:
        read = api.get(f"/v1/insights/{text}/last_7d", api.token(TokenScope.READ)).json()["detail"].split()[0]
        key = {"account": text, "range": "last_7d"}
        number = api.post("/v1/requests", token, key).json()["request_id"]
        queued = api.get(f"/v1/requests/{number}", token).json()["account"]
        return [read, queued, api.get(f"/v1/scores/{text}", token).json()["account"]]

    assert [find(text) for text in ("77", "88", "act_88", "99")] == [
        [name] * 3 for name in ("77", "act_88", "act_88", "act_99")
    ]
    accounts.save(api.engine, [Account("99")], api.clock.now())
    api.clock.sleep(2)
    assert find("99") == ["99"] * 3


@SQLITE_ONLY
def test_ids_are_the_same_everywhere(api: Api, subtests: pytest.Subtests) -> None:
    """Every route, form, command and strategy takes the ids that `normalize_account_id` takes, and no others."""
    for text in [
        "1",
        "act_1",
        " act_1\n",
        "act_" + "0" * 19 + "1",
        "ACT_1",
        "act_" + "1" * 21,
        "act_\u0661",
    ]:
        with subtests.test(text=text):
            verdicts = _list_verdicts(api, text)
            assert len(set(verdicts.values())) == 1, verdicts


def _list_verdicts(api: Api, text: str) -> dict[str, bool]:
    """Return by surface whether it takes an account id."""
    token, name, context = api.token(TokenScope.ENQUEUE), quote(text, safe=""), api.services.context
    key, days = {"account": text, "range": "last_7d"}, {"account": text, "days": "2026-11-24"}
    values = {"date_ranges": ("yesterday",), "accounts": (text,)}

    def takes(call: Callable[[], object]) -> bool:
        try:
            call()
        except BadRequest:
            return False
        return True

    return {
        "parser": takes(lambda: normalize_account_id(text)),
        "insights": api.get(f"/v1/insights/{name}/last_7d", token).status_code != 400,
        "scores": api.get(f"/v1/scores/{name}", token).status_code != 400,
        "request": api.post("/v1/requests", token, key).status_code != 400,
        "arrival": api.post("/v1/data-arrived", token, days).status_code != 400,
        "batch": '"invalid"' not in api.post("/v1/batch", token, {"items": [key]}).text,
        "strategy": takes(lambda: check_changes(context, {"x": values}, api.clock.now())),
        "named": takes(lambda: accounts.add_named(context, [text], api.clock.now())),
        "form": takes(lambda: parse_keys(context, text, "last_7d")),
    }


@SQLITE_ONLY
def test_only_the_dashboard_files_need_no_token(services: ServingServices, parts: HitParts, tmp_path: Path) -> None:
    """Beside health, the files of the dashboard are the one exception; all else stays closed."""
    (tmp_path / "index.html").write_text("<!doctype html>")
    serving = services.context.settings.serving.model_copy(update={"dashboard": tmp_path})
    settings = services.context.settings.model_copy(update={"serving": serving})
    services = replace(services, context=replace(services.context, settings=settings))

    async def close() -> None:
        """Leave the parts to their fixture."""

    paths = [
        *describe_api()["paths"],
        OPENAPI_PATH,
        "/",
        "/index.html",
        "/dashboards",
        "/v1/dashboard/",
        "/dashboard",
    ]
    with TestClient(build_application(services, parts, [], close), follow_redirects=False) as client:
        answers = {path: client.get(_fill(path)).status_code for path in paths}
        assert client.get("/dashboard/").text == "<!doctype html>"
    assert {path for path, status in answers.items() if status != 401} == {*OPEN_PATHS, "/dashboard"}


@SQLITE_ONLY
def test_an_added_route_is_guarded_too(api: Api) -> None:
    """A route that somebody adds without any dependency, and a mounted application, demand a token as well."""

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"open"})

    api.app.add_route("/forgotten", lambda request: None)
    api.app.mount("/mounted", mounted)
    for path in ("/forgotten", "/mounted", "/mounted/deep"):
        assert api.client.get(path).status_code == 401
    assert api.get("/mounted/deep", api.token()).text == "open"


@SQLITE_ONLY
def test_health_answers_anybody(api: Api) -> None:
    """Health routes work without a token, and show neither settings nor data."""
    assert api.client.get("/healthz").json() == {"status": "ok"}
    ready = api.client.get("/readyz").json()
    assert re.fullmatch("[0-9a-f]{16}", ready.pop("database_id"))
    assert ready == {"status": "ready", "database": "ok", "objects": "ok", "fetch_mode": "waits"}
    assert api.client.head("/healthz").content == b""


@SQLITE_ONLY
def test_paths_that_resemble_health_are_guarded(api: Api) -> None:
    """Only the exact health paths are open."""
    for path in ("/healthz/", "//healthz", "/healthz/../v1/queue", "/HEALTHZ", "/healthz%2f", "/v1/healthz"):
        assert api.client.get(path).status_code == 401


@SQLITE_ONLY
def test_scopes(api: Api, subtests: pytest.Subtests) -> None:
    """Enqueue includes read, admin includes both, and only admin reads the metrics."""
    for scope, path, status in [
        (TokenScope.READ, "/v1/queue", 200),
        (TokenScope.READ, "/metrics", 403),
        (TokenScope.ENQUEUE, "/metrics", 403),
        (TokenScope.ADMIN, "/metrics", 200),
        (TokenScope.ENQUEUE, "/v1/accounts", 200),
        (TokenScope.ADMIN, "/v1/openapi.json", 200),
    ]:
        with subtests.test(scope=scope, path=path, status=status):
            assert api.get(path, api.token(scope)).status_code == status


@SQLITE_ONLY
def test_only_enqueue_requests_reports(api: Api) -> None:
    """A token with the scope read cannot request a report, and nothing is queued."""
    body = {"account": "act_1", "range": "last_7d"}
    assert api.post("/v1/requests", api.token(TokenScope.READ), body).status_code == 403
    assert api.misses.fetched == []
    assert api.services.queue.list_newest(9) == []


def test_forbidden_and_unknown_accounts_look_alike(api: Api) -> None:
    """Another's account and one that does not exist give the same bytes and headers on every route."""
    api.reading.warm(ReportKey("act_2", "last_7d"))
    ticket = api.services.queue.enqueue(ReportKey("act_2", "last_30d"), priority=2)
    token = api.token(TokenScope.ENQUEUE, accounts=frozenset({"act_1"}))
    pairs = [
        ("/v1/insights/act_2/last_7d", "/v1/insights/act_9/last_7d"),
        ("/v1/insights/act_2/last_7d?report=none", "/v1/insights/act_9/last_7d?report=none"),
        ("/v1/scores/act_2", "/v1/scores/act_9"),
        (f"/v1/requests/{ticket.id}", f"/v1/requests/{ticket.id + 1}"),
    ]
    probes = [{}, {"Prefer": "wait=5"}, {"If-None-Match": "*"}, {"Range": "bytes=0-9"}]
    for forbidden, unknown in pairs:
        for method, probe in product(("GET", "HEAD"), probes):
            headers = {"Authorization": token, **probe}
            first, second = (api.client.request(method, path, headers=headers) for path in (forbidden, unknown))
            assert first.status_code == 404
            assert (first.content, dict(first.headers)) == (second.content, dict(second.headers))
    for body in ({"account": "act_2", "range": "last_7d"}, {"account": "act_9", "range": "last_7d"}):
        assert api.post("/v1/requests", token, body).status_code == 404
    items = api.post(
        "/v1/batch", token, {"items": [{"account": f"act_{n}", "range": "last_7d"} for n in (2, 9)]}
    ).json()["items"]
    for item in items:
        del item["account"]
    assert items[0] == items[1]
    assert items[0]["status"] == "not_found"
    assert api.misses.fetched == []


def test_state_hides_other_accounts(api: Api) -> None:
    """Accounts and gates show only what the token may read; an administrator sees everything."""
    api.reading.warm(ReportKey("act_1", "last_7d"), ReportKey("act_2", "last_7d"))
    one, admin = api.token(accounts=frozenset({"act_1"})), api.token(TokenScope.ADMIN)
    for path in ("/v1/accounts", "/v1/gates"):
        assert "act_2" not in api.get(path, one).text
    assert "act_2" in api.get("/v1/accounts", admin).text
    assert "act_" not in api.get("/metrics", admin).text


def test_gates_hide_other_accounts(api: Api) -> None:
    """Isolations of other accounts are left out, and so is a message that names one."""
    tracker = IsolationTracker(SqlGates(api.engine), RecoverySettings(), api.clock)
    for scope in ("account:act_1", "account:act_2", "connection:main", "fallback:entry"):
        for _ in range(5):
            tracker.record(scope, failed=True, reason="Transient: act_2 failed", kind="Transient")
    one, admin = api.token(accounts=frozenset({"act_1"})), api.token(TokenScope.ADMIN)
    assert "act_2" not in api.get("/v1/gates", one).text
    assert "act_2" in api.get("/v1/gates", admin).text
    shown = api.get("/v1/gates", one).json()["gates"]
    assert [item["scope"] for item in shown] == ["connection:main", "fallback:entry", "account:act_1"]
    assert [(item["rule"], item["state"], item["opened_by"]) for item in shown] == [
        ("isolation", "closed", "probes")
    ] * 3
    reason = api.get("/v1/gates", admin).json()["gates"][0]["why"]
    assert reason == "all 5 calls failed in 300 s; the last: Transient: act_2 failed"


def test_a_revoked_token_stops_within_a_second(api: Api) -> None:
    """A token in use is refused a second after it was revoked, and an expired one at once."""
    api.reading.warm(ReportKey("act_1", "last_7d"))
    token = api.token(expires_at=api.clock.now() + timedelta(hours=1))
    paths = ("/v1/queue", "/v1/insights/act_1/last_7d")
    for _ in range(5):
        assert [api.get(path, token).status_code for path in paths] == [200, 200]
        api.clock.sleep(0.2)
    access_tokens.revoke(api.engine, token.split("_")[1], api.clock.now())
    api.clock.sleep(1)
    assert [api.get(path, token).status_code for path in paths] == [401, 401]


@SQLITE_ONLY
def test_a_token_stops_when_it_expires(api: Api) -> None:
    """Expiry is judged at each request, also while the token is in memory."""
    token = api.token(expires_at=api.clock.now() + timedelta(seconds=0.3))
    assert api.get("/v1/queue", token).status_code == 200
    api.clock.sleep(0.3)
    assert api.get("/v1/queue", token).status_code == 401


@SQLITE_ONLY
def test_ids_of_any_platform_are_read_and_kept_apart(api: Api) -> None:
    """A path may hold any id, quoted or not; a token reads the account of its own case, and no gate names another's."""
    ids = ("google_ads:123-456-7890", "t2_abc", "T2_ABC")
    accounts.save(api.engine, [Account(name) for name in ids], api.clock.now())
    api.reading.warm(*(ReportKey(name, "yesterday") for name in ids))
    token = api.token(accounts=frozenset({"T2_ABC", ids[0]}))
    answers = {path: api.get(f"/v1/insights/{path}/yesterday", token) for path in (*ids, "google_ads%3A123-456-7890")}
    assert [answer.status_code for answer in answers.values()] == [200, 404, 200, 200]
    assert answers["T2_ABC"].json()["account_id"] == "T2_ABC"
    for path in ("..%2fact_1", "%2e%2e", "t2_abc%00", "%22t2%22"):
        assert api.get(f"/v1/insights/{path}/yesterday", token).status_code in {400, 404}, path
    why = {"source:a": "for T2_ABC: 2 calls", "source:b": "calls for t2_abc failed", "account:t2_abc": "its own"}
    until = api.clock.now().timestamp() + 60
    with write_transaction(api.engine) as connection:
        connection.execute(gate.insert(), [park_row(scope, until, text) for scope, text in why.items()])
    shown = {gate["scope"]: gate["why"] for gate in api.get("/v1/gates", token).json()["gates"]}
    assert set(shown) == {"source:a", "source:b"}
    assert ("T2_ABC" in shown["source:a"], "t2_abc" in shown["source:b"]) == (True, False)
