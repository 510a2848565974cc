"""Falling back: other places to get the answer from, tried in order, each within its own time."""

import contextvars
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fallback(Generic[T]):
    """Another place to get the answer from.

    Attributes:
        name: said in the answer, and what isolation is kept under.
        call: returns the answer, or raises (`NotFound` when the place has none).
        timeout_seconds: how long it may take; the call is abandoned then, so it must be harmless to leave it running.
        as_of: tells from the answer when its data was fetched.
    """

    name: str
    call: Callable[[], T]
    timeout_seconds: float
    as_of: Callable[[T], datetime | None] | None = None


def call_with_timeout(call: Callable[[], T], timeout_seconds: float) -> T:
    """Return what `call` returns, in the caller's context variables.

    Raises:
        TimeoutError: it took longer than `timeout_seconds`. Its thread is left to end by itself; no exit waits for it.
    """
    outcome: queue.SimpleQueue[tuple[bool, T | BaseException]] = queue.SimpleQueue()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            outcome.put((True, context.run(call)))
        except BaseException as error:  # handed to the caller's thread, whatever it is
            outcome.put((False, error))

    threading.Thread(target=work, name="adwarm-fallback", daemon=True).start()
    try:
        went_well, value = outcome.get(timeout=timeout_seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {timeout_seconds:g} s") from None
    if not went_well and isinstance(value, BaseException):
        raise value
    return value  # type: ignore[return-value]  # the flag says which of the two it is
