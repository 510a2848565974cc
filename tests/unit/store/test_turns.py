"""Tests of taking turns at SQLite's one writer."""

import multiprocessing
from multiprocessing.synchronize import Event
from pathlib import Path

from adwarm.store.engine import open_engine
from adwarm.store.turns import Turnstile


def _add(url: str, path: Path, times: int) -> None:
    turnstile = Turnstile(open_engine(url))
    for _ in range(times):
        with turnstile.turn():
            path.write_text(str(int(path.read_text()) + 1))


def _hold(url: str, held: Event) -> None:
    with Turnstile(open_engine(url)).turn():
        held.set()
        held.clear()
        held.wait(60)


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
    held = context.Event()
    worker = context.Process(target=_hold, args=(url, held))
    worker.start()
    held.wait(60)
    worker.kill()
    worker.join(60)

    with Turnstile(open_engine(url)).turn():
        assert worker.exitcode == -9


def test_nobody_waits_where_there_is_no_file() -> None:
    """A database in memory has no other users."""
    turnstile = Turnstile(open_engine("sqlite:///:memory:"))
    with turnstile.turn(), turnstile.turn():
        assert turnstile is not None
