"""Answers of the fallback chain over HTTP: headers, caching, requests for the true report, and a lost database."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from adwarm.foundation.errors import NotFound, Refused, Transient
from adwarm.model import Account, Priority, ReportKey, TokenScope
from adwarm.serving import http_headers
from adwarm.serving.api import hit_route
from adwarm.serving.chain_steps import read_partitions
from adwarm.serving.misses import FetchOutcome
from adwarm.serving.problems import Problem
from adwarm.serving.shared_runs import REUSE_SECONDS
from adwarm.settings import SourceSettings
from adwarm.settings.recovery_sections import DEFAULT_FALLBACKS, FallbackKind, FallbackSettings
from adwarm.store import accounts, entries
from adwarm.store.database import write_transaction
from adwarm.store.entries import table as entry_table
from adwarm_client.exchange import ApiResponse
from adwarm_client.report_answer import make_answer, read_strings
from tests.unit.conftest import NOW, SQLITE_ONLY, ReaderHarness
from tests.unit.serving.api.conftest import Api
from tests.unit.serving.hit_harness import Answer, HitHarness

KEY = ReportKey("act_1", "yesterday")
WEEK = ReportKey("act_1", "last_7d")
PATH = "/v1/insights/act_1/yesterday"
WEEK_PATH = "/v1/insights/act_1/last_7d"
HOUR = timedelta(hours=1)
PARTIAL = "allow-partial"
SLOW = tuple(step.model_copy(update={"timeout_seconds": 60.0}) for step in DEFAULT_FALLBACKS)


def make_route(reading: ReaderHarness, home: Path, *steps: FallbackSettings) -> HitHarness:
    """A hit route with a chain whose steps have time enough for a busy machine."""
    route = HitHarness(reading, home)
    chain = route.route._services.chain
    chain.steps = steps or SLOW
    return route


@pytest.fixture
def route(reading: ReaderHarness, tmp_path: Path) -> HitHarness:
    """A hit route with the default chain."""
    return make_route(reading, tmp_path)


def delete_entries(reading: ReaderHarness) -> None:
    """Delete every entry; the stored days stay."""
    with write_transaction(reading.engine) as connection:
        connection.execute(entry_table.delete())


def set_scopes(route: HitHarness, *scopes: TokenScope) -> None:
    """Give the token other scopes."""
    route.tokens.token = replace(route.tokens.token, scopes=frozenset(scopes))


def lose_store(monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
    """Let no entry, body or account be read any more."""

    def fail(*args: object, **options: object) -> Any:
        raise error or Transient("the sqlite database cannot be reached; check ADWARM_DATABASE_URL")

    for name in ("find", "find_payload", "find_with_zones", "list_entries"):
        monkeypatch.setattr(entries, name, fail)


def is_degraded(answer: Answer, source: str) -> bool:
    """Whether an answer is marked as degraded and from `source`."""
    return (answer.status, answer.headers.get("adwarm-source"), answer.headers.get("adwarm-degraded")) == (
        200,
        source,
        "?1",
    )


def test_a_miss_is_answered_from_stored_days(route: HitHarness) -> None:
    """The headers say source, age and why; no cache may keep it, and the true report is requested."""
    route.reading.warm(WEEK)
    delete_entries(route.reading)
    route.clock.sleep(60)
    answer = route.get(WEEK_PATH, accept_encoding="gzip", adwarm_priority="high")
    assert is_degraded(answer, "partitions")
    assert answer.headers["age"] == "60"
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers
    assert 'detail="degraded"' in answer.headers["cache-status"]
    assert "; hit; ttl=-" in answer.headers["cache-status"]
    (reason,) = read_strings(answer.headers["adwarm-reason"])
    assert "assembled from stored days" in reason
    assert "field reach" in reason
    assert (route.misses.revalidated, route.misses.fetched) == ([(WEEK, Priority.HIGH)], [])
    assert [item.status for item in route.opens.items] == ["stale"]


def test_a_read_token_gets_it_too_and_requests_nothing(route: HitHarness) -> None:
    """Without the scope `enqueue` the stored days are served, and nothing is requested."""
    route.reading.warm(KEY)
    delete_entries(route.reading)
    set_scopes(route, TokenScope.READ)
    assert is_degraded(route.get(PATH), "partitions")
    assert (route.misses.revalidated, route.misses.fetched) == ([], [])


@SQLITE_ONLY
def test_who_waits_gets_the_fetched_report(route: HitHarness) -> None:
    """`Prefer: wait` asks for fresh data: the fetch comes before the stored days."""
    route.reading.warm(KEY)
    delete_entries(route.reading)

    def fetch(key: ReportKey) -> FetchOutcome:
        route.reading.fetch(key)
        return FetchOutcome(True, 1)

    route.misses.on_fetch = fetch
    answer = route.get(PATH, prefer="wait=9")
    assert (answer.status, "adwarm-source" in answer.headers) == (200, False)
    assert "fwd=miss; stored" in answer.headers["cache-status"]
    assert route.misses.fetched == [(KEY, Priority.NORMAL, 9.0)]


@SQLITE_ONLY
def test_after_a_failed_fetch_the_rest_answers(route: HitHarness) -> None:
    """The reason has the failure of the fetch, and the actions what was tried."""
    route.reading.warm(KEY)
    delete_entries(route.reading)
    route.misses.on_fetch = lambda key: FetchOutcome(False, retry_after=5, reason="it could not be fetched: down")
    answer = route.get(PATH, prefer="wait=9")
    assert is_degraded(answer, "partitions")
    assert "it could not be fetched: down" in answer.headers["adwarm-reason"]
    assert read_strings(answer.headers["adwarm-actions"])[0].startswith("fallback entry failed: NotFound")


def refuse_fetch(status: int) -> Callable[[ReportKey], FetchOutcome]:
    """A fetch that the queue refuses."""

    def refuse(key: ReportKey) -> FetchOutcome:
        raise Problem(status, "Refused", "no more today")

    return refuse


OUTCOMES: dict[str, Callable[[ReportKey], FetchOutcome]] = {
    "queued": lambda key: FetchOutcome(False, 17, 3, "it is queued"),
    "tried": lambda key: FetchOutcome(False, 17, 3, "it is queued for another try", "Transient"),
    "failed": lambda key: FetchOutcome(False, retry_after=5, reason="it could not be fetched: down"),
    "of a closed account": lambda key: FetchOutcome(False, reason="the account is closed"),
    "at a limit of the token": refuse_fetch(429),
    "without a place in the queue": refuse_fetch(503),
}


@pytest.mark.parametrize("wait", ["", "wait=9, "])
@pytest.mark.parametrize("scope", [TokenScope.READ, TokenScope.ENQUEUE])
@pytest.mark.parametrize("outcome", OUTCOMES)
@SQLITE_ONLY
def test_whoever_allows_other_days_gets_them(route: HitHarness, outcome: str, scope: TokenScope, wait: str) -> None:
    """However the fetch stands, yesterday's days answer and say so; who does not allow them learns that they exist."""
    route.reading.warm(KEY)
    route.clock.set(NOW + 24 * HOUR)
    set_scopes(route, scope)
    route.misses.on_fetch = OUTCOMES[outcome]
    answer = route.get(PATH, prefer=f"{wait}{PARTIAL}")
    assert is_degraded(answer, "window")
    assert answer.headers["adwarm-window"] == "2026-11-24..2026-11-24"
    assert PARTIAL in answer.headers["preference-applied"]
    assert "2026-11-24..2026-11-24 instead of 2026-11-25..2026-11-25" in answer.headers["adwarm-reason"]
    assert "act_1 yesterday 2026-11-24..2026-11-24" in answer.headers["cache-status"]
    assert "etag" not in answer.headers
    assert [item[0] for item in route.misses.fetched] == [KEY] * (scope is TokenScope.ENQUEUE)
    refused = route.get(PATH, prefer=wait.rstrip(", "))
    assert refused.status in {202, 404, 429, 503}
    assert orjson.loads(refused.body)["stored_window"] == "2026-11-24..2026-11-24"


@pytest.mark.parametrize("shape", ["columnar", "rows", "ndjson", "csv", "arrow"])
@SQLITE_ONLY
def test_other_days_are_no_answer_in_any_shape(route: HitHarness, shape: str) -> None:
    """Without the permission a failed fetch is a problem that names the stored days; no shape has their rows."""
    route.reading.warm(KEY)
    route.clock.set(NOW + 24 * HOUR)
    route.misses.on_fetch = lambda key: FetchOutcome(False, retry_after=5, reason="it could not be fetched: down")
    answer = route.get(f"{PATH}?shape={shape}", prefer="wait=9")
    assert (answer.status, orjson.loads(answer.body)["stored_window"]) == (503, "2026-11-24..2026-11-24")
    allowed = route.get(f"{PATH}?shape={shape}", prefer="wait=9, allow-partial")
    assert (allowed.status, allowed.headers["adwarm-window"]) == (200, "2026-11-24..2026-11-24")
    assert allowed.headers["preference-applied"] == "wait=9, allow-partial"


@SQLITE_ONLY
def test_a_database_that_does_not_answer(route: HitHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that this process has not sent before is 503 in the time of the answer, not of the database."""

    async def hang(key: ReportKey) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(hit_route, "ANSWER_SECONDS", 0.01)
    monkeypatch.setattr(route.route._parts.pointers, "load", hang)
    answer = route.get(PATH)
    assert (answer.status, "retry-after" in answer.headers) == (503, True)


@SQLITE_ONLY
def test_a_lost_database_after_midnight(route: HitHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy in memory is of yesterday's days then: 503 by default, that copy without a tag for who allows it."""
    route.reading.warm(KEY)
    good = route.get(PATH)
    lose_store(monkeypatch)
    route.clock.set(NOW + 24 * HOUR)
    answer = route.get(PATH)
    assert (answer.status, orjson.loads(answer.body)["stored_window"]) == (503, "2026-11-24..2026-11-24")
    allowed = route.get(PATH, prefer=PARTIAL, if_none_match=good.headers["etag"])
    assert is_degraded(allowed, "cache")
    assert (allowed.headers["adwarm-window"], "etag" in allowed.headers) == ("2026-11-24..2026-11-24", False)
    assert allowed.headers["cache-control"] == "no-store"


@SQLITE_ONLY
def test_who_waits_for_an_old_report_gets_a_fresh_one(route: HitHarness) -> None:
    """A stale entry is fetched before it is sent, for a reader who offers to wait; others get it at once."""
    route.reading.warm(KEY)
    route.clock.sleep(7 * 3600)

    def fetch(key: ReportKey) -> FetchOutcome:
        route.reading.fetch(key)
        return FetchOutcome(True, 1)

    route.misses.on_fetch = fetch
    assert "ttl=-" in route.get(PATH).headers["cache-status"]
    answer = route.get(PATH, prefer="wait=9")
    assert (answer.status, answer.headers["preference-applied"]) == (200, "wait=9")
    assert "fwd=miss; stored" in answer.headers["cache-status"]
    assert [item[:3] for item in route.misses.fetched] == [(KEY, Priority.NORMAL, 9.0)]


@pytest.mark.parametrize("status", [None, 429, 503])
@SQLITE_ONLY
def test_after_its_wait_the_old_report_answers(route: HitHarness, status: int | None) -> None:
    """A fetch that takes longer, is refused or fails leaves the stored report, stale, with its tag and the reason."""
    route.reading.warm(KEY)
    good = route.get(PATH)
    route.clock.sleep(7 * 3600)

    def refuse(key: ReportKey) -> FetchOutcome:
        if status is None:
            return FetchOutcome(False, 17, 3, "it is being fetched")
        raise Problem(status, "Refused", "no more today")

    route.misses.on_fetch = refuse
    answer = route.get(PATH, prefer="wait=9")
    assert (answer.status, answer.headers["etag"]) == (200, good.headers["etag"])
    assert "; hit; ttl=-" in answer.headers["cache-status"]
    assert ("it is being fetched" if status is None else "no more today") in answer.headers["adwarm-reason"]
    assert answer.headers["preference-applied"] == "wait=9"
    set_scopes(route, TokenScope.READ)
    assert "preference-applied" not in route.get(PATH, prefer="wait=9").headers


def make_failing_route(reading: ReaderHarness, home: Path, kind: str) -> HitHarness:
    """A route whose last step is for dead tokens only, and a platform that refuses the report with an error."""
    steps = (FallbackSettings(kind="upstream"), FallbackSettings(kind="partitions", errors=("TokenDead",)))
    route = make_route(reading, home, *(step.model_copy(update={"timeout_seconds": 60.0}) for step in steps))
    route.reading.warm(KEY)
    delete_entries(route.reading)
    route.misses.on_fetch = lambda key: FetchOutcome(False, None, 5, "it could not be fetched: no", kind)
    return route


@SQLITE_ONLY
def test_a_step_for_one_class_of_errors_follows_a_failed_request(reading: ReaderHarness, tmp_path: Path) -> None:
    """The worker that failed was another process; its error has the class that it had there."""
    assert is_degraded(make_failing_route(reading, tmp_path, "TokenDead").get(PATH), "partitions")


@SQLITE_ONLY
def test_a_failed_request_of_another_class_is_a_problem_that_names_it(reading: ReaderHarness, tmp_path: Path) -> None:
    """The step is left out, and the answer says which class of error it was."""
    answer = make_failing_route(reading, tmp_path, "BadRequest").get(PATH)
    assert (answer.status, orjson.loads(answer.body)["error_kind"]) == (503, "BadRequest")


@SQLITE_ONLY
def test_a_full_queue_is_answered_from_the_rest(route: HitHarness) -> None:
    """A refusal with 503 is an error like any other; without an answer it is what the client gets."""

    def refuse(key: ReportKey) -> FetchOutcome:
        raise Problem(503, "Service Unavailable", "the queue is full", {"Retry-After": "7"})

    route.misses.on_fetch = refuse
    route.reading.warm(KEY)
    route.clock.set(NOW + 24 * HOUR)
    assert is_degraded(route.get(PATH, prefer=PARTIAL), "window")
    answer = route.get("/v1/insights/act_1/2026-01-01..2026-01-02")
    assert (answer.status, answer.headers["retry-after"]) == (503, "7")


@SQLITE_ONLY
def test_an_entry_that_is_too_old_is_fetched(reading: ReaderHarness, tmp_path: Path) -> None:
    """Within its largest age an old entry is served at once; beyond it, it is a miss."""
    route = make_route(reading, tmp_path)
    settings = FallbackSettings(kind="entry", max_age_hours=8), FallbackSettings(kind="upstream", timeout_seconds=60)
    route.route._services.chain.steps = settings
    route.route = type(route.route)(route._inner, route.route._services, route.parts)
    route.reading.warm(KEY)
    route.clock.set(NOW + 7 * HOUR)
    assert route.get(PATH).status == 200
    route.clock.set(NOW + 9 * HOUR)
    assert (route.get(PATH).status, len(route.misses.fetched)) == (202, 1)


@SQLITE_ONLY
def test_without_upstream_in_the_chain_nothing_is_requested(reading: ReaderHarness, tmp_path: Path) -> None:
    """A miss is 404 then, unless the reader offers to wait for it."""
    kinds: tuple[FallbackKind, ...] = ("entry", "none")
    route = make_route(reading, tmp_path, *(FallbackSettings(kind=kind, timeout_seconds=60) for kind in kinds))
    answer = route.get(PATH)
    assert (answer.status, orjson.loads(answer.body)["title"]) == (404, "Not Found")
    route.reading.warm(KEY)
    delete_entries(route.reading)
    route.clock.sleep(2)
    answer = route.get(PATH)
    assert (answer.status, orjson.loads(answer.body)["title"]) == (404, "Not Stored")
    assert route.misses.fetched == []
    assert route.get(PATH, prefer="wait=3").status == 202


@SQLITE_ONLY
def test_a_degraded_entry_says_why(route: HitHarness) -> None:
    """The stored entry that is marked degraded comes with the reason, on the fast path."""
    route.reading.warm(KEY)
    (stored,) = entries.list_entries(route.engine)
    entries.mark_degraded(route.engine, stored, 'an ad "x" is missing')
    answer = route.get(PATH)
    assert (answer.headers["adwarm-degraded"], "adwarm-source" in answer.headers) == ("?1", False)
    assert read_strings(answer.headers["adwarm-reason"]) == ['an ad "x" is missing']
    route.reading.fetch(KEY)
    route.clock.sleep(2)
    assert "adwarm-degraded" not in route.get(PATH).headers


@pytest.mark.parametrize("error", [None, OperationalError("SELECT", {}, Exception("no such table"))])
def test_a_lost_database(route: HitHarness, monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    """What was sent before is sent again, stale, with the reason and its own tag; 304 works; a new key is 503."""
    route.reading.warm(KEY)
    good = route.get(PATH)
    lose_store(monkeypatch, error)
    for seconds in (2, 1, 3600):
        route.clock.sleep(seconds)
        answer = route.get(PATH)
        assert is_degraded(answer, "cache")
        assert (answer.body, answer.headers["etag"]) == (good.body, good.headers["etag"])
        assert answer.headers["cache-control"] == "private, max-age=0"
        assert answer.headers["adwarm-reason"].startswith('"the database cannot be reached; a copy in memory covers')
        assert "DATABASE_URL" not in str(answer.headers)
    current = route.get(PATH, if_none_match=good.headers["etag"])
    assert (current.status, current.body, current.headers["adwarm-source"]) == (304, b"", "cache")
    other = route.get(WEEK_PATH)
    assert (other.status, int(other.headers["retry-after"]) >= 1) == (503, True)
    assert "DATABASE_URL" not in other.body.decode()


@SQLITE_ONLY
@pytest.mark.parametrize(("is_meta", "status"), [(True, 200), (False, 503)])
def test_bare_digits_are_of_the_source_while_the_database_is_lost(
    route: HitHarness, monkeypatch: pytest.MonkeyPatch, is_meta: bool, status: int
) -> None:
    """They are Meta's account, whose copy is sent; where the table is of another platform they are never that one."""

    def fail(*_: object) -> None:
        raise Transient("the sqlite database cannot be reached")

    route.reading.warm(KEY)
    assert route.get(PATH).status == 200
    lose_store(monkeypatch)
    monkeypatch.setattr(accounts, "find_id", fail)
    monkeypatch.setattr(SourceSettings, "has_meta_ids", is_meta)
    route.clock.sleep(2)
    assert route.get(PATH.replace("act_", "")).status == status


@SQLITE_ONLY
def test_a_lost_database_opens_no_account_that_this_process_has_not_read(
    route: HitHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nobody can tell whether an account exists, reads of it are not opens; those of known accounts are."""
    route.reading.warm(KEY)
    assert (route.get(PATH).status, route.get("/v1/insights/act_76/yesterday").status) == (200, 202)
    route.opens.items.clear()
    lose_store(monkeypatch)
    route.clock.sleep(2)
    paths = (WEEK_PATH, "/v1/insights/act_76/yesterday", "/v1/insights/act_77/yesterday")
    assert [route.get(path).status for path in paths] == [503] * 3
    assert [str(item.key) for item in route.opens.items] == ["act_1 last_7d"]


def test_a_database_that_is_back(route: HitHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers who come all the time do not put off the next try of the database: it is made within a second."""
    monkeypatch.setattr(hit_route, "loop_time", lambda: route.clock.now().timestamp())
    route.reading.warm(KEY)
    route.get(PATH)
    route.clock.sleep(2)
    with monkeypatch.context() as patch:
        lose_store(patch)
        assert is_degraded(route.get(PATH), "cache")
    sources = []
    for _ in range(10):
        route.clock.sleep(0.1)
        sources.append(route.get(PATH).headers.get("adwarm-source"))
    assert (sources[0], sources[-1]) == ("cache", None)


@SQLITE_ONLY
def test_the_copy_survives_a_lost_row(route: HitHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy that is used without the database is the last one that had an entry."""
    route.reading.warm(KEY)
    route.get(PATH)
    delete_entries(route.reading)
    route.clock.sleep(2)
    route.get(PATH)
    lose_store(monkeypatch)
    route.clock.sleep(2)
    assert is_degraded(route.get(PATH), "cache")


@SQLITE_ONLY
def test_a_body_in_its_file_is_enough(reading: ReaderHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that is no longer in memory comes from its file."""
    route = HitHarness(reading, tmp_path, settings={"memory_bytes": 0})
    route.route._services.chain.steps = SLOW
    route.reading.warm(KEY)
    good = route.get(PATH)
    lose_store(monkeypatch)
    route.clock.sleep(2)
    assert route.get(PATH).body == good.body


def test_a_database_that_hangs(route: HitHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A known report waits as long as the step `entry` allows, and then comes from memory."""
    route.reading.warm(KEY)
    good, release = route.get(PATH), threading.Event()
    short = {"timeout_seconds": 0.05}
    route.route._chain.steps = tuple(step.model_copy(update=short) if step.kind == "entry" else step for step in SLOW)

    def hang(*args: object) -> Any:
        release.wait(60)
        raise Transient("gone")

    monkeypatch.setattr(entries, "find_with_zones", hang)
    route.clock.sleep(2)

    async def read() -> Answer:
        try:
            return await route.request(PATH)
        finally:
            release.set()

    answer = asyncio.run(read())
    assert (is_degraded(answer, "cache"), answer.body) == (True, good.body)


@SQLITE_ONLY
def test_a_crowd_costs_one_run(route: HitHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers of one key share a run of the chain, and its result for a moment."""
    route.reading.warm(KEY)
    delete_entries(route.reading)
    runs: list[ReportKey] = []

    def counted(reader: Any, key: ReportKey, **options: Any) -> Any:
        runs.append(key)
        return read_partitions(reader, key, **options)

    monkeypatch.setattr("adwarm.serving.chain_steps.read_partitions", counted)

    async def visit() -> list[Answer]:
        first = await asyncio.gather(*(route.request(PATH) for _ in range(50)))
        return [*first, await route.request(PATH)]

    answers = asyncio.run(visit())
    assert all(is_degraded(answer, "partitions") for answer in answers)
    assert (len(runs), REUSE_SECONDS >= 1) == (1, True)


@SQLITE_ONLY
def test_a_call_of_a_step_counts_against_the_token_of_its_reader(
    reading: ReaderHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step `source` is admitted for its reader's token; readers of another token share neither run nor refusal."""
    calls: list[ReportKey] = []

    def call(reader: Any, engine: Any, key: ReportKey, *limits: Any) -> Any:
        calls.append(key)
        raise NotFound("it has no rows")

    monkeypatch.setattr("adwarm.serving.chain_steps.read_source", call)
    route = make_route(reading, tmp_path, FallbackSettings(kind="source", connection="other", timeout_seconds=60))
    accounts.save(reading.engine, [Account("act_1")], NOW)
    route.misses.refusal = Refused("none are left", retry_after=9)
    assert [route.get(PATH).status for _ in range(3)] == [404] * 3
    assert (route.misses.admitted, calls) == ([KEY], [])
    route.misses.refusal, route.tokens.token = None, replace(route.tokens.token, id="another")
    assert [route.get(PATH).status for _ in range(3)] == [404] * 3
    assert (route.misses.admitted, calls) == ([KEY, KEY], [KEY])


@SQLITE_ONLY
def test_every_shape_and_coding(route: HitHarness) -> None:
    """A fallback's document comes in the shape and coding that the client asks for; a wrong coding is 406."""
    route.reading.warm(KEY)
    delete_entries(route.reading)
    csv = route.get(f"{PATH}?shape=csv")
    assert (csv.status, csv.headers["content-type"].startswith("text/csv")) == (200, True)
    assert csv.headers["content-length"] == str(len(csv.body))
    head = route.get(PATH, "HEAD")
    assert (head.status, head.body, head.headers["adwarm-source"]) == (200, b"", "partitions")
    assert route.get(PATH, accept_encoding="identity;q=0, *;q=0").status == 406


@SQLITE_ONLY
def test_no_account_is_told_apart(route: HitHarness) -> None:
    """A token learns nothing about accounts that are not stored; the chain does not run for them."""
    set_scopes(route, TokenScope.READ)
    answer = route.get("/v1/insights/act_77/yesterday")
    assert (answer.status, orjson.loads(answer.body)["title"]) == (404, "Not Found")


def test_a_batch_has_source_and_reason(api: Api) -> None:
    """Each item says which step answered, whether it is degraded, and what was tried."""
    api.services.chain.steps = SLOW
    api.reading.warm(KEY)
    keys = [{"account": "act_1", "range": name} for name in ("yesterday", "last_7d")]
    hit, _ = api.post("/v1/batch", api.token(), {"items": keys}).json()["items"]
    assert (hit["status"], hit["served_from"], hit["degraded"], hit["actions"]) == ("hit", "entry", False, [])
    delete_entries(api.reading)
    token = api.token(TokenScope.ENQUEUE)
    stale, miss = api.post("/v1/batch", token, {"items": keys}).json()["items"]
    assert (stale["status"], stale["served_from"], stale["degraded"]) == ("stale", "partitions", True)
    assert "assembled from stored days" in stale["reason"]
    assert stale["document"]["daily"]["rows"] == 1
    assert (miss["status"], miss["served_from"], miss["request"]["request_id"] > 0) == ("miss", None, True)
    assert api.misses.revalidated == [KEY]


def test_a_batch_has_other_days_only_with_permission(api: Api) -> None:
    """Without it the item is a miss that names the stored days; with it, it has the document and names its days."""
    api.services.chain.steps = (FallbackSettings(kind="window", timeout_seconds=60),)
    api.reading.warm(KEY)
    api.reading.harness.clock.set(NOW + 24 * HOUR)
    body, token = {"items": [{"account": "act_1", "range": "yesterday"}]}, api.token()
    answer = api.post("/v1/batch", token, body)
    (miss,) = answer.json()["items"]
    assert (miss["status"], miss["document"], miss["stored_window"]) == ("miss", None, "2026-11-24..2026-11-24")
    assert "preference-applied" not in answer.headers
    answer = api.post("/v1/batch", token, body, Prefer=PARTIAL)
    (item,) = answer.json()["items"]
    assert (item["status"], item["window"], item["document"]["daily"]["rows"]) == ("stale", "2026-11-24..2026-11-24", 1)
    assert answer.headers["preference-applied"] == PARTIAL


@given(
    source=st.sampled_from((None, "cache", "source:my wärehouse", "partitions")),
    reason=st.text(max_size=300),
    actions=st.lists(st.text(max_size=50), max_size=5),
    is_marked=st.booleans(),
)
def test_headers_are_read_as_they_were_written(
    source: str | None, reason: str, actions: list[str], is_marked: bool
) -> None:
    """Any text survives as ASCII without breaking a header, and the client reads it back."""
    written = http_headers.explain(source, is_degraded=is_marked, reason=reason, actions=actions)
    headers = {name.lower(): value for name, value in written}
    assert all(value.isascii() and value.isprintable() for value in headers.values())
    answer = make_answer(KEY, ApiResponse(200, {"cache-status": "adwarm; hit", **headers}, b""), b"{}", "x")
    expected = [_ascii(text) for text in actions]
    assert (answer.is_degraded, list(answer.actions)) == (is_marked, expected)
    assert answer.reason == (_ascii(reason) if reason else None)
    assert answer.source == ("source:my_w_rehouse" if source and " " in source else source or "entry")


def _ascii(text: str) -> str:
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)
