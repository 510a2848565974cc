"""Sources of connections: one per thread, replaced after a renewal, and connections that are read one at a time."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from adwarm.foundation.errors import BadRequest, TokenDead
from adwarm.sources.pool import RELOAD_SECONDS, SourceFactory, SourcePool, naming_credential
from adwarm.sources.protocol import InsightsSource


@dataclass
class FakeSource:
    """A source with nothing but a credential."""

    credential: str
    connection: str = "main"
    closed_by: list[int] = field(default_factory=list)

    def close(self) -> None:
        """Remember the thread."""
        self.closed_by.append(threading.get_ident())


@dataclass
class Vault:
    """Where the token of a connection is stored."""

    token: str = "old"
    made: list[FakeSource] = field(default_factory=list)
    reads: int = 0
    reading: int = 0
    at_once: int = 0
    now: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> SourceFactory:
        """Read the connection; note how many threads do so at the same time."""
        with self.lock:
            self.reads, self.reading = self.reads + 1, self.reading + 1
            self.at_once = max(self.at_once, self.reading)
        token = self.token
        with self.lock:
            self.reading -= 1
        return self.factory(token)

    def factory(self, token: str) -> SourceFactory:
        """Return a factory of sources with a token."""

        def make() -> InsightsSource:
            source = FakeSource(token)
            self.made.append(source)
            return cast("InsightsSource", source)

        return make

    def pool(self) -> SourcePool:
        """Return a pool whose default connection is read from here."""
        return SourcePool(self.factory(self.token), None, {"": self.read}, monotonic=lambda: self.now)


def _in_threads(count: int, work: Callable[[], Any]) -> list[Any]:
    barrier = threading.Barrier(count)

    def go() -> Any:
        barrier.wait(30)
        return work()

    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(go) for _ in range(count)]]


def test_each_thread_has_one_source() -> None:
    """A thread gets the same source again; another thread gets its own."""
    vault = Vault()
    pool = vault.pool()
    assert pool.get("") is pool.get("unknown")
    others = _in_threads(3, lambda: id(pool.get("")))
    assert len({id(pool.get("")), *others}) == 4


def test_a_lent_source_serves_the_next_thread() -> None:
    """Threads that work one after the other share one source; after a renewal the next one closes it."""
    pool = Vault().pool()

    def work() -> FakeSource:
        with pool.lending():
            return cast("FakeSource", pool.get(""))

    first = _in_threads(1, work)
    assert _in_threads(1, work) == first
    pool.restart("")
    [replaced] = _in_threads(1, work)
    assert replaced is not first[0]
    assert len(first[0].closed_by) == 1


def test_a_renewed_token_replaces_the_source_of_every_thread() -> None:
    """After a reload each thread builds a new source, and closes its old one itself."""
    vault = Vault()
    pool = vault.pool()
    was_read, is_renewed = threading.Barrier(3), threading.Barrier(3)

    def work() -> tuple[FakeSource, FakeSource, int]:
        before = pool.get("")
        was_read.wait(30)
        is_renewed.wait(30)
        return cast("FakeSource", before), cast("FakeSource", pool.get("")), threading.get_ident()

    with ThreadPoolExecutor(2) as threads:
        futures = [threads.submit(work) for _ in range(2)]
        was_read.wait(30)
        vault.token = "new"
        assert pool.reload("", than="old")
        is_renewed.wait(30)
        for before, after, thread in [future.result() for future in futures]:
            assert (before.credential, after.credential) == ("old", "new")
            assert before.closed_by == [thread]
            assert after.closed_by == []


def test_an_unchanged_token_changes_nothing() -> None:
    """A reload that finds the token that failed returns False, and the source stays."""
    vault = Vault()
    pool = vault.pool()
    source = pool.get("")
    assert not pool.reload("", than="old")
    assert pool.get("") is source
    assert vault.reads == 1


def test_a_connection_is_read_every_few_seconds_at_most() -> None:
    """Within the pause nothing is read, unless it is forced; a renewal noticed before costs no read at all."""
    vault = Vault()
    pool = vault.pool()
    pool.get("")
    assert not pool.reload("", than="old")
    vault.token = "new"
    assert not pool.reload("", than="old")
    assert vault.reads == 1
    vault.now = RELOAD_SECONDS
    assert pool.reload("", than="old")
    assert pool.reload("", than="old")
    assert vault.reads == 2
    vault.token = "newer"
    assert pool.reload("", than="new", force=True)


def test_many_threads_read_a_connection_once_and_never_at_the_same_time() -> None:
    """Fifty threads that meet the dead token cost one read, and all of them learn that it was renewed."""
    vault = Vault()
    pool = vault.pool()
    pool.get("")
    vault.token = "new"
    assert _in_threads(50, lambda: pool.is_renewed("", "old")) == [True] * 50
    assert (vault.reads, vault.at_once) == (1, 1)


def test_a_connection_that_cannot_be_read_is_not_renewed() -> None:
    """`reload` raises the reason, `is_renewed` returns False."""

    def fail() -> SourceFactory:
        raise BadRequest("connection 'main' does not exist")

    vault = Vault()
    pool = SourcePool(vault.factory("old"), None, {"": fail}, monotonic=lambda: vault.now)
    pool.get("")
    with pytest.raises(BadRequest, match="does not exist"):
        pool.reload("", than="old")
    vault.now = RELOAD_SECONDS
    assert not pool.is_renewed("", "old")


def test_a_restart_gives_new_sources_with_the_same_token() -> None:
    """After a restart a thread's source is outdated until it asks for it again; the token is not read again."""
    vault = Vault()
    pool = vault.pool()
    before = pool.get("")
    assert not pool.is_outdated("")
    pool.restart("")
    assert pool.is_outdated("")
    after = pool.get("")
    assert after is not before
    assert not pool.is_outdated("")
    assert (after.credential, vault.reads) == ("old", 0)


def test_names_are_those_of_the_store() -> None:
    """A connection is known by the name of its accounts; the empty name is that of no stored account."""
    vault = Vault()
    pool = SourcePool(vault.factory("old"), {"eu": vault.factory("eu")})
    assert [pool.has(name) for name in ("main", "eu", "", "other")] == [True, True, False, False]
    assert (pool.get_name(""), set(pool.factories)) == ("main", {"eu"})


def test_a_dead_token_names_its_credential() -> None:
    """The error says which credential was refused, and keeps the first one that was named."""
    with pytest.raises(TokenDead) as caught, naming_credential(cast("InsightsSource", FakeSource("abc"))):
        raise TokenDead
    assert caught.value.credential == "abc"
    with pytest.raises(TokenDead) as again, naming_credential(cast("InsightsSource", FakeSource("def"))):
        raise caught.value
    assert again.value.credential == "abc"
