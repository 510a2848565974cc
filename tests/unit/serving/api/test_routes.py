"""The routes answer what is stored, queue what may be queued, and never call upstream for a token with `read`."""

import shutil
from pathlib import Path

import orjson
import pytest

from adwarm.backpressure.request_queue import RequestQueue
from adwarm.compression.envelope import decode
from adwarm.foundation.errors import Refused, Transient
from adwarm.model import Actor, Priority, ReportKey, TokenScope
from adwarm.serving.misses import FetchOutcome
from adwarm.serving.problems import Problem
from adwarm.serving.reader import ReadStatus
from adwarm.store import data_arrivals
from tests.unit.conftest import NOW, SQLITE_ONLY
from tests.unit.serving.api.conftest import Api

KEY = ReportKey("act_1", "last_7d")
BODY = {"account": "act_1", "range": "last_7d"}


def test_a_batch_reads_what_is_stored(api: Api) -> None:
    """Each key has its own status; documents are those that are stored, and reads are recorded for valid keys."""
    api.reading.warm(KEY, ReportKey("act_2", "today"))
    api.clock.sleep(4 * 3600)
    api.reading.warm(KEY)
    keys = [BODY, {"account": "2", "range": "today"}, {**BODY, "range": "last_30d"}, {**BODY, "range": "tomorrow"}]
    items = api.post("/v1/batch", api.token(actor=Actor.EMBEDDED), {"items": [*keys, {**BODY, "report": "x"}]}).json()[
        "items"
    ]
    assert [item["status"] for item in items] == ["hit", "stale", "miss", "invalid", "not_found"]
    assert items[0]["document"] == orjson.loads(api.reading.reader.get_body(api.reading.reader.read(KEY)))
    assert items[0]["complete"]
    assert items[1]["age_seconds"] == 4 * 3600
    assert items[1]["document"] is not None
    assert [item["document"] for item in items[2:]] == [None] * 3
    assert "tomorrow" in items[3]["reason"]
    assert [(item.status, item.actor) for item in api.opens.items] == [
        ("hit", Actor.EMBEDDED),
        ("stale", Actor.EMBEDDED),
        ("miss", Actor.EMBEDDED),
    ]
    assert api.opens.items[0].sent_bytes > 0
    assert api.services.counter.items == [("act_1", "hit", True), ("act_2", "stale", True), ("act_1", "miss", False)]


def test_a_batch_opens_only_what_exists(api: Api) -> None:
    """Accounts that are not stored are not found, ranges that are not served invalid, and neither is an open."""
    keys = [{**BODY, "account": "act_9"}, {**BODY, "range": "2099-01-01..2099-01-02"}, BODY]
    for token in (api.token(), api.token(TokenScope.ENQUEUE)):
        items = api.post("/v1/batch", token, {"items": keys}).json()["items"]
        assert [item["status"] for item in items] == ["not_found", "invalid", "miss"]
    assert [item.key for item in api.opens.items] == [KEY, KEY]
    assert [key for key, _, _ in api.misses.fetched] == [KEY]
    listed = api.token(accounts=frozenset({"act_9"}))
    assert api.post("/v1/batch", listed, {"items": keys[:1]}).json()["items"][0]["status"] == "miss"
    assert len(api.opens.items) == 2


def test_a_batch_of_a_read_token_requests_nothing(api: Api) -> None:
    """With `read`, neither a miss nor a stale entry causes a request; with `enqueue` both do, at an allowed class."""
    api.reading.warm(ReportKey("act_2", "today"))
    api.clock.sleep(4 * 3600)
    body = {"items": [BODY, {"account": "act_2", "range": "today"}], "priority": "critical"}
    api.post("/v1/batch", api.token(), body)
    assert (api.misses.fetched, api.misses.revalidated) == ([], [])
    items = api.post("/v1/batch", api.token(TokenScope.ENQUEUE, highest_priority=Priority.HIGH), body).json()["items"]
    assert [(key, priority) for key, _, priority in api.misses.fetched] == [(KEY, Priority.HIGH)]
    assert api.misses.revalidated == [ReportKey("act_2", "today")]
    assert items[0]["request"]["location"] == f"/v1/requests/{items[0]['request']['request_id']}"


@SQLITE_ONLY
def test_a_refused_request_is_the_reason_of_its_item(api: Api) -> None:
    """A batch answers although one of its misses cannot be requested."""
    api.misses.outcome = Problem(429, "Too Many Requests", "the queue is full")
    (item,) = api.post("/v1/batch", api.token(TokenScope.ENQUEUE), {"items": [BODY]}).json()["items"]
    assert (item["status"], item["reason"], item["request"]) == ("miss", "the queue is full", None)


def test_corrupt_bytes_are_a_miss(api: Api) -> None:
    """A document that fails its checksum is never sent, nor one of days that fail theirs."""
    api.reading.warm(KEY)
    api.reading.corrupt_objects()
    api.reading.corrupt_payloads()
    (item,) = api.post("/v1/batch", api.token(), {"items": [BODY]}).json()["items"]
    assert (item["status"], item["document"]) == ("miss", None)


@SQLITE_ONLY
def test_a_batch_is_compressed(api: Api, subtests: pytest.Subtests) -> None:
    """The answer comes in a coding that the client accepts."""
    api.reading.warm(KEY)
    for coding in ["gzip", "br", "zstd", "identity"]:
        with subtests.test(coding=coding):
            headers = {"Authorization": api.token(), "Accept-Encoding": coding}
            with api.client.stream("POST", "/v1/batch", json={"items": [BODY] * 50}, headers=headers) as answer:
                raw = b"".join(answer.iter_raw())
            assert answer.headers.get("content-encoding", "identity") == coding
            codec = {"br": "brotli"}.get(coding, coding)
            assert len(orjson.loads(decode(raw, codec, 10**8))["items"]) == 50  # type: ignore[arg-type]


@SQLITE_ONLY
def test_a_full_answer_says_so(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit of an answer a report is named without its document."""
    monkeypatch.setattr("adwarm.serving.api.routes.batch.MAX_DECODED_BYTES", 10)
    api.reading.warm(KEY)
    (item,) = api.post("/v1/batch", api.token(), {"items": [BODY]}).json()["items"]
    assert (item["status"], item["document"]) == ("hit", None)
    assert "by itself" in item["reason"]


@SQLITE_ONLY
def test_only_a_trusted_backend_names_the_actor(api: Api, subtests: pytest.Subtests) -> None:
    """A class other than `api` counts in `Adwarm-Actor` for trusted tokens alone."""
    for trusted, actor in [(True, Actor.EMBEDDED), (False, Actor.HUMAN)]:
        with subtests.test(trusted=trusted, actor=actor):
            api.post("/v1/batch", api.token(is_trusted=trusted), {"items": [BODY]}, **{"Adwarm-Actor": "embedded"})
            assert api.opens.items[-1].actor is actor


def test_a_request_is_followed_to_its_end(api: Api) -> None:
    """A request is queued with 202, shows position and `Retry-After` while open, and `Location` once completed."""
    token = api.token(TokenScope.ENQUEUE)
    answer = api.post("/v1/requests", token, {**BODY, "priority": "critical"})
    assert (answer.status_code, answer.json()["status"], answer.headers["retry-after"]) == (202, "queued", "3")
    path = answer.headers["location"]
    waiting = api.get(path, token)
    assert (waiting.json()["status"], waiting.json()["position"]) == ("pending", 1)
    assert waiting.json()["priority"] == "normal"
    assert int(waiting.headers["retry-after"]) >= 1
    (claim,) = api.services.queue.dequeue(1)
    assert api.get(path, token).json()["status"] == "processing"
    api.services.queue.ack(claim, {"status": "fetched"})
    done = api.get(path, token)
    assert (done.json()["status"], done.headers["location"]) == ("completed", "/v1/insights/act_1/last_7d")
    assert "retry-after" not in done.headers


def test_a_fresh_report_is_not_requested(api: Api) -> None:
    """Asking for what is fresh answers 200 with its path and queues nothing."""
    api.reading.warm(KEY)
    answer = api.post("/v1/requests", api.token(TokenScope.ENQUEUE), BODY)
    assert (answer.status_code, answer.json()["status"]) == (200, "fresh")
    assert answer.headers["location"] == "/v1/insights/act_1/last_7d"
    assert api.misses.fetched == []


@SQLITE_ONLY
def test_every_outcome_of_a_request(api: Api, subtests: pytest.Subtests) -> None:
    """Whatever the miss handler returns or raises, the answer is a document of the API."""
    for outcome, status in [
        (FetchOutcome(True), 200),
        (FetchOutcome(False, None, 9, "access was denied"), 503),
        (Problem(429, "Too Many Requests", "later", {"Retry-After": "7"}), 429),
        (Refused("the queue is full", retry_after=8.2), 429),
        (Transient("down"), 503),
        (RuntimeError("adwarm_abcdefghijkl_" + "s" * 43), 500),
    ]:
        with subtests.test(outcome=outcome, status=status):
            api.misses.outcome = outcome
            answer = api.post("/v1/requests", api.token(TokenScope.ENQUEUE), BODY)
            assert answer.status_code == status
            assert ("retry-after" in answer.headers) == (status in {429, 503})
            assert "s" * 43 not in answer.text


def test_queue_and_accounts(api: Api) -> None:
    """The queue shows counts by class; accounts come with the reports and presets to ask for."""
    queue: RequestQueue = api.services.queue
    queue.enqueue(KEY, Priority.HIGH)
    state = api.get("/v1/queue", api.token()).json()
    assert (state["pending"], state["classes"]["high"]["pending"], state["has_active_worker"]) == (1, 1, False)
    listed = api.get("/v1/accounts", api.token()).json()
    assert [item["id"] for item in listed["accounts"]] == ["act_1", "act_2"]
    assert "default" in listed["reports"]
    assert "last_7d" in listed["presets"]


def test_readiness_without_a_database(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that cannot be reached makes the process not ready; it is checked once a second."""
    assert api.client.get("/readyz").status_code == 200

    def down(engine: object) -> None:
        raise Transient("postgresql://user:secret@host cannot be reached")

    monkeypatch.setattr("adwarm.serving.api.routes.health.require_current", down)
    assert api.client.get("/readyz").status_code == 200
    api.clock.sleep(1)
    answer = api.client.get("/readyz")
    assert (answer.status_code, answer.json()["database"]) == (503, "unreachable")
    assert "secret" not in answer.text


@SQLITE_ONLY
def test_readiness_without_the_file(api: Api) -> None:
    """A database file that was deleted while the process has it open makes it not ready; back, it is ready again."""
    path = Path(str(api.engine.url.database))
    away = path.with_suffix(".away")
    assert api.client.get("/readyz").json()["status"] == "ready"
    path.rename(away)
    try:
        api.clock.sleep(1)
        answer = api.client.get("/readyz")
        assert (answer.status_code, answer.json()["database"]) == (503, "unreachable")
        assert str(path) not in answer.text
    finally:
        away.rename(path)
    api.clock.sleep(1)
    assert api.client.get("/readyz").json()["status"] == "ready"


def test_readiness_without_the_objects(api: Api) -> None:
    """A folder of stored days that is gone makes the process not ready; before the first day there is none."""
    folder = api.services.context.objects.local_path
    assert folder is not None
    shutil.rmtree(folder, ignore_errors=True)
    assert api.client.get("/readyz").json()["objects"] == "ok"
    api.reading.warm(KEY)
    shutil.rmtree(folder)
    api.clock.sleep(1)
    answer = api.client.get("/readyz")
    assert (answer.status_code, answer.json()["database"], answer.json()["objects"]) == (503, "ok", "missing")
    assert str(folder) not in answer.text


def test_metrics(api: Api) -> None:
    """Prometheus sees reads by result and actor, the queue, gates, entries, compression and tokens."""
    api.reading.warm(KEY)
    api.services.queue.enqueue(KEY, Priority.LOW)
    api.post("/v1/batch", api.token(), {"items": [BODY, {**BODY, "range": "last_30d"}]})
    answer = api.get("/metrics", api.token(TokenScope.ADMIN))
    lines = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    assert answer.headers["content-type"].startswith("text/plain")
    assert lines['adwarm_read_duration_seconds_count{actor="human",result="hit"}'] == "1.0"
    assert lines['adwarm_read_duration_seconds_count{actor="human",result="miss"}'] == "1.0"
    assert lines['adwarm_queue_pending{priority="low"}'] == "1.0"
    assert lines['adwarm_gates{kind="shared",rule="breaker",state="closed"}'] == "0.0"
    assert lines['adwarm_gates{kind="account",rule="park",state="closed"}'] == "0.0"
    assert float(lines["adwarm_entries"]) == 1.0
    assert float(lines['adwarm_entry_bytes{form="stored"}']) > 0
    assert lines["adwarm_tokens"] == "2.0"


ARRIVAL_PATH = "/v1/data-arrived"
ARRIVAL = {"account": "act_1", "days": "2026-11-24"}


def test_a_notice_makes_reports_stale(api: Api) -> None:
    """A fresh report that contains the day is stale afterwards; the same notice again counts as repeated."""
    key = ReportKey("act_1", "last_7d")
    api.reading.warm(key)
    api.clock.sleep(60)
    token = api.token(TokenScope.READ, TokenScope.ENQUEUE)
    first, again = api.post(ARRIVAL_PATH, token, ARRIVAL), api.post(ARRIVAL_PATH, token, ARRIVAL)

    assert (first.status_code, first.json()["marked"], first.json()["entries"]) == (200, 1, 1)
    assert (again.json()["marked"], again.json()["repeated"]) == (0, 1)
    assert api.reading.reader.read(key).status is ReadStatus.STALE


def test_a_reader_may_not_report(api: Api) -> None:
    """The scope `read` alone is refused, and an account outside the token's list is as unknown as any other."""
    api.reading.warm(ReportKey("act_1", "today"))
    assert api.post(ARRIVAL_PATH, api.token(TokenScope.READ), ARRIVAL).status_code == 403
    limited = api.token(TokenScope.ENQUEUE, accounts=frozenset({"act_2"}))
    assert api.post(ARRIVAL_PATH, limited, ARRIVAL).status_code == 404
    assert data_arrivals.list_pending(api.reading.engine, NOW.replace(year=2000)) == []


@SQLITE_ONLY
def test_a_bad_notice_is_a_problem(api: Api, subtests: pytest.Subtests) -> None:
    """The future, other words, unknown accounts and fields, and a time without a zone are refused."""
    api.reading.warm(ReportKey("act_1", "today"))
    for change, status in [
        ({"days": "2999-01-01"}, 400),
        ({"days": "x"}, 400),
        ({"account": "act_99"}, 404),
        ({"arrived_at": "2026-11-25T10:00:00"}, 400),
        ({"more": 1}, 400),
    ]:
        with subtests.test(change=change, status=status):
            response = api.post(ARRIVAL_PATH, api.token(TokenScope.ENQUEUE), {**ARRIVAL, **change})
            assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")


def test_a_notice_counts_against_its_token(api: Api) -> None:
    """Each report that it makes old is a fetch that the token causes; beyond its limit it is 429 and no change."""
    for date_range in ("last_7d", "yesterday", "last_30d"):
        api.reading.warm(ReportKey("act_1", date_range))
    api.clock.sleep(60)
    poor, rich = (api.token(TokenScope.ENQUEUE, daily_refetches=limit) for limit in (2, 3))
    refused = api.post(ARRIVAL_PATH, poor, ARRIVAL)

    assert (refused.status_code, refused.json()["limit"]) == (429, "daily_refetches")
    assert 1 <= int(refused.headers["retry-after"]) <= 86_400
    assert "3 stored reports would be fetched again" in refused.json()["detail"]
    assert data_arrivals.list_pending(api.reading.engine, NOW.replace(year=2000)) == []
    assert api.reading.reader.read(ReportKey("act_1", "last_7d")).status is ReadStatus.HIT
    assert api.post(ARRIVAL_PATH, rich, ARRIVAL).json()["entries"] == 3
    assert api.post(ARRIVAL_PATH, rich, ARRIVAL).status_code == 200, (
        "the same moment again changes nothing and costs nothing"
    )
    api.clock.sleep(60)
    assert api.post(ARRIVAL_PATH, rich, ARRIVAL).status_code == 429
    assert api.post(ARRIVAL_PATH, poor, ARRIVAL).status_code == 200, "what is old already costs one"
