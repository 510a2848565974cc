"""The queue of writers."""

import gc
import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from adwarm.foundation.errors import Transient
from adwarm.settings import SqlSettings
from adwarm.store.database import open_engine
from adwarm.store.writer_queue import WriterQueue


def _add(url: str, path: Path, times: int) -> None:
    queue = WriterQueue(open_engine(url))
    for _ in range(times):
        with queue.acquire():
            path.write_text(str(int(path.read_text()) + 1))


def _hold(url: str, held: Event, released: Event) -> None:
    with WriterQueue(open_engine(url)).acquire():
        held.set()
        released.wait(60)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """Processes that read, add and write lose no update."""
    url, path = f"sqlite:///{tmp_path}/a.db", tmp_path / "count"
    path.write_text("0")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add, args=(url, path, 50)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert path.read_text() == "150"


def test_a_dead_process_releases_the_lock(tmp_path: Path) -> None:
    """The operating system releases it."""
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


def test_a_queue_that_is_gone_leaves_no_file_open(tmp_path: Path) -> None:
    """A process that opens one database after another would reach its limit of open files."""
    gc.freeze()  # what other tests have left takes a second to look through
    queue = WriterQueue(open_engine(f"sqlite:///{tmp_path}/a.db"))
    with queue.acquire():
        files = queue._files
    assert files is not None
    assert [os.fstat(file).st_size for file in files] == [0, 0]
    del queue
    gc.collect(1)
    for file in files:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(file)


def test_without_a_file_the_threads_of_a_process_queue() -> None:
    """A thread that waits longer than its transaction may wait gets an error, and the next one its turn."""
    queue = WriterQueue(open_engine("sqlite:///:memory:", SqlSettings(lock_timeout_seconds=0.05)))
    with queue.acquire(), pytest.raises(Transient, match="this process's other threads"), queue.acquire():
        pytest.fail("another caller holds the lock")
    with queue.acquire():
        assert queue._files is None


@pytest.mark.slow
def test_waiting_for_a_stopped_process_times_out(tmp_path: Path) -> None:
    """The error names the file and what to do; a later caller gets the lock."""
    url = f"sqlite:///{tmp_path}/a.db"
    context = multiprocessing.get_context("fork")
    held, released = context.Event(), context.Event()
    worker = context.Process(target=_hold, args=(url, held, released))
    worker.start()
    held.wait(60)
    queue = WriterQueue(open_engine(url, SqlSettings(lock_timeout_seconds=0.2)))
    for _ in range(2):
        with pytest.raises(Transient, match=r"0\.\d+ s.*a\.db"), queue.acquire():
            pytest.fail("another caller holds the lock")
    released.set()
    worker.join(60)

    patient = WriterQueue(open_engine(url))
    for _ in range(3):
        with patient.acquire(), pytest.raises(Transient), queue.acquire():
            pytest.fail("another caller holds the lock")
        with queue.acquire():
            assert worker.exitcode == 0


def test_threads_time_out_too(tmp_path: Path) -> None:
    """The threads of one process queue as well."""
    queue = WriterQueue(open_engine(f"sqlite:///{tmp_path}/a.db", SqlSettings(lock_timeout_seconds=0.2)))

    def enter() -> None:
        with queue.acquire():
            pytest.fail("another caller holds the lock")

    with queue.acquire(), ThreadPoolExecutor(1) as pool, pytest.raises(Transient, match="timed out"):
        pool.submit(enter).result(30)
