"""Limits, headers, errors and cross-origin access are the same for every route, and no answer holds a secret."""

import gzip
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zstandard
from fastapi import Request
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from adwarm.foundation.errors import (
    BadRequest,
    Corrupt,
    Denied,
    NotFound,
    Refused,
    Throttled,
    TokenDead,
    TooMuchData,
    Transient,
)
from adwarm.model import ReportKey, TokenScope
from adwarm.serving.api.app import describe_api, with_cors
from adwarm.serving.api.guard import MAX_BODY_BYTES
from adwarm.serving.problems import CONTENT_TYPE, Problem, unknown_report
from tests.unit.conftest import NOW, SQLITE_ONLY
from tests.unit.serving.api.conftest import Api

SECRET = "adwarm_abcdefghijkl_" + "S" * 43
ORIGIN = "https://dash.example"
_PACKED = (("gzip", 200, 413), ("gzip", 60, 400), ("zstd", 200, 400))
"""Bodies by coding, MB when they are unpacked, and status; the first one is too long as it is sent."""


def _fail_with(api: Api, error: Exception) -> Any:
    """Return the answer of a route that raises."""

    async def fail(request: Request) -> None:
        raise error

    api.app.router.routes.clear()
    api.app.add_route("/fail", fail)
    return api.get("/fail", api.token())


ERRORS: list[tuple[Exception, int]] = [
    (BadRequest("write last_7d"), 400),
    (NotFound(f"secret {SECRET}"), 404),
    (Denied("no", account_id="act_77"), 404),
    (TooMuchData("too large"), 413),
    (Refused("full", retry_after=2.5), 429),
    (Throttled("slow", scope="account:act_1", until=NOW, retry_after=4.0), 429),
    (TokenDead("EAAB" + "x" * 30), 503),
    (Transient("the password=hunter2hunter2", retry_after=30), 503),
    (Corrupt("bad"), 500),
    (ValueError(f"token={SECRET}"), 500),
]


@SQLITE_ONLY
def test_every_error_is_a_problem(api: Api, lines: list[str], subtests: pytest.Subtests) -> None:
    """Each error becomes problem details without stack trace or secret; waits are in `Retry-After`."""
    for error, status in ERRORS:
        with subtests.test(error=error, status=status):
            answer = _fail_with(api, error)
            problem = answer.json()
            assert (answer.status_code, problem["status"], answer.headers["content-type"]) == (
                status,
                status,
                CONTENT_TYPE,
            )
            assert answer.headers["cache-control"] == "no-store"
            assert ("retry-after" in answer.headers) == (status in {429, 503})
            if isinstance(error, Refused):
                assert answer.headers["retry-after"] == "3"
            everything = answer.text + "\n".join(lines)
            assert not any(secret in everything for secret in ("S" * 43, "x" * 30, "hunter2"))
            assert "Traceback" not in answer.text
            assert "act_77" not in answer.text


@SQLITE_ONLY
def test_an_unexpected_error_is_found_by_its_id(api: Api, lines: list[str]) -> None:
    """The answer names an id only; the log has the traceback under it, without secrets."""
    answer = _fail_with(api, RuntimeError(f"broken for Authorization: Bearer {SECRET}"))
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "error_id"}
    assert "broken" not in answer.text
    (logged,) = [line for line in lines if problem["error_id"] in line]
    assert "RuntimeError" in logged
    assert "S" * 43 not in logged


@SQLITE_ONLY
def test_no_secret_reaches_a_log(api: Api, lines: list[str]) -> None:
    """A token that is used, wrong, in the query or in a body appears in no log line and in no answer."""
    token = api.token(TokenScope.ADMIN)
    secret = token.split("_", 2)[2]
    bodies = [
        api.get("/v1/queue", token),
        api.get("/v1/queue", token[:-2] + "zz"),
        api.get(f"/v1/queue?token={token}", token),
        api.get(f"/v1/insights/{token}/last_7d", token),
        api.get(f"/v1/scores/act_1?cursor={token}", token),
        api.post("/v1/batch", token, {"items": [{"account": token, "range": token}]}),
        api.post("/v1/requests", token, {"account": "act_1", "range": token[:40], "report": "x"}),
    ]
    api.reading.harness.clock.sleep(120)
    bodies.append(api.get("/metrics", token))
    assert not any(secret[:20] in answer.text + str(answer.headers) for answer in bodies)
    ours = [line for line in lines if not line.startswith("httpx")]
    assert not any(secret[:20] in line for line in ours)


@SQLITE_ONLY
def test_a_body_that_does_not_match_is_explained(api: Api) -> None:
    """A malformed body is 400 with the fields that are wrong, and repeats no value."""
    token = api.token(TokenScope.ENQUEUE)
    for body in (
        {},
        {"items": []},
        {"items": [{"account": "act_1", "range": "last_7d"}] * 51},
        {"items": [{"account": "act_1", "range": "last_7d", "colour": "zebra"}]},
        {"items": [{"account": 7, "range": "last_7d"}], "priority": "zebra"},
        ["zebra"],
    ):
        answer = api.post("/v1/batch", token, body)
        assert (answer.status_code, answer.headers["content-type"]) == (400, CONTENT_TYPE)
        assert "body" in answer.json()["detail"]
        assert "zebra" not in answer.text
    broken = api.client.post("/v1/batch", content=b"{", headers={"Authorization": token})
    assert broken.status_code == 400


@SQLITE_ONLY
def test_a_query_names_only_parameters_of_its_path(api: Api) -> None:
    """An unknown or repeated parameter is 400 on every path, and the detail names those that the path has."""
    token = api.token(TokenScope.ADMIN)
    for path, methods in describe_api()["paths"].items():
        if not path.startswith("/v1/"):
            continue
        for method, operation in methods.items():
            parts = operation.get("parameters", ())
            own = [part["name"] for part in parts if part["in"] == "query"]
            url = path.format(account="act_1", range="last_7d", request_id=1, name="x")
            for query in ("priority=high", "priority", *(f"{name}=daily&{name}=daily" for name in own[:1])):
                answer = api.client.request(method, f"{url}?{query}", headers={"Authorization": token})
                assert (answer.status_code, answer.headers["content-type"]) == (400, CONTENT_TYPE), (url, query)
                assert f"query.{query.partition('=')[0]}: " in answer.json()["detail"]
            assert (
                ", ".join(own)
                in api.client.request(method, f"{url}?priority=high", headers={"Authorization": token}).json()["detail"]
            )


@SQLITE_ONLY
def test_long_bodies_and_paths_are_refused(api: Api) -> None:
    """A body or path over the limit is refused, whatever length the body declares; nothing is read without a token."""
    token = api.token()

    def pieces() -> Iterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 1000 + 1):
            yield b" " * 1000

    headers = {"Authorization": token}
    declared = api.client.post("/v1/batch", content=b" " * (MAX_BODY_BYTES + 1), headers=headers)
    streamed = api.client.post("/v1/batch", content=pieces(), headers=headers)
    odd = api.client.post("/v1/batch", content=b"{}", headers={**headers, "Content-Length": "-5"})
    assert [answer.status_code for answer in (declared, streamed, odd)] == [413, 413, 413]
    assert api.get("/v1/insights/act_1/" + "x" * 3000, token).status_code == 414
    assert api.get("/v1/queue?" + "x" * 3000, token).status_code == 414
    assert api.client.post("/v1/batch", content=b" " * (MAX_BODY_BYTES + 1)).status_code == 401


@SQLITE_ONLY
def test_a_packed_body_is_never_unpacked(api: Api) -> None:
    """200 MB in gzip or zstd are refused by every route that takes a body, and take no memory, below the limit too."""
    token, mib = api.token(TokenScope.ADMIN, TokenScope.ENQUEUE), b" " * 2**20
    packed = {"gzip": gzip.compress(mib), "zstd": zstandard.compress(mib)}
    bodies = [
        ("gzip", packed["gzip"] * 200, 413),
        ("gzip", packed["gzip"] * 60, 400),
        ("zstd", packed["zstd"] * 200, 400),
    ]
    assert [len(body) > MAX_BODY_BYTES for _, body, _ in bodies] == [True, False, False]
    routes = [path for path, methods in describe_api()["paths"].items() if "post" in methods]
    api.post(routes[0], token, {})  # what is loaded once is loaded
    tracemalloc.start()
    for path in routes:
        for coding, body, status in bodies:
            headers = {"Authorization": token, "Content-Encoding": coding, "Content-Type": "application/json"}
            assert api.client.post(path, content=body, headers=headers).status_code == status, (path, coding)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert routes == ["/v1/batch", "/v1/requests", "/v1/data-arrived"]
    assert peak < 8 * len(mib)


@SQLITE_ONLY
def test_security_headers(api: Api) -> None:
    """Every answer forbids sniffing and scripts, and is not stored unless its route says so."""
    token = api.token()
    for answer in (api.get("/v1/queue", token), api.client.get("/v1/queue"), api.client.get("/healthz")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


@SQLITE_ONLY
def test_methods(api: Api) -> None:
    """HEAD answers as GET without a body, OPTIONS lists the methods, others are 405; unknown paths are 404."""
    headers = {"Authorization": api.token()}
    shown, peeked = (api.client.request(method, "/v1/queue", headers=headers) for method in ("GET", "HEAD"))
    assert (peeked.status_code, peeked.content) == (200, b"")
    assert peeked.headers["content-length"] == str(len(shown.content))
    options = api.client.options("/v1/queue", headers=headers)
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    wrong = api.client.delete("/v1/queue", headers=headers)
    assert (wrong.status_code, wrong.headers["allow"], wrong.json()["title"]) == (
        405,
        "GET, HEAD, OPTIONS",
        "Method Not Allowed",
    )
    for path in ("/", "/docs", "/openapi.json", "/v1/queue/"):
        assert api.client.get(path, headers=headers).status_code == 404


@SQLITE_ONLY
def test_websockets_are_refused(api: Api) -> None:
    """No route speaks websockets."""
    with pytest.raises(WebSocketDisconnect), api.client.websocket_connect("/v1/queue"):
        pass
    assert api.client.get("/healthz").status_code == 200


def _preflight(client: TestClient, origin: str) -> Any:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization, adwarm-priority, if-none-match",
    }
    return client.options("/v1/insights/act_1/last_7d", headers=headers)


@SQLITE_ONLY
def test_listed_origins_may_read(api: Api) -> None:
    """A listed origin's preflight needs no token; its answers, errors included, expose what the hook reads."""
    client = TestClient(with_cors(api.app, api.services.context.settings.serving))
    preflight = _preflight(client, ORIGIN)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert "adwarm-priority" in preflight.headers["access-control-allow-headers"].lower()
    answer = client.get("/v1/queue", headers={"Origin": ORIGIN})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, ORIGIN)
    assert "Cache-Status" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers


@SQLITE_ONLY
def test_other_origins_may_not(api: Api) -> None:
    """Any other origin gets no permission, and without listed origins the application is unchanged."""
    settings = api.services.context.settings.serving
    client = TestClient(with_cors(api.app, settings))
    for origin in ("https://evil.example", "null", "https://dash.example.evil"):
        preflight = _preflight(client, origin)
        assert preflight.status_code == 400
        assert "access-control-allow-origin" not in preflight.headers
    closed = settings.model_copy(update={"cors_origins": ()})
    assert with_cors(api.app, closed) is api.app
    assert _preflight(TestClient(api.app), ORIGIN).status_code == 401


@SQLITE_ONLY
def test_head_of_a_large_answer_sends_no_bytes(api: Api) -> None:
    """HEAD of a route that answers with a body keeps its length and drops the bytes."""
    api.reading.warm(ReportKey("act_1", "last_7d"))
    answer = api.client.head("/v1/openapi.json", headers={"Authorization": api.token()})
    assert answer.content == b""
    assert int(answer.headers["content-length"]) > 10_000


@contextmanager
def _block() -> Iterator[None]:
    yield


def test_a_problem_passes_through_context_managers() -> None:
    """It arrives as it was raised, wherever it passes a `with` block."""
    with pytest.raises(Problem) as raised, _block():
        raise unknown_report()
    assert raised.value.body() == unknown_report().body()
