"""Tests of taking turns at SQLite's one writer."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from adwarm.foundation.errors import Transient
from adwarm.settings import SqlSettings
from adwarm.store.database import open_engine
from adwarm.store.writer_queue import WriterQueue


def _add(url: str, path: Path, times: int) -> None:
    turnstile = WriterQueue(open_engine(url))
    for _ in range(times):
        with turnstile.acquire():
            path.write_text(str(int(path.read_text()) + 1))


def _hold(url: str, held: Event, released: Event) -> None:
    with WriterQueue(open_engine(url)).acquire():
        held.set()
        released.wait(60)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """Processes that read, add and write lose nothing."""
    url, path = f"sqlite:///{tmp_path}/a.db", tmp_path / "count"
    path.write_text("0")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add, args=(url, path, 50)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert path.read_text() == "150"


def test_the_turn_of_a_dead_process_is_free(tmp_path: Path) -> None:
    """The operating system lets go of it."""
    url = f"sqlite:///{tmp_path}/a.db"
    context = multiprocessing.get_context("fork")
    held, released = context.Event(), context.Event()
    worker = context.Process(target=_hold, args=(url, held, released))
    worker.start()
    held.wait(60)
    worker.kill()
    worker.join(60)

    with WriterQueue(open_engine(url)).acquire():
        assert worker.exitcode == -9


def test_nobody_waits_where_there_is_no_file() -> None:
    """A database in memory has no other users."""
    turnstile = WriterQueue(open_engine("sqlite:///:memory:"))
    with turnstile.acquire(), turnstile.acquire():
        assert turnstile is not None


def test_nobody_waits_for_a_holder_that_has_stopped(tmp_path: Path) -> None:
    """After the lock timeout the error names the file and what to do; whoever comes later gets the turn."""
    url = f"sqlite:///{tmp_path}/a.db"
    context = multiprocessing.get_context("fork")
    held, released = context.Event(), context.Event()
    worker = context.Process(target=_hold, args=(url, held, released))
    worker.start()
    held.wait(60)
    turnstile = WriterQueue(open_engine(url, SqlSettings(lock_timeout_seconds=0.2)))
    for _ in range(2):
        with pytest.raises(Transient, match=r"a\.db.*0\.2 s"), turnstile.acquire():
            pytest.fail("the turn is taken")
    released.set()
    worker.join(60)

    patient = WriterQueue(open_engine(url))
    for _ in range(3):
        with patient.acquire(), pytest.raises(Transient), turnstile.acquire():
            pytest.fail("the turn is taken")
        with turnstile.acquire():
            assert worker.exitcode == 0


def test_threads_wait_for_each_other_no_longer_either(tmp_path: Path) -> None:
    """The threads of one process queue as well."""
    turnstile = WriterQueue(open_engine(f"sqlite:///{tmp_path}/a.db", SqlSettings(lock_timeout_seconds=0.2)))

    def enter() -> None:
        with turnstile.acquire():
            pytest.fail("the turn is taken")

    with turnstile.acquire(), ThreadPoolExecutor(1) as pool, pytest.raises(Transient, match="no turn"):
        pool.submit(enter).result(30)
