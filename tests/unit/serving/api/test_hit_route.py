"""The report route: hits, old entries, misses, validators, codings and shapes, as a client sees them."""

import asyncio
import gzip
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import brotli
import orjson
import pytest
import zstandard

from adwarm.compression.document import Shape
from adwarm.model import Account, Actor, Priority, ReportKey, TokenScope
from adwarm.serving import representations
from adwarm.serving.api.heads import parse_request
from adwarm.serving.api.insights_request import (
    PARAMETERS,
    choose_shape,
    parse_query,
    parse_wait,
)
from adwarm.serving.api.routes.insights import ReportQuery
from adwarm.serving.misses import FetchOutcome
from adwarm.serving.problems import Problem, unknown_report
from adwarm.store import accounts, entries, write_transaction
from adwarm.store.entries import Entry, payload
from tests.unit.conftest import NOW, SQLITE_ONLY, ReaderHarness
from tests.unit.serving.hit_harness import HitHarness

KEY = ReportKey("act_1", "yesterday")
PATH = "/v1/insights/act_1/yesterday"
MONTH = ReportKey("act_1", "last_30d")
MONTH_PATH = "/v1/insights/act_1/last_30d"
HOUR = timedelta(hours=1)
DECODERS: dict[str | None, Any] = {
    "br": brotli.decompress,
    "gzip": gzip.decompress,
    "zstd": zstandard.decompress,
    None: bytes,
}


@pytest.fixture
def route(reading: ReaderHarness, tmp_path: Path) -> HitHarness:
    """A hit route over the prefetch harness."""
    return HitHarness(reading, tmp_path)


def _entry(route: HitHarness, account: str = "act_1") -> Entry:
    (found,) = entries.list_entries(route.engine, account)
    return found


def _set_scopes(route: HitHarness, *scopes: TokenScope, **more: Any) -> None:
    route.tokens.token = replace(route.tokens.token, scopes=frozenset(scopes), **more)


def test_a_hit_is_the_stored_bytes(route: HitHarness) -> None:
    """A client that accepts the stored coding gets the stored bytes, with age, state, validator and kind of cache."""
    route.reading.warm(MONTH)
    route.clock.sleep(90)
    answer = route.get(MONTH_PATH, accept_encoding="gzip, zstd")
    stored = route.reading.reader.get_body(route.reading.reader.read(MONTH, record_traffic=False))
    assert (answer.status, answer.headers["content-encoding"]) == (200, "zstd")
    assert answer.headers["content-length"] == str(len(answer.body))
    assert zstandard.decompress(answer.body) == stored
    assert answer.headers["age"] == "90"
    ttl, window = 6 * 3600 - 90, _entry(route).key.window
    assert answer.headers["cache-status"] == f'adwarm; hit; ttl={ttl}; key="act_1 last_30d {window}"'
    assert answer.headers["cache-control"] == "private, max-age=0"
    assert answer.headers["vary"] == "Authorization, Accept, Accept-Encoding"
    assert answer.headers["etag"].endswith(':columnar:zstd"')


@SQLITE_ONLY
def test_not_modified(route: HitHarness) -> None:
    """A client that holds the document in any coding gets 304 with its own tag; another document gets 200."""
    route.reading.warm(MONTH)
    tag = route.get(MONTH_PATH, accept_encoding="zstd").headers["etag"]
    for condition in (tag, f'"x", W/{tag}'):
        answer = route.get(MONTH_PATH, accept_encoding="gzip", if_none_match=condition)
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", tag)
        assert "age" in answer.headers
    assert route.get(MONTH_PATH, if_none_match='"other"').status == 200
    assert [item.sent_bytes for item in route.opens.items[1:3]] == [0, 0]


@SQLITE_ONLY
def test_head_has_the_headers_and_no_body(route: HitHarness) -> None:
    """HEAD answers like GET, length included, without the body."""
    route.reading.warm(MONTH)
    whole, head = route.get(MONTH_PATH), route.get(MONTH_PATH, "HEAD")
    assert (head.status, head.body, head.headers) == (200, b"", whole.headers)


@SQLITE_ONLY
def test_an_answer_at_once_is_that_of_the_task(route: HitHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in memory is answered without a task, with the same status, headers and body, and is an open as well."""
    route.reading.warm(MONTH)
    tag = route.get(MONTH_PATH).headers["etag"]
    requests = [("GET", {}), ("HEAD", {}), ("GET", {"if_none_match": tag}), ("GET", {"accept_encoding": "gzip"})]
    route.get(MONTH_PATH, accept_encoding="gzip")
    assert route.at_once == 0
    answers = [route.get(MONTH_PATH, method, **headers) for method, headers in requests]
    assert route.at_once == len(requests)
    monkeypatch.setattr(route.route, "answer_at_once", lambda *_: None)
    assert answers == [route.get(MONTH_PATH, method, **headers) for method, headers in requests]
    written: list[Any] = []
    assert route.repeated is not None
    assert route.repeated(lambda *parts: written.append(parts))
    assert [parts[2] for parts in written] == [answers[-1].body]
    route.opens.items.pop()
    sent = [(item.status, item.sent_bytes) for item in route.opens.items[2:]]
    assert sent[: len(requests)] == sent[len(requests) :]
    assert route.count_reads() == (11, 0, 0)


@SQLITE_ONLY
def test_what_is_not_answered_at_once_leaves_no_trace(route: HitHarness) -> None:
    """A request that needs more than memory, or is refused, is answered and counted by its task only."""
    route.reading.warm(KEY)
    route.get(PATH)
    for path, headers in [
        (PATH, {"authorization": "Bearer adwarm_bad_secret"}),
        (PATH, {"origin": "https://dash.example.com"}),
        (f"{PATH}?shape=none", {}),
        (PATH, {"accept_encoding": "identity;q=0, x"}),
        ("/v1/insights/act_1/last_7d", {}),
    ]:
        route.get(path, **headers)
    route.clock.sleep(1)
    route.get(PATH)
    route.get(PATH, adwarm_actor="\xff")
    assert (route.at_once, len(route.opens.items)) == (1, 5)
    assert route.repeated is not None
    route.clock.sleep(1)
    assert not route.repeated(lambda *parts: None), "its pointer is too old"
    assert len(route.opens.items) == 5


@SQLITE_ONLY
def test_other_requests_reach_the_application_behind(route: HitHarness) -> None:
    """Other methods and paths are passed on untouched."""
    for method, path in (("POST", PATH), ("GET", "/v1/insights/act_1"), ("GET", f"{PATH}/x"), ("GET", "/healthz")):
        route.get(path, method)
    assert route.passed_on == [PATH, "/v1/insights/act_1", f"{PATH}/x", "/healthz"]


@SQLITE_ONLY
def test_codings(route: HitHarness, subtests: pytest.Subtests) -> None:
    """The coding follows Accept-Encoding, the stored one first, and each coding has its own strong tag."""
    route.reading.warm(MONTH)
    for accepted, coding in [
        ("zstd", "zstd"),
        ("gzip, br;q=0.5", "gzip"),
        ("gzip;q=0.2, br;q=0.5", "br"),
        ("zstd;q=0, gzip", "gzip"),
        ("zstd;q=0.001, gzip;q=1", "zstd"),
        ("*", "zstd"),
        ("identity", None),
        ("", None),
    ]:
        with subtests.test(accepted=accepted, coding=coding):
            answer = route.get(MONTH_PATH, accept_encoding=accepted)
            assert answer.headers.get("content-encoding") == coding
            assert b"2026-10-26" in DECODERS[coding](answer.body)
            assert answer.headers["etag"].endswith(f':columnar:{coding or "identity"}"')
            assert answer.body == route.get(MONTH_PATH, accept_encoding=accepted).body


def test_an_old_entry_is_served_and_requested(route: HitHarness) -> None:
    """It is served at once with a negative ttl, and a fresh copy is requested in the class that the client names."""
    route.reading.warm(KEY)
    route.clock.set(NOW + 7 * HOUR)
    answer = route.get(PATH, adwarm_priority="low")
    assert (answer.status, route.misses.revalidated) == (200, [(KEY, Priority.LOW)])
    assert "; hit; ttl=-3600; " in answer.headers["cache-status"]
    assert 'detail="expired"' in answer.headers["cache-status"]
    assert route.opens.items[0].status == "stale"


@SQLITE_ONLY
def test_an_unknown_class_is_refused_before_anything_is_sent(route: HitHarness) -> None:
    """A bad `Adwarm-Priority` on an old entry is 400, not a cut answer."""
    route.reading.warm(KEY)
    route.clock.set(NOW + 7 * HOUR)
    assert route.get(PATH, adwarm_priority="now").status == 400


@SQLITE_ONLY
def test_a_parameter_that_does_not_exist_is_refused_for_a_hit_too(route: HitHarness) -> None:
    """A misspelled or former parameter is 400 also where the report is in memory; the OpenAPI document has the rest."""
    route.reading.warm(KEY)
    assert route.get(f"{PATH}?table=daily").status == 200
    for query in ("priority=high", "priority", "wait=5", "reprot=default", "table=daily&table=daily"):
        answer = route.get(f"{PATH}?{query}")
        assert (answer.status, orjson.loads(answer.body)["title"]) == (400, "Bad Request"), query
    assert set(PARAMETERS) == set(ReportQuery.model_fields)


@SQLITE_ONLY
def test_a_token_that_only_reads_never_causes_a_fetch(route: HitHarness) -> None:
    """With the scope `read` an old entry is served and nothing is requested; what is missing is not found."""
    accounts.save(route.engine, [Account("act_1")], NOW)
    _set_scopes(route, TokenScope.READ)
    missing = route.get(PATH, prefer="wait=5")
    route.reading.warm(KEY)
    route.clock.set(NOW + 7 * HOUR)
    assert (missing.status, route.get(PATH).status) == (404, 200)
    assert "is not stored for 2026-11-24..2026-11-24" in orjson.loads(missing.body)["detail"]
    assert (route.misses.fetched, route.misses.revalidated) == ([], [])


@SQLITE_ONLY
def test_adwarm_itself_never_causes_a_fetch(route: HitHarness) -> None:
    """A read-back by the warmer requests nothing and is no open."""
    _set_scopes(route, TokenScope.ENQUEUE, actor=Actor.WARMER)
    route.reading.warm(KEY)
    route.clock.set(NOW + 7 * HOUR)
    assert route.get(PATH).status == 200
    assert (route.misses.revalidated, route.opens.items) == ([], [])


def test_a_miss_is_requested(route: HitHarness) -> None:
    """Without waiting: 202 with the path of the request, and the open carries its number."""
    answer = route.get(PATH, adwarm_priority="high", x_request_id="abc")
    assert (answer.status, answer.headers["location"], answer.headers["retry-after"]) == (202, "/v1/requests/17", "3")
    assert orjson.loads(answer.body)["reason"] == "it is queued"
    assert (answer.headers["cache-control"], "preference-applied" in answer.headers) == ("no-store", False)
    assert "fwd=miss" in answer.headers["cache-status"]
    assert route.misses.fetched == [(KEY, Priority.HIGH, 0.0)]
    assert [(item.status, item.request_id) for item in route.opens.items] == [("miss", "17")]


def test_a_reader_that_waits_gets_what_was_fetched(route: HitHarness) -> None:
    """It gets the report of the fetch although the pointer of the miss is still cached."""

    def fetch(key: ReportKey) -> FetchOutcome:
        route.reading.warm(key)
        return FetchOutcome(True, 17)

    route.misses.on_fetch = fetch
    answer = route.get(PATH, prefer="respond-async, wait=90", adwarm_request="17")
    assert (answer.status, route.misses.fetched[0][2]) == (200, 30.0)
    assert "fwd=miss; stored; " in answer.headers["cache-status"]
    assert [(item.status, item.request_id) for item in route.opens.items] == [("fetched", "17")]
    assert route.get(PATH).headers["cache-status"].startswith("adwarm; hit; ")
    assert route.count_reads() == (1, 0, 1)


@SQLITE_ONLY
def test_a_wait_that_ends_says_so(route: HitHarness) -> None:
    """A client that asked to wait and gets 202 sees how long it waited."""
    assert route.get(PATH, prefer="wait=5").headers["preference-applied"] == "wait=5"


@SQLITE_ONLY
def test_a_fetch_that_cannot_be_requested_is_unavailable(route: HitHarness) -> None:
    """Without a request there is nothing to come back for: 503 with the reason."""
    route.misses.on_fetch = lambda key: FetchOutcome(False, None, 7, "the account is closed")
    answer = route.get(PATH)
    assert (answer.status, answer.headers["retry-after"]) == (503, "7")
    assert orjson.loads(answer.body)["detail"] == "the account is closed"


@SQLITE_ONLY
def test_a_refusal_is_passed_on(route: HitHarness) -> None:
    """A problem of the miss handler is the answer, and the read is counted as a miss."""

    def refuse(key: ReportKey) -> FetchOutcome:
        raise Problem(429, "Too Many Requests", "ten are queued", {"Retry-After": "9"})

    accounts.save(route.engine, [Account("act_1")], NOW)
    route.misses.on_fetch = refuse
    answer = route.get(PATH, prefer="wait=1")
    assert (answer.status, answer.headers["retry-after"], route.count_reads()) == (429, "9", (0, 0, 1))


@SQLITE_ONLY
@pytest.mark.parametrize("scope", [TokenScope.READ, TokenScope.ENQUEUE])
def test_what_does_not_exist_is_not_opened(route: HitHarness, scope: TokenScope) -> None:
    """An unknown account and a range that is not served are not opens, whatever the token may request."""

    def refuse(key: ReportKey) -> FetchOutcome:
        raise unknown_report() if key.account_id != "act_1" else Problem(400, "Bad Request", "in the future")

    accounts.save(route.engine, [Account("act_1")], NOW)
    route.misses.on_fetch = refuse
    _set_scopes(route, scope)
    paths = ("/v1/insights/act_77/yesterday", "/v1/insights/act_1/2099-01-01..2099-01-02", "/v1/insights/act_1/x")
    assert [route.get(path).status for path in paths] == [404, 400, 400]
    _set_scopes(route, scope, accounts=frozenset({"act_77"}))
    assert route.get(paths[0]).status == 404
    assert (route.opens.items, route.count_reads()) == ([], (0, 0, 0))


@SQLITE_ONLY
def test_an_account_that_is_only_on_a_list_is_not_opened_by_a_refusal(route: HitHarness) -> None:
    """A token that has used its limits up leaves no open of an account that is not stored."""

    def refuse(key: ReportKey) -> FetchOutcome:
        raise Problem(429, "Too Many Requests", "none are left", {"Retry-After": "9"})

    route.misses.on_fetch = refuse
    _set_scopes(route, TokenScope.ENQUEUE, accounts=frozenset({"act_77"}))
    assert route.get("/v1/insights/act_77/yesterday").status == 429
    assert (route.opens.items, route.count_reads()) == ([], (0, 0, 0))


@SQLITE_ONLY
def test_a_reader_that_leaves_stops_waiting(route: HitHarness) -> None:
    """When the client disconnects, its wait is canceled and nothing is sent."""
    route.misses.is_held = True
    messages = iter([{"type": "http.request", "body": b""}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        await asyncio.sleep(0)  # lets the fetch begin
        return next(messages)

    answer = asyncio.run(route.request(PATH, receive=receive, prefer="wait=30"))
    assert (answer.status, route.misses.canceled) == (0, 1)
    assert [item.status for item in route.opens.items] == ["miss"]


@pytest.mark.parametrize("is_lost", [False, True])
def test_damaged_and_lost_bytes_are_never_sent(route: HitHarness, is_lost: bool) -> None:
    """The entry is marked degraded, and the report is requested when its days are lost too; then it is served again."""
    route.reading.warm(KEY)
    route.reading.corrupt_objects()
    if is_lost:
        with write_transaction(route.engine) as connection:
            connection.execute(payload.update().values(body=b""))
    else:
        route.reading.corrupt_payloads()
    assert route.get(PATH).status == 202
    assert _entry(route).degraded
    assert route.misses.fetched == [(KEY, Priority.NORMAL, 0.0)]
    route.clock.sleep(2)
    route.reading.fetch(KEY)
    assert route.get(PATH).headers["cache-status"].startswith("adwarm; hit; ttl=21600")


@SQLITE_ONLY
def test_bad_input_says_what_to_write(route: HitHarness, subtests: pytest.Subtests) -> None:
    """Malformed parts get 400 with a sentence about the part, before anything is requested."""
    for path in [
        "/v1/insights/_x/yesterday",
        "/v1/insights/act_1/sometimes",
        f"{PATH}?report=No",
        f"{PATH}?shape=xml",
        f"{PATH}?table=all",
        f"{PATH}?shape=csv&shape=csv",
    ]:
        with subtests.test(path=path):
            answer = route.get(path)
            assert answer.status == 400
            assert len(orjson.loads(answer.body)["detail"]) > 20
            assert route.misses.fetched == []


@SQLITE_ONLY
def test_a_long_path_is_refused(route: HitHarness) -> None:
    """Path and query of more than two kilobytes are not parsed, and an error repeats little of a shorter one."""
    for path in (f"{PATH}?x={'1' * 2_100}", PATH + "1" * 2_100):
        assert route.get(path).status == 414
    answer = route.get(PATH + "1" * 1_900)
    assert (answer.status, len(answer.body) < 600) == (400, True)


@SQLITE_ONLY
@pytest.mark.parametrize(
    "zone", ["America/New_York", "Asia/Tokyo", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu"]
)
def test_the_warmed_key_is_the_requested_key(reading: ReaderHarness, tmp_path: Path, zone: str) -> None:
    """Across the midnights around changes of the clock, what the reader resolves is what is served.

    A request just before each moment leaves a pointer in the cache, which must not outlive the account's midnight.
    """
    route = HitHarness(reading, tmp_path, settings={"pointer_seconds": 1.0})
    accounts.save(reading.engine, [Account("act_1", zone, zone)], NOW)
    for change in (
        datetime(2026, 4, 5, tzinfo=UTC),
        datetime(2026, 9, 6, tzinfo=UTC),
        datetime(2026, 11, 1, tzinfo=UTC),
    ):
        windows = set()
        for step in range(-8, 20, 2):
            moment = change + step * HOUR
            route.clock.set(moment - timedelta(milliseconds=300))
            reading.warm(KEY)
            route.get(PATH)
            route.clock.set(moment)
            expected = reading.reader.read(KEY, Actor.WARMER)
            answer = route.get(PATH, accept_encoding="zstd")
            assert (answer.status == 200) == (expected.entry is not None)
            if expected.entry is not None:
                assert f'key="act_1 yesterday {expected.entry.key.window}"' in answer.headers["cache-status"]
                windows.add(expected.entry.key.window)
        assert len(windows) == 2


@SQLITE_ONLY
def test_midnight_is_not_served_from_the_pointer(route: HitHarness) -> None:
    """A moment before midnight the window of the day is a hit, at midnight the next one is missing."""
    accounts.save(route.engine, [Account("act_1", "America/New_York", "America/New_York")], NOW)
    route.clock.set(datetime(2026, 11, 26, 4, 59, 59, 900_000, tzinfo=UTC))
    route.reading.warm(KEY)
    before = route.get(PATH)
    route.clock.set(datetime(2026, 11, 26, 5, 0, tzinfo=UTC))
    assert (before.status, route.get(PATH).status) == (200, 202)


def test_opens_are_recorded_with_their_actor(route: HitHarness) -> None:
    """The token's actor by default, another for a trusted backend, `api` for a hook that polls."""
    route.reading.warm(KEY)
    route.get(PATH, x_request_id="7f-1")
    route.get(PATH, adwarm_trigger="poll", adwarm_actor="embedded")
    _set_scopes(route, TokenScope.READ, is_trusted=True)
    route.get(PATH, adwarm_actor="embedded", x_request_id="not an id")
    actors = [(item.actor, item.request_id) for item in route.opens.items]
    assert actors == [(Actor.HUMAN, "7f-1"), (Actor.API, None), (Actor.EMBEDDED, None)]
    assert all(item.latency_ms >= 0 and item.sent_bytes > 0 for item in route.opens.items)
    assert route.count_reads() == (3, 0, 0)


@SQLITE_ONLY
def test_other_shapes_are_made_once(reading: ReaderHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shape is rendered from the document, has its own type and tag, and the second request does not render."""
    rendered = []
    render = representations.render_shape

    def count(*arguments: Any) -> bytes:
        rendered.append(arguments[1:])
        return render(*arguments)

    monkeypatch.setattr(representations, "render_shape", count)
    route = HitHarness(reading, tmp_path)
    reading.warm(KEY)
    first = route.get(f"{PATH}?table=summary", accept="text/csv, */*;q=0.1", accept_encoding="gzip")
    second = route.get(f"{PATH}?shape=csv&table=summary", accept_encoding="gzip")
    assert rendered == [(Shape.CSV, "summary")]
    assert b"date_start" in gzip.decompress(first.body).splitlines()[0]
    assert first.headers["content-type"] == "text/csv; charset=utf-8"
    assert first.headers["etag"].endswith(':csv.summary:gzip"')
    assert first.body == second.body


def test_shapes_by_accept(subtests: pytest.Subtests) -> None:
    """The acceptable type with the highest weight decides; anything unknown stands for the document."""
    for accept, shape in [
        ("", "columnar"),
        ("*/*", "columnar"),
        ("text/html", "columnar"),
        ("application/x-ndjson", "ndjson"),
        ("text/csv;q=0.5, application/json;q=0.4", "csv"),
        ("text/csv;q=0.5, application/json;q=0.6", "columnar"),
        ("application/vnd.apache.arrow.stream", "arrow"),
        ("text/csv;q=high", "columnar"),
    ]:
        with subtests.test(accept=accept, shape=shape):
            assert choose_shape(accept, parse_query(PATH, b"")) == shape


def test_waits(subtests: pytest.Subtests) -> None:
    """`Prefer: wait=N` is read among other preferences; anything malformed does not wait."""
    for prefer, seconds in [
        ("", 0),
        ("wait=10", 10),
        ("respond-async, wait=3;x", 3),
        ('WAIT="4"', 4),
        ("wait=-1", 0),
        ("waiting=5", 0),
    ]:
        with subtests.test(prefer=prefer, seconds=seconds):
            assert parse_wait(prefer) == seconds


def test_no_long_text_of_a_client_is_kept() -> None:
    """A request with usual headers is parsed once; of a long one nothing is held afterwards."""
    scope = {"scheme": "http", "path": PATH, "raw_path": PATH.encode(), "query_string": b""}
    assert parse_request(scope, {b"accept": b"text/csv"}) is parse_request(scope, {b"accept": b"text/csv"})
    text = b"x/" + b"a" * 1_000
    before = sys.getrefcount(text)
    for name in (b"accept", b"accept-encoding"):
        parse_request(scope, {name: text})
    assert sys.getrefcount(text) == before
