"""Runs producers in threads. Arrow and numpy release the interpreter's lock, so the threads run in parallel."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_POLL_SECONDS = 0.1


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


def map_in_background(function: Callable[[Item], Result], items: Iterable[Item], workers: int = 2) -> Iterator[Result]:
    """Yield `function(item)` for each of `items`, in order, computed by `workers` threads.

    `items` is read in the calling thread, at most `workers` items before their results are taken. An error of
    `function` is raised where its result would come.
    """
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, "adwarm-map") as pool:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
