"""Runs a function over many items at once, in order, with bounded memory: it hides the latency of object storage."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ordered(function: Callable[[Item], Result], items: Iterable[Item], width: int) -> Iterator[Result]:
    """Yield the result of each item, in order; up to `width` of them are computed at once, in threads.

    With a width of 1, or for a single item, the function runs in this thread, when its result is asked for. An error
    is raised where its result would have been; what has not started by then never does.

    Args:
        function: called once for each item; must be safe to call from several threads.
        items: read in this thread, `width` items ahead.
        width: maximum calls at once; one result more may be in memory.
    """
    iterator = iter(items)
    first = list(islice(iterator, 2))
    if width <= 1 or len(first) < 2:
        yield from map(function, chain(first, iterator))
        return
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(width, "adwarm-parallel") as pool:
        try:
            for item in chain(first, iterator):
                pending.append(pool.submit(function, item))
                if len(pending) > width:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
