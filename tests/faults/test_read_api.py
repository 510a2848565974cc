"""The read API as a process: crowds, readers that leave, kills, lost databases, damaged bytes and full disks."""

import asyncio
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine

from adwarm.model import TokenScope
from adwarm.runtime import Runtime
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.faults.serve_process import Installation, ServeProcess, Visitor, wait_until

PATH = "/v1/insights/act_1/yesterday"
MIB = 2**20
CROWD, TOKENS, WAITING = 1_000, 40, 256


@pytest.fixture
def platform(request: pytest.FixtureRequest) -> Iterator[SimulatorServer]:
    """A platform without faults, whose calls take as many milliseconds as a test says."""
    with SimulatorServer(SimulatorConfig(ads=3, latency_ms=getattr(request, "param", 0))) as server:
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
    """An installation on either database."""
    found = _install(engine.url.render_as_string(hide_password=False), tmp_path, platform, monkeypatch)
    yield found
    found.end()


@pytest.fixture
def installation(tmp_path: Path, platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """An installation on SQLite."""
    found = _install(f"sqlite:///{tmp_path}/adwarm.db", tmp_path, platform, monkeypatch)
    yield found
    found.end()


async def _read_all(visitors: list[Visitor]) -> list[tuple[list[int], bytes]]:
    return list(await asyncio.gather(*(visitor.read() for visitor in visitors)))


async def _leave(visitors: list[Visitor], serve: ServeProcess, admin: str, waiting: int) -> None:
    """Let visitors wait until `waiting` readers do, and then close their connections without a word."""
    connections = await asyncio.gather(*(visitor.connect() for visitor in visitors))
    await asyncio.to_thread(wait_until, lambda: serve.waiting(admin) == waiting, "every reader waits")
    for _, writer in connections:
        writer.transport.abort()


def _read_opens(installation: Installation) -> list[dict[str, object]]:
    """Return what is published of the open log."""
    files = sorted((installation.folder / "home/data/opens").rglob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


@pytest.mark.parametrize("platform", [3_000], indirect=True)
def test_a_thousand_readers_cause_one_fetch(both: Installation) -> None:
    """1,000 concurrent readers of a missing report cause one request of insights, and each of them gets the report.

    As many wait as the limits of process and token allow; the others get 202 at once, and come back for their request.
    """
    serve, admin = both.serve(), both.token(TokenScope.ADMIN)
    tokens = [both.token() for _ in range(TOKENS)]
    answers = asyncio.run(_read_all([Visitor(serve, PATH, tokens[number % TOKENS]) for number in range(CROWD)]))
    assert both.count_insights() == 1
    assert {statuses[-1] for statuses, _ in answers} == {200}
    assert len({body for _, body in answers}) == 1
    first = Counter(statuses[0] for statuses, _ in answers)
    assert first[202] >= CROWD - WAITING
    assert first[200] >= 8
    assert serve.waiting(admin) == 0
    assert "Traceback" not in both.read_log()


@pytest.mark.parametrize("platform", [2_000], indirect=True)
def test_readers_that_leave_leave_nothing(both: Installation) -> None:
    """500 of 1,000 waiting readers leave: the others get their report, and no slot, socket, thread or memory is kept."""
    serve = both.serve(SERVING__MAX_WAITERS="2000", SERVING__MAX_WAITERS_PER_TOKEN="1000")
    admin, token = both.token(TokenScope.ADMIN), both.token()

    async def visit(name: str) -> list[tuple[list[int], bytes]]:
        path = f"/v1/insights/act_{name}/yesterday"
        visitors = [Visitor(serve, path, token) for _ in range(CROWD)]
        staying, _ = await asyncio.gather(_read_all(visitors[::2]), _leave(visitors[1::2], serve, admin, CROWD))
        return staying

    asyncio.run(visit("1"))  # threads, caches and connections that stay are there now
    held, resident = serve.held(), serve.resident_bytes()
    for name in ("2", "3"):
        answers = asyncio.run(visit(name))
        assert {tuple(statuses) for statuses, _ in answers} == {(200,)}
    wait_until(lambda: serve.waiting(admin) == 0, "no reader waits")
    wait_until(lambda: serve.held() <= held, "sockets and threads are given back")
    assert serve.resident_bytes() <= resident + 16 * MIB
    assert both.count_insights() == 3


@pytest.mark.parametrize("platform", [1_500], indirect=True)
def test_slots_of_readers_that_left_are_free(installation: Installation) -> None:
    """A token whose eight readers have all left at once may wait with eight others."""
    serve, admin, token = installation.serve(), installation.token(TokenScope.ADMIN), installation.token()
    asyncio.run(_leave([Visitor(serve, PATH, token) for _ in range(8)], serve, admin, 8))
    wait_until(lambda: serve.waiting(admin) == 0, "no reader waits")
    other = "/v1/insights/act_2/yesterday"
    answers = asyncio.run(_read_all([Visitor(serve, other, token) for _ in range(8)]))
    assert {tuple(statuses) for statuses, _ in answers} == {(200,)}


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
    installation.serve()
    wait_until(lambda: _read_opens(installation), "the next start publishes")
    names = {row["request_id"] for row in _read_opens(installation)}
    assert {f"early-{number}" for number in range(20)} <= names


@pytest.mark.parametrize("platform", [1_000], indirect=True)
def test_sigterm_answers_stores_and_exits_with_zero(both: Installation) -> None:
    """A stop lets a waiting reader have its report, publishes every open, stores the counts, and is no failure."""
    serve, admin, token = both.serve(), both.token(TokenScope.ADMIN), both.token()

    async def read_while_it_stops() -> list[tuple[list[int], bytes]]:
        reading = asyncio.create_task(_read_all([Visitor(serve, PATH, token)]))
        await asyncio.to_thread(wait_until, lambda: serve.waiting(admin) == 1, "the reader waits")
        serve.process.send_signal(signal.SIGTERM)
        return await reading

    ((statuses, _),) = asyncio.run(read_while_it_stops())
    assert statuses == [200]
    assert serve.stop() == 0
    assert [row["status"] for row in _read_opens(both)] == ["fetched"]
    assert both.read_log() == ""


def test_ctrl_c_exits_with_zero(installation: Installation) -> None:
    """Ctrl-C is the same stop, without a traceback."""
    serve = installation.serve()
    assert serve.get("/healthz", "").status_code == 200
    assert serve.stop(signal.SIGINT) == 0
    assert installation.read_log() == ""
