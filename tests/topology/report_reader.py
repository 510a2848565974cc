"""Reads reports through several servers, and goes to the next one when a server does not answer."""

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Self

from adwarm.foundation.errors import NotFound, Transient
from adwarm.model import ReportKey
from adwarm_client import Client, NotReady, ReportAnswer

_PAUSE_SECONDS = 0.05


class ReportReader:
    """Reads keys in turns, from a thread of its own, until it is stopped.

    Attributes:
        served: reports read from each server.
        moved: reads that another server answered, because the first one did not.
        failed: reads that no server answered.
    """

    def __init__(self, urls: Sequence[str], token: str, keys: Sequence[ReportKey]) -> None:
        self._clients = [Client(url, token, cache_folder=False, sleep=lambda _: None) for url in urls]
        self._keys = keys
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._read_in_turns, name="reader")
        self.served: Counter[int] = Counter()
        self.moved = 0
        self.failed: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for client in self._clients:
            client.close()

    def stop(self) -> None:
        """End the thread; `read` still works."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def read(self, key: ReportKey, first: int) -> ReportAnswer | None:
        """Read a report from the server `first`, or else from the next; None when it is not stored yet.

        Raises:
            Transient: no server answers.
        """
        for turn in range(len(self._clients)):
            number = (first + turn) % len(self._clients)
            try:
                answer = self._clients[number].report(key.account_id, key.date_range, wait=0)
            except (NotReady, NotFound):
                answer = None
            except Transient:
                if turn + 1 == len(self._clients):
                    raise
                continue
            self.served[number] += 1
            self.moved += turn > 0
            return answer
        raise AssertionError("there is no server")

    def _read_in_turns(self) -> None:
        turn = 0
        while not self._end.wait(_PAUSE_SECONDS):
            key = self._keys[turn % len(self._keys)]
            try:
                self.read(key, turn)
            except Exception as error:
                self.failed.append(f"{key}: {error!r}")
            turn += 1
