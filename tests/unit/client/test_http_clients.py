"""The Python client: what it asks for, what it keeps, how it waits, and what it raises."""

import asyncio
import subprocess
import sys
import warnings
from dataclasses import replace
from datetime import date
from hashlib import sha256

import httpx
import pytest

from adwarm.foundation.errors import (
    AdwarmError,
    BadRequest,
    Corrupt,
    Denied,
    NotFound,
    Refused,
    TokenDead,
    TooMuchData,
    Transient,
)
from adwarm.model import ReportKey
from adwarm_client import AsyncClient, NotReady, ReportWarning
from tests.unit.client.conftest import TOKEN, URL, ClientHarness, Sent, json_answer, make_document

PENDING = json_answer(202, {"status": "queued"}, Location="/v1/requests/17", Retry_After="3")


def test_a_first_visit_gets_the_whole_report(stub: ClientHarness) -> None:
    """The answer says how it came, and the document is what the server holds."""
    answer = stub.client().report(" act_1 ", "last_7d")
    (request,) = stub.api.requests
    assert str(request.url) == f"{URL}/v1/insights/act_1/last_7d"
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["Accept-Encoding"] == "zstd, br, gzip"
    assert request.headers["Adwarm-Priority"] == "normal"
    assert "Adwarm-Actor" not in request.headers
    assert (answer.status, answer.age_seconds, answer.ttl_seconds, answer.coding) == ("hit", 42, 600, "zstd")
    assert answer.raw == stub.api.document
    assert 0 < answer.wire_bytes < len(answer.raw)
    assert answer.document.header.account_id == "act_1"
    assert len(answer.rows) == 7 * 30


def test_an_unchanged_report_transfers_nothing(stub: ClientHarness) -> None:
    """The copy on disk is revalidated by its tag, by another client too."""
    first = stub.client().report("act_1", "last_7d")
    again = stub.client().report("act_1", "last_7d")
    assert stub.api.requests[1].headers["If-None-Match"] == first.etag
    assert (again.coding, again.wire_bytes, again.raw, again.status) == ("cached", 0, first.raw, "hit")


def test_a_changed_report_replaces_the_copy(stub: ClientHarness) -> None:
    """Another document comes whole and is kept; unchanged, nothing of it is sent."""
    stub.client().report("act_1", "last_7d")
    stub.api.publish(make_document(25))
    answer = stub.client().report("act_1", "last_7d")
    assert (answer.coding, answer.raw) == ("zstd", make_document(25))
    assert "If-None-Match" in stub.api.requests[1].headers
    again = stub.client().report("act_1", "last_7d")
    assert (again.coding, again.raw, again.wire_bytes) == ("cached", make_document(25), 0)


def test_a_damaged_plain_answer_raises(stub: ClientHarness) -> None:
    """Bytes that fail verification are never returned, and never kept."""
    stub.api.change = lambda sent: replace(sent, body=sent.body[:-5])
    with pytest.raises(Corrupt):
        stub.client().report("act_1", "last_7d")
    stub.api.change = lambda sent: sent
    stub.client().report("act_1", "last_7d")
    assert "If-None-Match" not in stub.api.requests[1].headers


def test_a_bomb_is_refused(stub: ClientHarness) -> None:
    """An answer that decodes to more than the limit raises."""
    import zstandard

    bomb = zstandard.ZstdCompressor().compress(bytes(100 * 2**20))
    stub.api.scripted = [Sent(200, {"Content-Encoding": "zstd", "ETag": '"x"'}, bomb)]
    with pytest.raises(TooMuchData):
        stub.client().report("act_1", "last_7d")


def test_a_missing_report_is_waited_for_as_one_open(stub: ClientHarness) -> None:
    """A 202 is followed after its Retry-After, with the id of its request; the wait that is left shrinks."""
    stub.api.scripted = [PENDING, PENDING]
    stub.api.cache_status = 'adwarm; fwd=uri-miss; stored; ttl=9; key="k"'
    answer = stub.client().report("act_1", "last_7d", priority="high", wait=20)
    first, second, third = stub.api.requests
    assert stub.slept == [3, 3]
    assert "Adwarm-Request" not in first.headers
    assert [second.headers["Adwarm-Request"], third.headers["Adwarm-Request"]] == ["17", "17"]
    assert first.headers["Adwarm-Priority"] == "high"
    waits = [int(request.headers["Prefer"].removeprefix("wait=")) for request in (first, second, third)]
    assert waits == sorted(waits, reverse=True)
    assert waits[0] in {19, 20}
    assert waits[2] <= 14
    assert answer.status == "miss"


def test_the_wait_ends_and_may_be_taken_up_again(stub: ClientHarness) -> None:
    """The error names the request, and the next call carries it on; without a wait nothing is waited for."""
    stub.api.scripted = [PENDING, PENDING, PENDING]
    with pytest.raises(NotReady) as caught:
        stub.client().report("act_1", "last_7d", wait=4)
    assert (caught.value.request_id, caught.value.retry_after) == (17, 3)
    assert stub.slept == [3]
    with pytest.raises(NotReady):
        stub.client().report("act_1", "last_7d", wait=0, request_id=17)
    assert "Prefer" not in stub.api.requests[2].headers
    assert stub.api.requests[2].headers["Adwarm-Request"] == "17"
    assert stub.slept == [3]


def test_a_server_that_never_ends_to_say_wait_is_left(stub: ClientHarness) -> None:
    """Pauses of no length are lengthened, so the wait ends."""
    stub.api.scripted = [json_answer(202, {}, Retry_After="0")] * 100
    with pytest.raises(NotReady):
        stub.client().report("act_1", "last_7d", wait=5)
    assert 5 <= len(stub.api.requests) <= 11


def test_a_server_that_is_no_adwarm_is_told_so(stub: ClientHarness) -> None:
    """An unknown path without a problem document means that the base URL is another server's."""
    stub.api.scripted = [json_answer(404, {"error": "no such page"})]
    with pytest.raises(NotFound, match="does not answer as adwarm does; check that the base URL"):
        stub.client().report("act_1", "last_7d")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (401, TokenDead),
        (403, Denied),
        (404, NotFound),
        (413, BadRequest),
        (429, Refused),
        (500, Transient),
        (503, Transient),
    ],
)
def test_problems_become_typed_errors(stub: ClientHarness, status: int, kind: type[AdwarmError]) -> None:
    """The detail of the problem document is the message, and Retry-After is kept."""
    stub.api.scripted = [json_answer(status, {"title": "No", "detail": "do this instead"}, Retry_After="7")]
    with pytest.raises(kind, match="do this instead") as caught:
        stub.client().report("act_1", "last_7d")
    assert caught.value.code == str(status)
    if status in {429, 503}:
        assert caught.value.retry_after == 7  # type: ignore[attr-defined]


def test_no_page_of_a_proxy_is_repeated(stub: ClientHarness) -> None:
    """Bodies that are no problem document, redirects and unexpected answers give plain words."""
    stub.api.scripted = [
        Sent(502, {"Content-Type": "text/html"}, b"<html>internal.host</html>"),
        Sent(400, {"Content-Type": "application/problem+json"}, b"[1"),
        Sent(400, {"Content-Type": "application/problem+json"}, b"[1]"),
        Sent(302, {"Location": "https://elsewhere.example.com"}),
        Sent(304),
    ]
    for _ in range(5):
        with pytest.raises(AdwarmError) as caught:
            stub.client().report("act_1", "last_7d")
        assert "html" not in str(caught.value)
    assert len(stub.api.requests) == 5


def test_another_server_is_named(stub: ClientHarness) -> None:
    """A page of a server that is not the read API says that the base URL is wrong."""
    stub.api.scripted = [Sent(404, {"Content-Type": "text/html"}, b"<html></html>")]
    with pytest.raises(NotFound, match="is not adwarm's read API: check the base URL"):
        stub.client().accounts()


def test_the_token_is_nowhere_but_in_its_header(stub: ClientHarness) -> None:
    """Neither the representation nor an error, a URL, a file name or a file contains it."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route", request=request)

    client = stub.client()
    client.report("act_1", "last_7d")
    with pytest.raises(Transient, match="cannot be reached") as caught:
        type(client)(URL, TOKEN, False, http=httpx.Client(transport=httpx.MockTransport(fail))).queue()
    files = [path for path in stub.folder.rglob("*") if path.is_file()]
    texts = [repr(client), str(client), repr(caught.value), str(stub.api.requests[0].url), str(stub.folder)]
    texts += [str(path) for path in files] + [path.read_bytes().decode("latin-1") for path in files]
    assert files
    for secret in (TOKEN, "very-secret-part", sha256(TOKEN.encode()).hexdigest()[:16]):
        assert not [text for text in texts if secret in text]


def test_a_base_url_is_checked(stub: ClientHarness, subtests: pytest.Subtests) -> None:
    """A URL that cannot be called, or holds credentials, is refused at once, and not repeated."""
    for url in ["", "adwarm.example.com", "ftp://host", "https://user:pw@host", "https://host?x=1", "http://[::1"]:
        with subtests.test(url=url):
            with pytest.raises(BadRequest, match="base URL") as caught:
                stub.client(url)
            assert "pw" not in str(caught.value)


def test_bad_arguments_cause_no_call(stub: ClientHarness) -> None:
    """Account, range, report, priority, actor and token are checked before anything is sent."""
    client = stub.client()
    calls = [
        lambda: client.report("a/b", "last_7d"),
        lambda: client.report("act_1", "soon"),
        lambda: client.report("act_1", "last_7d", "No Report"),
        lambda: client.report("act_1", "last_7d", priority="urgent"),  # type: ignore[arg-type]
        lambda: client.scores("a b"),
        lambda: stub.client(actor="robot"),
        lambda: stub.client(token="two words"),
        lambda: stub.client(token="line\nbreak"),
    ]
    for call in calls:
        with pytest.raises(BadRequest):
            call()
    assert stub.api.requests == []


def test_a_trusted_backend_names_the_actor(stub: ClientHarness) -> None:
    """The header is sent only when it was set."""
    stub.client(actor="embedded").report("act_1", "last_7d")
    assert stub.api.requests[0].headers["Adwarm-Actor"] == "embedded"


def test_each_report_has_its_own_copy(stub: ClientHarness) -> None:
    """Reports of one path, and tokens, do not share entity tags."""
    stub.client().report("act_1", "last_7d")
    stub.client().report("act_1", "last_7d", "weekly")
    stub.client(token="adwarm_other_secret").report("act_1", "last_7d")
    stub.client(f"{URL}/other").report("act_1", "last_7d")
    assert [str(request.url.query) for request in stub.api.requests[:2]] == ["b''", "b'report=weekly'"]
    assert not [request for request in stub.api.requests if "If-None-Match" in request.headers]


def test_no_cache_folder_keeps_nothing(stub: ClientHarness) -> None:
    """With `cache_folder=False` every read is a first visit."""
    client = stub.client(cache_folder=False)
    client.report("act_1", "last_7d")
    client.report("act_1", "last_7d")
    assert "If-None-Match" not in stub.api.requests[1].headers
    assert not stub.folder.exists()


def test_a_frame_in_one_line(stub: ClientHarness) -> None:
    """Days are timestamps, figures numbers, ids and names text; the summary is a table of its own."""
    frame = stub.client().frame("act_1", "last_7d")
    assert len(frame) == 7 * 30
    assert frame["date_start"].min().date() == date(2026, 11, 18)
    assert frame["clicks"].dtype.kind == "i"
    assert frame["spend"].dtype.kind == "f"
    assert set(frame["ad_id"].map(type)) == set(frame["ad_name"].map(type)) == {str}
    assert stub.client().frame("act_1", "last_7d", table="summary").to_dict("records") == [{"ad_id": "7", "reach": 70}]


@pytest.mark.parametrize("status", [202, 404, 503])
def test_other_days_are_not_ready(stub: ClientHarness, status: int) -> None:
    """Whatever the refusal, a report of other days is `NotReady`; it names the days and how to get them."""
    body = {"detail": "the platform is down", "stored_window": "2026-11-24..2026-11-24"}
    stub.api.scripted = [json_answer(status, body, Retry_After="7")]
    with pytest.raises(
        NotReady, match=r"other days are stored, 2026-11-24\.\.2026-11-24, which allow_partial=True"
    ) as error:
        stub.client().frame("act_1", "maximum", wait=0)
    assert (error.value.stored_window, error.value.retry_after) == ("2026-11-24..2026-11-24", 7)
    assert "Prefer" not in stub.api.requests[0].headers


def test_allowed_other_days_are_labeled(stub: ClientHarness) -> None:
    """With the permission the frame says which days it has, how old and why, and one warning is given per answer."""

    def change(sent: Sent) -> Sent:
        reason = {"Adwarm-Window": "2026-11-18..2026-11-24", "Adwarm-Degraded": "?1", "Adwarm-Reason": '"it is down"'}
        return replace(sent, headers={**sent.headers, **reason})

    stub.api.change, stub.api.cache_status = change, 'adwarm; hit; ttl=-1; key="act_1 maximum"'
    answer = stub.client().report("act_1", "maximum", allow_partial=True)
    assert stub.api.requests[0].headers["Prefer"] == "wait=30, allow-partial"
    with pytest.warns(ReportWarning, match="maximum has the days 2026-11-18..2026-11-24 instead, 42 s old: it is down"):
        frame = answer.frame()
    window = "2026-11-18..2026-11-24"
    assert answer.other_window == window
    assert frame.attrs["adwarm"] == {"status": "stale", "age_seconds": 42, "window": window, "reason": "it is down"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(answer.rows) == len(answer.frame()) == len(frame)


def test_a_stale_report_is_data_with_a_warning(stub: ClientHarness) -> None:
    """The days are those asked for: it is returned, and says that it is old; a fresh one says nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stub.client().frame("act_1", "last_7d").attrs["adwarm"]["status"] == "hit"
    stub.api.cache_status = 'adwarm; hit; ttl=-5; key="act_1 last_7d"'
    with pytest.warns(ReportWarning, match=r"of 2026-11-18\.\.2026-11-24 is stale, 42 s old"):
        frame = stub.client().frame("act_1", "last_7d")
    assert (frame.attrs["adwarm"]["status"], frame.attrs["adwarm"]["reason"]) == ("stale", None)


def test_a_batch_passes_the_permission(stub: ClientHarness) -> None:
    """The preference goes with the request."""
    stub.api.scripted = [json_answer(200, {"items": []})] * 2
    stub.client().batch([ReportKey("act_1", "last_7d")], allow_partial=True)
    stub.client().batch([ReportKey("act_1", "last_7d")])
    assert [request.headers.get("Prefer") for request in stub.api.requests] == ["allow-partial", None]


def test_scores_follow_all_pages(stub: ClientHarness) -> None:
    """Every page is read with the filters; a cursor that repeats ends the reading."""
    stub.api.scripted = [
        json_answer(200, {"scores": [{"ad_id": "1"}], "next_cursor": "c1"}),
        json_answer(200, {"scores": [{"ad_id": "2"}], "next_cursor": None}),
    ]
    scores = stub.client().scores("act_1", date(2026, 11, 24), "7")
    assert [score["ad_id"] for score in scores] == ["1", "2"]
    first, second = (dict(request.url.params) for request in stub.api.requests)
    assert first == {"limit": "1000", "as_of": "2026-11-24", "ad_id": "7"}
    assert second == {**first, "cursor": "c1"}
    stub.api.scripted = [json_answer(200, {"scores": [], "next_cursor": "c1"})] * 3
    assert stub.client().scores("act_1") == []


def test_the_other_routes(stub: ClientHarness) -> None:
    """Each method calls its route, and returns its document."""
    client = stub.client()
    stub.api.scripted = [json_answer(202 if n == 3 else 200, {"n": n, "items": [n]}) for n in range(6)]
    key = ReportKey("act_1", "last_7d")
    answers = [
        client.queue(),
        client.gates(),
        client.request(17),
        client.enqueue("act_1", "last_7d", priority="low"),
    ]
    assert [answer["n"] for answer in answers] == [0, 1, 2, 3]
    assert client.batch([key]) == [4]
    assert client.accounts()["n"] == 5
    asked = [(request.method, request.url.path, request.content) for request in stub.api.requests]
    assert asked == [
        ("GET", "/v1/queue", b""),
        ("GET", "/v1/gates", b""),
        ("GET", "/v1/requests/17", b""),
        (
            "POST",
            "/v1/requests",
            b'{"account":"act_1","range":"last_7d","report":"default","priority":"low"}',
        ),
        (
            "POST",
            "/v1/batch",
            b'{"items":[{"account":"act_1","range":"last_7d","report":"default"}],"priority":"normal"}',
        ),
        ("GET", "/v1/accounts", b""),
    ]


def test_the_async_client_does_the_same(stub: ClientHarness) -> None:
    """First visit, wait, 304, errors and the other routes, in one event loop."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def run() -> None:
        http = httpx.AsyncClient(transport=httpx.MockTransport(stub.api.respond))
        async with AsyncClient(URL, TOKEN, stub.folder, http=http, sleep=sleep) as client:
            stub.api.scripted = [PENDING]
            assert (await client.report("act_1", "last_7d")).coding == "zstd"
            stub.api.publish(make_document(25))
            assert (await client.report("act_1", "last_7d")).coding == "zstd"
            assert len(await client.frame("act_1", "last_7d")) == 7 * 30
            assert (await client.report("act_1", "last_7d", allow_partial=True)).coding == "cached"
            assert stub.api.requests[-1].headers["Prefer"] == "wait=30, allow-partial"
            stub.api.scripted = [json_answer(200, {"scores": [1], "n": n, "items": [2]}) for n in range(7)]
            assert await client.scores("act_1") == [1]
            calls = (client.queue(), client.gates(), client.request(1))
            assert [(await call)["n"] for call in calls] == [1, 2, 3]
            assert (await client.enqueue("act_1", "last_7d"))["n"] == 4
            assert await client.batch([ReportKey("act_1", "last_7d")]) == [2]
            assert (await client.accounts())["n"] == 6
            stub.api.scripted = [json_answer(401, {"detail": "renew it"})]
            with pytest.raises(TokenDead, match="renew it"):
                await client.queue()
            assert TOKEN not in repr(client)

    asyncio.run(run())
    assert slept == [3]


def test_importing_the_client_is_light() -> None:
    """Neither Airflow, adwarm nor a library of frames, arrays or databases is loaded."""
    heavy = ("adwarm", "airflow", "pandas", "numpy", "sqlalchemy", "pyarrow", "msgspec")
    code = f"import sys, adwarm_client; print(*(name for name in {heavy} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
