"""Reads ahead in a thread, so that reading and computing overlap."""

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
_POLL_SECONDS = 0.1
"""How often a thread that waits for room looks whether it shall stop."""


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class _Produced(Generic[Item]):
    item: Item


def iterate_in_background(source: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """Yield the items of `source`, which a thread reads up to `depth` items ahead.

    An error of `source` is raised after the items before it. The thread stops when the caller stops early.
    """
    items: queue.Queue[_Produced[Item] | _End] = queue.Queue(depth)
    stopped = threading.Event()
    worker = threading.Thread(target=_produce, args=(source, items, stopped), name="adwarm-ahead", daemon=True)
    worker.start()
    try:
        while isinstance(entry := items.get(), _Produced):
            yield entry.item
        if entry.error is not None:
            raise entry.error
    finally:
        stopped.set()
        worker.join()


def _produce(source: Iterable[Item], items: "queue.Queue[_Produced[Item] | _End]", stopped: threading.Event) -> None:
    error: BaseException | None = None
    try:
        for item in source:
            if not _put(_Produced(item), items, stopped):
                return
    except BaseException as raised:
        error = raised
    _put(_End(error), items, stopped)


def _put(
    entry: "_Produced[Item] | _End", items: "queue.Queue[_Produced[Item] | _End]", stopped: threading.Event
) -> bool:
    while not stopped.is_set():
        try:
            items.put(entry, timeout=_POLL_SECONDS)
        except queue.Full:
            continue
        return True
    return False
