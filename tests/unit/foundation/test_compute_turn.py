"""Threads compute in turns; who waits gives the turn back, and who does not loses it."""

import io
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from adwarm.foundation import compute_turn
from adwarm.foundation.clock import FrozenClock, SystemClock
from adwarm.foundation.compute_turn import taking_turns, waiting
from adwarm.foundation.remote_files import translating_remote_errors
from adwarm.sources.meta.wire import CallBounds, _BoundedReads
from adwarm.store.writer_queue import WriterQueue

ENOUGH_SECONDS = 60.0


def has_turn() -> bool:
    """Whether the calling thread has the turn."""
    return compute_turn._thread.turn is not None


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody loses a turn unless a test says so."""
    monkeypatch.setattr(compute_turn, "PATIENCE_SECONDS", ENOUGH_SECONDS)
    monkeypatch.setattr(compute_turn._Process, "turn", compute_turn._Turn())
    yield
    assert not has_turn()
    assert not compute_turn._Process.turn.lock.locked()


def test_one_thread_computes_at_a_time() -> None:
    """Of several threads one is between its waits."""
    computing, most, lock = 0, 0, threading.Lock()

    def work(_: int) -> None:
        nonlocal computing, most
        with taking_turns():
            for _ in range(20):
                with lock:
                    computing += 1
                    most = max(most, computing)
                with lock:
                    computing -= 1
                with waiting():
                    pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert most == 1


def test_a_thread_that_waits_lets_another_compute() -> None:
    """One waits for what the other computes; without the turn given back, the test would take a minute."""
    computed = threading.Event()

    def compute() -> None:
        with taking_turns():
            computed.set()

    with taking_turns():
        thread = threading.Thread(target=compute)
        thread.start()
        with waiting():
            assert computed.wait(ENOUGH_SECONDS / 2)
        assert has_turn()
    thread.join()


def test_who_waits_without_giving_it_back_loses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that one thread holds and the next one needs does not stop both; later turns are taken as before."""
    monkeypatch.setattr(compute_turn, "PATIENCE_SECONDS", 0.001)
    computed = threading.Event()

    def compute() -> None:
        with taking_turns():
            computed.set()

    with taking_turns():
        first = compute_turn._Process.turn
        thread = threading.Thread(target=compute)
        thread.start()
        assert computed.wait(ENOUGH_SECONDS)
        thread.join()
    assert not first.lock.locked()
    assert compute_turn._Process.turn is not first
    with taking_turns():
        assert compute_turn._Process.turn.lock.locked()


def test_a_turn_that_goes_round_is_waited_for() -> None:
    """A thread that runs out of patience while others take the turn one after another goes on waiting for it."""

    class Busy(compute_turn._Turn):
        """Taken by another thread twice while this one waits."""

        def __init__(self) -> None:
            super().__init__()
            self.lock: Any = self
            self.tries = 0

        def acquire(self, timeout: float) -> bool:
            assert timeout == ENOUGH_SECONDS
            self.tries += 1
            self.times_taken += self.tries < 3
            return self.tries == 3

        def release(self) -> None:
            self.tries = 0

        def locked(self) -> bool:
            return self.tries > 0

    busy = compute_turn._Process.turn = Busy()
    with taking_turns():
        assert compute_turn._thread.turn is busy
        assert busy.tries == 3


def test_nested_blocks_change_nothing() -> None:
    """Within a turn another is none of its own, within a wait a wait is the same one, and outside a wait is nothing."""
    with waiting():
        assert not has_turn()
    with taking_turns():
        with taking_turns():
            assert has_turn()
        assert has_turn()
        with waiting():
            with waiting():
                assert not has_turn()
            assert not has_turn()
        assert has_turn()


def test_an_error_leaves_the_turn_to_the_block_that_has_it() -> None:
    """An error in a wait comes out with the turn taken again, and an error of the work gives it back."""
    with taking_turns():
        with pytest.raises(OSError, match="lost"), waiting():
            raise OSError("lost")
        assert has_turn()
    with pytest.raises(KeyError), taking_turns():
        raise KeyError
    assert not has_turn()


def test_waits_on_a_clock_and_for_a_remote_file_give_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread sleeps, or waits for a bucket, with the turn."""
    seen: list[bool] = []
    monkeypatch.setattr(time, "sleep", lambda _: seen.append(has_turn()))
    with taking_turns():
        SystemClock().sleep(1)
        FrozenClock(datetime(2026, 12, 1, tzinfo=UTC)).sleep(1)
        with translating_remote_errors("memory://a", "ADWARM_DATA_URL"):
            seen.append(has_turn())
    assert seen == [False, False, False]


def test_reads_from_the_platform_give_it_back() -> None:
    """No thread waits for bytes of a response with the turn."""
    seen: list[bool] = []

    class Raw(io.RawIOBase):
        def readinto(self, buffer: Any, /) -> int:
            seen.append(has_turn())
            buffer[:1] = b"a"
            return 1

    with socket.socket() as plain, taking_turns():
        reads = _BoundedReads(plain, Raw(), CallBounds(1, 1, 10))
        assert reads.readinto(bytearray(4)) == 1
        assert has_turn()
    assert seen == [False]


def test_a_writer_in_line_gives_it_back(sqlite_engine: Engine) -> None:
    """The writer ahead can compute to its end; without the turn given back, the test would take a minute."""
    queue, is_writing, entered = WriterQueue(sqlite_engine), threading.Event(), threading.Event()

    def write() -> None:
        with queue.acquire():
            is_writing.set()
            with taking_turns():
                entered.set()

    with taking_turns():
        thread = threading.Thread(target=write)
        thread.start()
        assert is_writing.wait(ENOUGH_SECONDS)
        with queue.acquire():
            assert entered.is_set()
            assert has_turn()
    thread.join()
