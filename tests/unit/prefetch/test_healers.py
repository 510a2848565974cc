"""Healers of what fetching needs: a dead token, a dead session, and damaged days."""

import os
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from adwarm.backpressure import RequestQueue
from adwarm.fatigue.account_scores import score_accounts
from adwarm.foundation.errors import AdwarmError, Corrupt, Throttled, TokenDead, Transient
from adwarm.model import Priority, ReportKey
from adwarm.prefetch import KeyRequest
from adwarm.prefetch import healers as healers_module
from adwarm.prefetch.healers import PartitionRefetch, SessionRestart, TokenRefresh
from adwarm.recovery import Call, Failure, RecoveryPipeline
from adwarm.recovery.retry import ErrorFilter
from adwarm.sources.meta.source import MetaSource
from adwarm.sources.meta.transport import MetaCredentials
from adwarm.sources.pool import SourcePool
from adwarm.store import partitions
from adwarm.store.database import read_transaction
from adwarm.store.partition_rows import DamagedObjects
from adwarm.store.quarantine import table as quarantined_item
from tests.support.memory_recovery import memory_options
from tests.unit.conftest import NOW, SQLITE_ONLY, PrefetchHarness
from tests.unit.fatigue.test_account_scores import DAY, WEEK
from tests.unit.prefetch.conftest import TOKEN, PlatformHarness

TOKENS = ErrorFilter(("TokenDead",))


@dataclass
class Renewal:
    """A platform whose token can be renewed, an engine that heals, and what the hook was asked for.

    Attributes:
        staging: the platform and the engine.
        stored: the token in the connection.
        hooked: connections that the hook was called for.
        renews: whether the hook renews the token where it is stored.
    """

    staging: PlatformHarness
    stored: str = TOKEN
    hooked: list[str] = field(default_factory=list)
    renews: bool = True

    def hook(self, connection: str) -> None:
        """Renew the token, as a user's function does."""
        self.hooked.append(connection)
        if self.renews:
            self.stored = self.staging.server.state.config.token

    def make(self, token: str) -> Callable[[], MetaSource]:
        """Return a factory of sources with a token."""
        settings, clock = self.staging.prefetch.settings.source, self.staging.clock
        return lambda: MetaSource(MetaCredentials(SecretStr(token)), settings, "main", clock)

    def start(self, *, hooks: bool = True) -> PlatformHarness:
        """Return the harness with a pool and a healer of dead tokens."""
        prefetch = self.staging.prefetch
        pool = SourcePool(self.make(self.stored), None, {"": lambda: self.make(self.stored)}, monotonic=_Ticks())
        healer = TokenRefresh(lambda: pool, TOKENS, 60, [self.hook] if hooks else [])
        options = memory_options(self.staging.clock, healers=[healer])
        pipeline = RecoveryPipeline(
            prefetch.settings.recovery, self.staging.errors, self.staging.clock, random.Random(1), **options
        )
        engine = replace(prefetch, sources=pool, pipeline=pipeline)
        return replace(self.staging, prefetch=engine)


class _Ticks:
    """A monotonic clock by which every reading of a connection is due."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        self._now += 10
        return self._now


@pytest.fixture
def renewal(staging: PlatformHarness) -> Renewal:
    """A platform without faults."""
    return Renewal(staging)


def _statuses(result: Any) -> list[str]:
    return [str(outcome.status) for outcome in result.outcomes]


def _dead_calls(harness: PlatformHarness) -> int:
    return len([call for call in harness.calls() if call.code == 190])


def test_the_hook_renews_the_token_of_a_running_batch(renewal: Renewal) -> None:
    """Every account is fetched by the same batch, the hook runs once, and few calls are made with the dead token."""
    harness = renewal.start()
    renewal.staging.server.state.renew_token("renewed")
    names = [f"act_{number}" for number in range(1, 13)]
    assert _statuses(harness.run(*names, span="last_7d")) == ["fetched"] * 12
    assert renewal.hooked == ["main"]
    assert 1 <= _dead_calls(harness) <= harness.prefetch.settings.workers


def test_accounts_that_failed_before_the_renewal_are_tried_again_at_the_end(renewal: Renewal) -> None:
    """A human renews the token while the batch runs: accounts that had failed with the old one are fetched too."""
    harness = renewal.start(hooks=False)
    state = renewal.staging.server.state
    state.renew_token("renewed")
    seen: list[str] = []
    check = state.answer

    def answer(call: Any) -> Any:
        seen.append(call.token)
        return check(call)

    state.answer = answer  # type: ignore[method-assign]
    ended = threading.Event()

    def heartbeat(_waiting: int) -> None:
        if "TokenDead" in {event.kind for event in harness.errors.list_recent(10)} and not ended.is_set():
            ended.set()
            renewal.stored = "renewed"

    reported: list[str] = []
    settings = harness.prefetch.settings.model_copy(update={"workers": 1})
    requests = [KeyRequest(ReportKey(f"act_{number}", "last_7d")) for number in (1, 2, 3)]
    result = harness.with_settings(settings).prefetch.run(
        requests,
        Priority.LOW,
        heartbeat=heartbeat,
        progress=lambda outcomes: reported.extend(str(item.status) for item in outcomes),
    )
    assert ended.is_set()
    assert _statuses(result) == ["fetched"] * 3
    assert reported == ["fetched"] * 3
    assert seen.count(TOKEN) == 1


def test_without_a_renewal_the_accounts_fail_once(renewal: Renewal) -> None:
    """A dead token that nobody renews costs a call a worker at most; each outcome is reported once, with its calls."""
    harness = renewal.start(hooks=False)
    renewal.staging.server.state.renew_token("renewed")
    reported: list[str] = []
    settings = harness.prefetch.settings.model_copy(update={"workers": 1})
    requests = [KeyRequest(ReportKey(f"act_{number}", "last_7d")) for number in (1, 2, 3)]
    result = harness.with_settings(settings).prefetch.run(
        requests, Priority.LOW, progress=lambda outcomes: reported.extend(str(item.status) for item in outcomes)
    )
    assert _statuses(result) == reported == ["failed"] * 3
    assert [type(outcome.error) for outcome in result.outcomes] == [TokenDead] * 3
    assert (_dead_calls(harness), result.calls) == (1, 1)


def test_a_token_that_dies_while_a_report_runs_is_replaced(renewal: Renewal) -> None:
    """The poll that is refused lets the token be renewed, and the running report is read to its end."""
    harness = renewal.start()
    state = renewal.staging.server.state
    answer = state.answer

    def expire(call: Any) -> Any:
        if harness.calls("submit") and state.config.token == TOKEN:
            state.renew_token("renewed")
        return answer(call)

    state.answer = expire  # type: ignore[method-assign]
    assert _statuses(harness.run("act_1")) == ["fetched"]
    assert (len(harness.calls("submit")), _dead_calls(harness), renewal.hooked) == (1, 1, ["main"])


def _failure(error: Exception, connection: str = "main") -> Failure:
    return Failure(Call("meta", connection, "act_1"), error)


def _dead(credential: str) -> TokenDead:
    error = TokenDead()
    error.credential = credential
    return error


def _pool(tokens: list[str]) -> tuple[SourcePool, Callable[[], Any]]:
    """Return a pool whose connection holds the last of `tokens`, and its factory."""

    @dataclass
    class Plain:
        credential: str
        connection: str = "main"

        def close(self) -> None:
            """Hold nothing."""

    def make() -> Any:
        return Plain(tokens[0])

    pool = SourcePool(make, None, {"": lambda: lambda: Plain(tokens[-1])}, monotonic=_Ticks())  # type: ignore[arg-type, return-value]
    pool.get("")
    return pool, make


def test_a_token_that_stays_dead_names_the_connection() -> None:
    """The failure says which connection to renew, and whether a hook was asked; nothing is adopted."""
    pool, _ = _pool(["old"])
    failure = _failure(_dead("old"))
    with pytest.raises(TokenDead, match="connection main still has the token that was refused; it was not renewed"):
        TokenRefresh(lambda: pool, TOKENS, 60, []).heal(failure)
    healer = TokenRefresh(lambda: pool, TOKENS, 60, [lambda name: None])
    with pytest.raises(TokenDead, match="the hook did not renew it: renew it there"):
        healer.heal(failure)
    assert not healer.adopt(failure)


def test_a_renewal_by_a_human_is_adopted() -> None:
    """Whoever renewed the token, a process that meets the dead one later takes the new one over."""
    tokens = ["old"]
    pool, _ = _pool(tokens)
    healer, failure = TokenRefresh(lambda: pool, TOKENS, 60, []), _failure(_dead("old"))
    assert not healer.adopt(failure)
    tokens.append("new")
    assert healer.adopt(failure)
    assert pool.get("").credential == "new"
    assert healer.adopt(failure)


def test_a_hook_that_fails_shows_no_secret() -> None:
    """The error names the connection and the class of the hook's error, and nothing of its text."""

    def hook(name: str) -> None:
        raise ValueError("token EAAB123 is wrong")

    pool, _ = _pool(["old"])
    with pytest.raises(AdwarmError, match="failed for connection main") as caught:
        TokenRefresh(lambda: pool, TOKENS, 60, [hook]).heal(_failure(_dead("old")))
    assert "EAAB123" not in repr(caught.value)


def test_threads_wait_for_the_one_that_renews() -> None:
    """A thread that may not heal itself waits for the running hook of its process, and adopts what it did."""
    tokens = ["old"]
    pool, _ = _pool(tokens)
    is_running, may_end = threading.Event(), threading.Event()

    def hook(name: str) -> None:
        is_running.set()
        assert may_end.wait(30)
        tokens.append("new")

    healer, failure = TokenRefresh(lambda: pool, TOKENS, 60, [hook]), _failure(_dead("old"))
    adopted: list[bool] = []
    first = threading.Thread(target=healer.heal, args=(failure,))
    second = threading.Thread(target=lambda: adopted.append(healer.adopt(failure)))
    first.start()
    assert is_running.wait(30)
    second.start()
    may_end.set()
    first.join(30)
    second.join(30)
    assert adopted == [True]


def test_hooks_are_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions of installed packages are found by group, in the order of their names; a broken one is named."""

    @dataclass
    class Point:
        name: str
        value: Any

        def load(self) -> Any:
            if self.value is None:
                raise ImportError("no module")
            return self.value

    points = [Point("b", print), Point("a", len)]
    monkeypatch.setattr(healers_module, "entry_points", lambda group: points if group == "adwarm.token_refresh" else [])
    healers_module.list_token_hooks.cache_clear()
    try:
        assert healers_module.list_token_hooks() == (len, print)
        healers_module.list_token_hooks.cache_clear()
        points.append(Point("c", None))
        with pytest.raises(AdwarmError, match=r"the entry point c of adwarm\.token_refresh cannot be imported"):
            healers_module.list_token_hooks()
    finally:
        healers_module.list_token_hooks.cache_clear()


def test_other_connections_and_errors_are_not_its_business() -> None:
    """It is for dead tokens of connections that this process reads."""
    pool, _ = _pool(["old"])
    healer = TokenRefresh(lambda: pool, TOKENS, 60, [])
    assert healer.matches(_failure(TokenDead()))
    assert healer.scope(_failure(TokenDead())) == "main"
    assert not healer.matches(_failure(TokenDead(), "other"))
    assert not healer.matches(_failure(TokenDead(), ""))
    assert not healer.matches(_failure(Transient("busy")))


def test_a_restart_is_adopted_by_threads_with_an_old_session() -> None:
    """Every thread whose session is older than the restart tries again, each once; the scope is this process."""
    pool, _ = _pool(["old"])
    healer = SessionRestart(lambda: pool, ErrorFilter(("Transient",), "connection"), 60)
    failure = _failure(Transient("the connection to Meta failed", code="connection"))
    assert healer.matches(failure)
    assert healer.scope(failure).startswith("main@")
    assert healer.scope(failure).endswith(f":{os.getpid()}")
    assert not healer.adopt(failure)
    assert "main gets new HTTP sessions" in healer.heal(failure)
    assert healer.adopt(failure)
    pool.get("")
    assert not healer.adopt(failure)


def test_throttling_is_no_reason_for_a_new_session() -> None:
    """A throttled call is left alone, whatever its message says."""
    pool, _ = _pool(["old"])
    healer = SessionRestart(lambda: pool, ErrorFilter(), 60)
    assert not healer.matches(_failure(Throttled("connection limit", scope="app:1", until=NOW)))
    assert not healer.matches(_failure(Transient("the database has no connection"), ""))


def _quarantined(harness: PrefetchHarness) -> list[Any]:
    with read_transaction(harness.engine) as connection:
        return list(connection.execute(select(quarantined_item)))


def test_scoring_lets_damaged_days_be_fetched_again(harness: PrefetchHarness) -> None:
    """The days are set aside and requested with low priority; after the queue was drained the account is scored."""
    request = [KeyRequest(ReportKey("act_1", WEEK), close_day=DAY)]
    harness.prefetch.run(request, Priority.LOW)
    for digest, suffix in harness.prefetch.objects.list_objects():
        Path(harness.prefetch.objects.describe_location(digest, suffix)).write_bytes(b"?")
    pairs = [("act_1", DAY)]
    result = score_accounts(harness.prefetch.context, pairs, NOW, harness.prefetch.pipeline)
    assert "its days are fetched again" in result.errors[0]
    queue = RequestQueue(harness.engine, harness.settings.backpressure, owner="worker")
    claims = queue.dequeue(10)
    assert {claim.request.priority for claim in claims} == {Priority.LOW}
    keys = [claim.request.key for claim in claims]
    assert {key.account_id for key in keys} == {"act_1"}
    assert {item.kind for item in _quarantined(harness)} == {"partition"}
    harness.prefetch.run([KeyRequest(key) for key in keys], Priority.LOW)
    harness.prefetch.run(request, Priority.LOW)
    assert all(item.healed_at for item in _quarantined(harness))
    assert score_accounts(harness.prefetch.context, pairs, NOW, harness.prefetch.pipeline).accounts == 1


@SQLITE_ONLY
def test_a_full_queue_leaves_the_days_to_the_next_warming(harness: PrefetchHarness) -> None:
    """The healing succeeds without a request, and says so."""
    harness.prefetch.run([KeyRequest(ReportKey("act_1", "yesterday"))], Priority.LOW)
    full = harness.settings.backpressure.model_copy(update={"queue_size": 1})
    queue = RequestQueue(harness.engine, full, owner="test")
    queue.enqueue(ReportKey("act_9", "today"), Priority.CRITICAL)
    healer = PartitionRefetch(harness.prefetch.context, queue, harness.clock, ErrorFilter(("Corrupt",)), 60)
    digests = [digest for digest, _ in harness.prefetch.objects.list_objects()]
    failure = Failure(Call("store", account_id="act_1"), DamagedObjects(digests, Corrupt()))
    assert healer.matches(failure)
    assert not healer.adopt(failure)
    assert "the next warming of the account fetches them" in healer.heal(failure)
    assert healer.adopt(failure)
    assert not any(partitions.list_spans_of_object(harness.engine, digest) for digest in digests)


@SQLITE_ONLY
def test_corrupt_answers_of_the_platform_are_not_its_business(harness: PrefetchHarness) -> None:
    """Only stored objects are refetched; the scope of one object is its hash, of several one hash."""
    queue = RequestQueue(harness.engine, harness.settings.backpressure, owner="test")
    healer = PartitionRefetch(harness.prefetch.context, queue, harness.clock, ErrorFilter(("Corrupt",)), 60)
    assert not healer.matches(_failure(Corrupt()))
    one, two = (
        Failure(Call("store"), DamagedObjects(names, Corrupt())) for names in (["a" * 64], ["b" * 64, "c" * 64])
    )
    assert healer.scope(one) == "a" * 64
    assert len(healer.scope(two)) == 64
    reversed_two = Failure(Call("store"), DamagedObjects(["c" * 64, "b" * 64], Corrupt()))
    assert healer.scope(two) == healer.scope(reversed_two)
