"""Tokens are checked in memory, read from SQL at most once a second, and their secrets are never shown."""

import asyncio
import re
import threading
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import DatabaseBusy, Transient
from adwarm.foundation.redaction import redact
from adwarm.model import AccessToken, ReportKey, TokenScope
from adwarm.serving import tokens
from adwarm.serving.problems import Problem
from adwarm.serving.tokens import ID_READS_PER_SECOND, TokenAuthenticator, check_key, make_token
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, access_tokens
from tests.unit.conftest import SQLITE_ONLY

T = TypeVar("T")


@dataclass
class Lobby:
    """An authenticator that counts its reads of the database: of tokens by their ids, and of the list of all ids."""

    engine: Engine
    clock: VirtualClock
    authenticator: TokenAuthenticator
    reads: list[str]
    lists: list[datetime]

    def issue(self, **fields: Any) -> bytes:
        """Store a token and return the value of its Authorization header."""
        new = make_token()
        token = AccessToken(
            id=new.id, name="t", scopes=frozenset({TokenScope.READ}), created_at=self.clock.now(), **fields
        )
        access_tokens.insert_token(self.engine, token, new.secret_hash)
        return f"Bearer {new.text}".encode()

    async def status(self, header: bytes | None) -> int:
        """Return 200, or the status of the problem."""
        try:
            await self.authenticator.authenticate(header)
        except Problem as problem:
            return problem.status
        return 200


@pytest.fixture
def lobby(engine: Engine, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> Lobby:
    """An authenticator over an empty database."""
    reads: list[str] = []
    lists: list[datetime] = []
    find, list_ids = access_tokens.find, access_tokens.list_ids

    def listed(engine: Engine) -> set[str]:
        lists.append(clock.now())
        return list_ids(engine)

    async def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        await asyncio.sleep(0)

    def counted(engine: Engine, token_id: str) -> access_tokens.StoredToken | None:
        reads.append(token_id)
        return find(engine, token_id)

    monkeypatch.setattr(tokens.access_tokens, "find", counted)
    monkeypatch.setattr(tokens.access_tokens, "list_ids", listed)
    return Lobby(engine, clock, TokenAuthenticator(engine, clock, sleep), reads, lists)


def run(work: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine to its end, and what it started in the background."""

    async def whole() -> T:
        result = await work()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
        return result

    return asyncio.run(whole())


async def finish_reads(lobby: Lobby) -> None:
    """Wait for the reads that run, whatever their result."""
    await asyncio.gather(*lobby.authenticator._reads.values(), return_exceptions=True)


def _id(header: bytes) -> str:
    return header.decode().split("_")[1]


@SQLITE_ONLY
def test_a_token_in_memory_is_checked_without_waiting(lobby: Lobby) -> None:
    """Once read, the coroutine ends at its first step: no thread, no database, no other task runs in between."""
    header = lobby.issue()

    async def work() -> None:
        first = await lobby.authenticator.authenticate(header)
        step = lobby.authenticator.authenticate(header)
        with pytest.raises(StopIteration) as stop:
            step.send(None)
        assert stop.value.value == first
        assert first.id == _id(header)

    run(work)
    assert lobby.reads == [_id(header)]


@SQLITE_ONLY
def test_a_token_that_was_read_a_moment_ago_is_found_at_once(lobby: Lobby) -> None:
    """`find` refuses what `authenticate` would refuse or read again, and `take` counts against the same rate."""
    header = lobby.issue(rate_per_second=1.0)

    async def work() -> None:
        take = lobby.authenticator.take

        def find(authorization: bytes, now: datetime) -> AccessToken | None:
            return lobby.authenticator.find(tokens.parse_credentials(authorization), now)

        assert find(header, lobby.clock.now()) is None
        token = await lobby.authenticator.authenticate(header)
        now = lobby.clock.now()
        assert (find(header, now), find(header + b"x", now)) == (token, None)
        assert not take(token, now)
        lobby.clock.sleep(0.499)
        assert find(header, lobby.clock.now()) == token
        lobby.clock.sleep(0.501)
        assert find(header, lobby.clock.now()) is None
        assert take(token, lobby.clock.now())

    run(work)


@SQLITE_ONLY
def test_a_token_in_use_is_read_again_in_advance(lobby: Lobby) -> None:
    """From half a second on the next request starts a read and does not wait; after a second it waits."""
    header = lobby.issue()

    async def work() -> None:
        token = await lobby.authenticator.authenticate(header)
        lobby.clock.sleep(0.5)
        step = lobby.authenticator.authenticate(header)
        with pytest.raises(StopIteration):
            step.send(None)
        await finish_reads(lobby)
        assert len(lobby.reads) == 2
        lobby.clock.sleep(0.5)
        assert lobby.authenticator.find(tokens.parse_credentials(header), lobby.clock.now()) == token
        await finish_reads(lobby)
        assert len(lobby.reads) == 3
        lobby.clock.sleep(1)
        await lobby.authenticator.authenticate(header)
        assert len(lobby.reads) == 4

    run(work)


def test_a_revoked_token_stops_within_a_second(lobby: Lobby) -> None:
    """Whatever the moment of the requests before, one a second after the revocation is refused."""
    for age in (0.0, 0.3, 0.499, 0.5, 0.9, 0.999, 1.0):
        header = lobby.issue()

        async def work(header: bytes = header, age: float = age) -> list[int]:
            statuses = [await lobby.status(header)]
            lobby.clock.sleep(age)
            statuses.append(await lobby.status(header))
            await finish_reads(lobby)
            access_tokens.revoke(lobby.engine, _id(header), lobby.clock.now())
            lobby.clock.sleep(1)
            return [*statuses, await lobby.status(header)]

        assert run(work) == [200, 200, 401]


@SQLITE_ONLY
def test_a_clock_that_is_set_back_keeps_no_token_alive(lobby: Lobby) -> None:
    """What was read in the future of a corrected clock is read again."""
    header = lobby.issue()

    async def work() -> list[int]:
        before = await lobby.status(header)
        access_tokens.revoke(lobby.engine, _id(header), lobby.clock.now())
        lobby.clock.set(lobby.clock.now() - timedelta(hours=1))
        return [before, await lobby.status(header)]

    assert run(work) == [200, 401]


def test_a_read_that_started_too_early_is_repeated(lobby: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that joins a read older than a second reads again, so a slow database keeps no revoked token alive."""
    header = lobby.issue()
    find, has_read, may_end = access_tokens.find, threading.Event(), threading.Event()

    def slow(engine: Engine, token_id: str) -> access_tokens.StoredToken | None:
        stored = find(engine, token_id)
        if not has_read.is_set():
            has_read.set()
            may_end.wait(20)
        return stored

    monkeypatch.setattr(tokens.access_tokens, "find", slow)

    async def work() -> list[int]:
        early = asyncio.create_task(lobby.status(header))
        await asyncio.to_thread(has_read.wait, 20)
        access_tokens.revoke(lobby.engine, _id(header), lobby.clock.now())
        lobby.clock.sleep(3)
        late = asyncio.create_task(lobby.status(header))
        await asyncio.sleep(0)
        may_end.set()
        return [await early, await late]

    assert run(work) == [200, 401]


@SQLITE_ONLY
def test_requests_share_a_read(lobby: Lobby) -> None:
    """A hundred requests at once read a token once."""
    header = lobby.issue()

    async def work() -> list[int]:
        return await asyncio.gather(*(lobby.status(header) for _ in range(100)))

    assert run(work) == [200] * 100
    assert len(lobby.reads) == 1


@SQLITE_ONLY
def test_a_request_that_goes_away_does_not_break_the_others(lobby: Lobby) -> None:
    """Canceling one of two requests that share a read leaves the other one its answer."""
    header = lobby.issue()

    async def work() -> int:
        first, second = asyncio.create_task(lobby.status(header)), asyncio.create_task(lobby.status(header))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert run(work) == 200


def _invent(count: int) -> list[bytes]:
    return [f"Bearer adwarm_{number:012d}_{'A' * 43}".encode() for number in range(count)]


@SQLITE_ONLY
def test_invented_tokens_cost_no_read_of_their_own(lobby: Lobby) -> None:
    """Whether they come one by one or at once, they share reads of the list of ids, and none reads a token."""

    async def work() -> None:
        began = lobby.clock.now()
        for header in _invent(500):
            assert await lobby.status(header) == 401
        assert set(await asyncio.gather(*map(lobby.status, _invent(5_000)))) == {401}
        seconds = (lobby.clock.now() - began).total_seconds()
        assert len(lobby.lists) <= ID_READS_PER_SECOND * (seconds + 1) + 2

    run(work)
    assert lobby.reads == []


@SQLITE_ONLY
def test_a_valid_token_is_never_refused_because_of_invented_ones(lobby: Lobby) -> None:
    """Tokens that the process has not seen yet are accepted in the midst of a flood, also one made a moment ago."""

    async def work() -> None:
        for _ in range(5):
            headers = [lobby.issue() for _ in range(40)]
            flood = [asyncio.create_task(lobby.status(header)) for header in _invent(500)]
            await asyncio.sleep(0)
            assert set(await asyncio.gather(*map(lobby.status, headers))) == {200}
            made_now = lobby.issue()
            assert await lobby.status(made_now) == 200
            assert set(await asyncio.gather(*flood)) == {401}

    run(work)


@SQLITE_ONLY
def test_a_revoked_id_is_not_read_again_and_again(lobby: Lobby) -> None:
    """An id that is known to be revoked costs no more than an invented one."""
    header = lobby.issue()

    async def work() -> None:
        assert await lobby.status(header) == 200
        access_tokens.revoke(lobby.engine, _id(header), lobby.clock.now())
        lobby.clock.sleep(1)
        assert [await lobby.status(header) for _ in range(50)] == [401] * 50
        assert len(lobby.reads) <= 3

    run(work)


@SQLITE_ONLY
def test_many_new_tokens_are_no_flood(lobby: Lobby) -> None:
    """Valid tokens that a process meets for the first time are accepted, all at once or one by one."""
    headers = [lobby.issue() for _ in range(300)]

    async def work() -> None:
        assert set(await asyncio.gather(*map(lobby.status, headers[:200]))) == {200}
        assert {await lobby.status(header) for header in headers[200:]} == {200}
        assert len(lobby.lists) == 1

    run(work)


@given(
    junk=st.binary(max_size=300)
    | st.builds(lambda a, b: b"Bearer adwarm_" + a + b"_" + b, st.binary(max_size=40), st.binary(max_size=60))
)
def test_no_header_breaks_it(junk: bytes) -> None:
    """Any bytes are answered with 401, without a read of the database when they hold no id."""

    class NoToken(TokenAuthenticator):
        async def _read(self, token_id: str, now: float) -> None:
            assert re.fullmatch("[0-9A-Za-z]{1,12}", token_id)

    clock = VirtualClock(datetime(2026, 11, 25, tzinfo=UTC))
    authenticator = NoToken(None, clock)  # type: ignore[arg-type]
    with pytest.raises(Problem) as error:
        asyncio.run(authenticator.authenticate(junk))
    assert error.value.status == 401


@SQLITE_ONLY
def test_the_rate_of_a_token(lobby: Lobby) -> None:
    """A token gets its rate, one second's worth at once; the answer says when to ask again, and time restores it."""
    header, other = lobby.issue(rate_per_second=5.0), lobby.issue()

    async def work() -> None:
        assert [await lobby.status(header) for _ in range(7)] == [200] * 5 + [429] * 2
        with pytest.raises(Problem) as error:
            await lobby.authenticator.authenticate(header)
        assert error.value.headers == {
            "Retry-After": "1",
            "RateLimit-Policy": '"token";q=5;w=1',
            "RateLimit": '"token";r=0;t=1',
        }
        assert await lobby.status(other) == 200
        lobby.clock.sleep(0.2)
        assert [await lobby.status(header) for _ in range(2)] == [200, 429]
        lobby.clock.set(lobby.clock.now() - timedelta(days=1))
        assert await lobby.status(header) == 200

    run(work)


@given(rate=st.floats(0.01, 20_000), steps=st.lists(st.floats(0, 3), max_size=60))
def test_no_window_admits_more_than_the_rate(rate: float, steps: list[float]) -> None:
    """In any time T at most one burst plus T times the rate is admitted, and a full wait always admits one."""
    limit, now, admitted = tokens.RateLimit(), 1.8e9, []
    for step in steps:
        now += step / rate
        if not limit.take(rate, now):
            admitted.append(now)
    burst = max(rate, 1.0)
    for start in range(len(admitted)):
        for end in range(start, len(admitted)):
            assert end - start + 1 <= burst + (admitted[end] - admitted[start]) * rate + 1.01
    wait = limit.take(rate, now)
    assert wait == 0 or not limit.take(rate, now + wait + 1e-4)


def test_a_rate_is_exact() -> None:
    """A second's worth at once, one request at least; time gives it back, and a clock that is set back all of it."""
    for rate, burst in ((5.0, 5), (0.5, 1)):
        limit = tokens.RateLimit()
        assert [limit.take(rate, 1_000.0) for _ in range(burst)] == [0.0] * burst
        assert limit.take(rate, 1_000.0) == pytest.approx(1 / rate)
        assert limit.take(rate, 1_000.0 + 1 / rate) == 0
        assert limit.take(rate, 1_000.0 + 1 / rate) > 0
        assert limit.take(rate, 500.0) == 0
    assert tokens._too_many(3.2, 0.3).headers["RateLimit-Policy"] == '"token";q=1;w=4'
    assert tokens._too_many(3.2, 1.0).headers["RateLimit-Policy"] == '"token";q=1;w=1'
    assert tokens._too_many(3.2, 1.0).headers["Retry-After"] == "4"


def test_a_header_is_a_bearer_token_of_bounded_size() -> None:
    """Any case of the scheme, an id of up to twelve letters and digits, a secret, and 200 bytes in all."""
    for good in (b"Bearer adwarm_abc_x", b"bEARER  adwarm_" + b"a" * 12 + b"_x", b"Bearer adwarm_a_" + b"x" * 184):
        assert tokens.parse_credentials(good)[1] == tokens.hash_secret(good.decode().split("_")[2])
    for bad in (
        None,
        b"Basic adwarm_abc_x",
        b"Bearer adwarm_" + b"a" * 13 + b"_x",
        b"Bearer adwarm_a_" + b"x" * 185,
        b"Bearer adwarm__x",
        b"Bearer adwarm_abc_",
        b"Bearer other_abc_x",
    ):
        with pytest.raises(Problem):
            tokens.parse_credentials(bad)
    assert re.fullmatch(r"adwarm_[a-z0-9]{12}_[\w-]{43}", make_token().text)


def test_last_use_is_stored_in_batches(lobby: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    """When tokens were used is written once a minute for all of them, and once more at the end."""
    writes: list[int] = []
    save = access_tokens.save_last_used

    def counted(engine: Engine, used: Any) -> None:
        writes.append(len(used))
        save(engine, used)

    monkeypatch.setattr(tokens.access_tokens, "save_last_used", counted)
    headers = [lobby.issue(), lobby.issue()]

    async def work() -> None:
        for _ in range(130):
            for header in headers:
                assert await lobby.status(header) == 200
            lobby.clock.sleep(1.1)
            await asyncio.gather(*([lobby.authenticator._save] if lobby.authenticator._save else []))
        await lobby.authenticator.close()

    run(work)
    assert len(writes) == 3
    assert sum(writes) <= 6
    used = [item.last_used_at for item in access_tokens.list_tokens(lobby.engine)]
    assert all(at is not None and at >= lobby.clock.now() - timedelta(seconds=2) for at in used)


@SQLITE_ONLY
def test_last_use_is_stored_after_a_minute(lobby: Lobby) -> None:
    """By the first request that comes a minute or more after the last time."""
    header = lobby.issue()

    async def work() -> None:
        for seconds, is_stored in ((0.0, False), (59.9, False), (0.1, True), (59.9, False), (7.0, True)):
            lobby.authenticator._save = None
            lobby.clock.sleep(seconds)
            assert await lobby.status(header) == 200
            assert (lobby.authenticator._save is not None) == is_stored

    run(work)


@SQLITE_ONLY
def test_a_last_use_that_cannot_be_stored_breaks_nothing(lobby: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    """No task fails, and the next use is stored again."""
    header, save = lobby.issue(), access_tokens.save_last_used

    def down(engine: Engine, used: Any) -> None:
        raise Transient("the database cannot be reached")

    async def work() -> None:
        for store in (down, save):
            monkeypatch.setattr(tokens.access_tokens, "save_last_used", store)
            lobby.clock.sleep(60)
            assert await lobby.status(header) == 200
            assert lobby.authenticator._save is not None
            await lobby.authenticator._save

    run(work)
    assert [item.last_used_at for item in access_tokens.list_tokens(lobby.engine)] == [lobby.clock.now()]


def test_a_database_that_is_down_is_no_401(lobby: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the database a token in memory is accepted for its time; then it is not called invalid either."""
    header = lobby.issue()

    def down(engine: Engine, token_id: str) -> None:
        raise Transient("the database cannot be reached")

    async def work() -> None:
        await lobby.authenticator.authenticate(header)
        monkeypatch.setattr(tokens.access_tokens, "find", down)
        lobby.clock.sleep(0.9)
        assert await lobby.status(header) == 200
        await finish_reads(lobby)
        lobby.clock.sleep(890)
        assert await lobby.status(header) == 200
        assert await lobby.status(header + b"x") == 401
        lobby.clock.sleep(11)
        with pytest.raises(Transient):
            await lobby.authenticator.authenticate(header)

    run(work)


def test_a_token_expires_while_the_database_is_down(lobby: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its expiry is in memory too; a token that the process has never read is not accepted."""
    header = lobby.issue(expires_at=lobby.clock.now() + timedelta(seconds=60))

    def down(engine: Engine, token_id: str) -> None:
        raise Transient("the database cannot be reached")

    async def work() -> None:
        await lobby.authenticator.authenticate(header)
        monkeypatch.setattr(tokens.access_tokens, "find", down)
        monkeypatch.setattr(tokens.access_tokens, "list_ids", lambda engine: down(engine, ""))
        lobby.clock.sleep(59)
        assert await lobby.status(header) == 200
        lobby.clock.sleep(2)
        assert await lobby.status(header) == 401
        with pytest.raises(Transient):
            await lobby.authenticator.authenticate(b"Bearer adwarm_abc_def")

    run(work)


def test_a_lost_database_is_not_asked_by_every_request(lobby: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within half a second of a failure a token in memory costs no read."""
    header, reads = lobby.issue(), []

    def down(engine: Engine, token_id: str) -> None:
        reads.append(token_id)
        raise Transient("the database cannot be reached")

    async def work() -> None:
        await lobby.authenticator.authenticate(header)
        monkeypatch.setattr(tokens.access_tokens, "find", down)
        lobby.clock.sleep(5)
        assert [await lobby.status(header) for _ in range(20)] == [200] * 20
        assert len(reads) == 1
        lobby.clock.sleep(1)
        assert await lobby.status(header) == 200
        assert len(reads) == 2

    run(work)


@SQLITE_ONLY
def test_a_read_that_hangs_is_no_answer(lobby: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that this process has not read before is refused for now, in the time of an answer."""
    header, release = lobby.issue(), threading.Event()
    monkeypatch.setattr(tokens, "ANSWER_SECONDS", 0.01)

    def hang(engine: Engine) -> set[str]:
        release.wait(60)
        return set()

    async def work() -> None:
        monkeypatch.setattr(tokens.access_tokens, "list_ids", hang)
        with pytest.raises(DatabaseBusy):
            await lobby.authenticator.authenticate(header)
        release.set()

    run(work)


@SQLITE_ONLY
def test_a_read_that_hangs_does_not_hold_a_known_token_up(lobby: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the database does not answer at all, a token in memory is accepted after a short wait."""
    header, release = lobby.issue(), threading.Event()
    monkeypatch.setattr(tokens, "_OUTAGE_WAIT_SECONDS", 0.01)

    def hang(engine: Engine, token_id: str) -> None:
        release.wait(60)
        raise Transient("the database cannot be reached")

    async def work() -> None:
        await lobby.authenticator.authenticate(header)
        monkeypatch.setattr(tokens.access_tokens, "find", hang)
        lobby.clock.sleep(5)
        assert await lobby.status(header) == 200
        release.set()

    run(work)


def test_secrets_are_random_and_hidden() -> None:
    """Two tokens share nothing; neither `repr` nor redacted text shows a secret."""
    first, second = make_token(), make_token()
    secret = first.text.split("_", 2)[2]
    assert first.id != second.id
    assert secret != second.text.split("_", 2)[2]
    assert len(secret) == 43
    assert secret not in repr(first)
    for text in (first.text, f"Bearer {first.text}", f"GET /?token={first.text}", f"token {first.text} is bad"):
        assert secret not in redact(text)


@SQLITE_ONLY
def test_no_error_holds_a_secret(lobby: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever refuses a token, neither the error nor its traceback shows the secret or its hash."""
    header = lobby.issue(rate_per_second=1.0)
    secret = header.decode().split("_", 2)[2]
    stored = access_tokens.find(lobby.engine, _id(header))
    assert stored is not None

    def down(engine: Engine, token_id: str) -> None:
        raise Transient("the database cannot be reached")

    async def work() -> list[BaseException]:
        errors: list[BaseException] = []
        good = await asyncio.gather(lobby.authenticator.authenticate(header))
        assert good
        for attempt in (header, header[:-1], header.replace(b"Bearer", b"Basic")):
            errors += await asyncio.gather(lobby.authenticator.authenticate(attempt), return_exceptions=True)
        lobby.clock.sleep(5_000)
        monkeypatch.setattr(tokens.access_tokens, "find", down)
        return errors + await asyncio.gather(lobby.authenticator.authenticate(header), return_exceptions=True)

    errors = run(work)
    assert [getattr(error, "status", None) for error in errors] == [429, 401, 401, None]
    shown = "".join(repr(error) + str(error) + "".join(traceback.format_exception(error)) for error in errors)
    for hidden in (secret, stored.secret_hash):
        assert hidden not in shown + repr(stored)


def test_the_rights_of_a_token_survive_storage(engine: Engine, clock: VirtualClock) -> None:
    """What is stored is what was given; the id of an unknown token is None, and revoking twice keeps the first time."""
    now = clock.now()
    token = AccessToken(
        id="abc",
        name="n",
        scopes=frozenset({TokenScope.READ, TokenScope.ENQUEUE}),
        accounts=frozenset({"act_2", "act_1"}),
        is_trusted=True,
        daily_new_keys=7,
        daily_refetches=8,
        rate_per_second=1.5,
        created_at=now,
        expires_at=now + timedelta(days=1),
    )
    access_tokens.insert_token(engine, token, "0" * 64)
    stored = access_tokens.find(engine, "abc")
    assert stored is not None
    assert stored.token == token
    assert access_tokens.find(engine, "nobody") is None
    access_tokens.revoke(engine, "abc", now)
    again = access_tokens.revoke(engine, "abc", now + timedelta(hours=1))
    assert again.token == replace(token, revoked_at=now)


def test_a_key_names_a_report_of_the_settings_and_an_account_of_the_token(engine: Engine, tmp_path: Path) -> None:
    """Anything else is the same problem, so that nobody learns which accounts exist."""
    read = frozenset({TokenScope.READ})
    token = AccessToken(
        id="a", name="t", scopes=read, accounts=frozenset({"act_1"}), created_at=datetime(2026, 11, 25, tzinfo=UTC)
    )
    context = Context(engine, ObjectStore(str(tmp_path)), Settings(home=tmp_path))
    assert check_key(context, token, "act_1", "last_7d", "default") == ReportKey("act_1", "last_7d")
    for account, report in (("act_1", "other"), ("act_2", "default")):
        with pytest.raises(Problem) as raised:
            check_key(context, token, account, "last_7d", report)
        assert raised.value.status == 404
