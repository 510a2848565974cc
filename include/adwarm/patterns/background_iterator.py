"""Lets a thread work ahead of its reader: Arrow and numpy leave the interpreter's lock, so two cores share the work."""

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
class _Made(Generic[Item]):
    item: Item


def iterate_in_background(source: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """Yield what `source` yields, at most `depth` items made before they are asked for.

    An error of `source` is raised here, after the items before it. When the reader stops early, so does the thread.
    """
    made: queue.Queue[_Made[Item] | _End] = queue.Queue(depth)
    stopped = threading.Event()
    worker = threading.Thread(target=_work, args=(source, made, stopped), name="adwarm-ahead", daemon=True)
    worker.start()
    try:
        while isinstance(found := made.get(), _Made):
            yield found.item
        if found.error is not None:
            raise found.error
    finally:
        stopped.set()
        worker.join()


def _work(source: Iterable[Item], made: "queue.Queue[_Made[Item] | _End]", stopped: threading.Event) -> None:
    error: BaseException | None = None
    try:
        for item in source:
            if not _handed_over(_Made(item), made, stopped):
                return
    except BaseException as raised:
        error = raised
    _handed_over(_End(error), made, stopped)


def _handed_over(
    thing: "_Made[Item] | _End", made: "queue.Queue[_Made[Item] | _End]", stopped: threading.Event
) -> bool:
    while not stopped.is_set():
        try:
            made.put(thing, timeout=_POLL_SECONDS)
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
