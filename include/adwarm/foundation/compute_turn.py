"""A turn to compute: of the threads that share work, one computes while the others wait for the network or the disk.

Threads that compute at the same time take Python's interpreter from each other at every read and write, which costs up
to a tenth of their CPU. The turn saves that, and is no lock that anything relies on: who waits without giving it back,
in a library or for a lock that another thread has, loses it after `PATIENCE_SECONDS`.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

PATIENCE_SECONDS: Final = 0.05


class _Turn:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.times_taken = 0


class _Process:
    """The turn of this process; one that is not given back is left to who has it."""

    turn = _Turn()


class _Thread(threading.local):
    """Whether the calling thread takes turns now, and the one that it has."""

    takes_turns = False
    turn: _Turn | None = None


_thread = _Thread()


@contextmanager
def taking_turns() -> Iterator[None]:
    """Compute in turns with the other threads that do, while the block runs."""
    if _thread.takes_turns:
        yield
        return
    _begin()
    try:
        yield
    finally:
        _end()


@contextmanager
def waiting() -> Iterator[None]:
    """Let another thread compute while the block, which mostly waits, runs; without effect outside of turns."""
    if not _thread.takes_turns:
        yield
        return
    _end()
    try:
        yield
    finally:
        _begin()


def _begin() -> None:
    _thread.takes_turns = True
    while True:
        turn, times_taken = _Process.turn, _Process.turn.times_taken
        if turn.lock.acquire(timeout=PATIENCE_SECONDS):
            turn.times_taken += 1
            _thread.turn = turn
            return
        if turn.times_taken == times_taken and _Process.turn is turn:
            _Process.turn = _Turn()


def _end() -> None:
    _thread.takes_turns = False
    turn, _thread.turn = _thread.turn, None
    if turn is not None:
        turn.lock.release()
