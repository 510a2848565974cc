"""Fallbacks: other sources of a result, tried in order, each within its own timeout."""

import contextvars
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from adwarm.settings.recovery_sections import ANY_ERROR

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fallback(Generic[T]):
    """Another source of the result.

    Attributes:
        name: the source of the outcome, and the name under which it is isolated.
        call: returns the result, or raises (`NotFound` when the source has none).
        timeout_seconds: how long the call may take. It is abandoned then, so it must be safe to leave it running.
        as_of: returns from the result when its data was fetched; None when that is unknown.
        errors: names of the classes of errors after which it is used; `any` also before there is an error.
    """

    name: str
    call: Callable[[], T]
    timeout_seconds: float
    as_of: Callable[[T], datetime | None] | None = None
    errors: tuple[str, ...] = (ANY_ERROR,)


def call_with_timeout(call: Callable[[], T], timeout_seconds: float) -> T:
    """Return what `call` returns, in the caller's context variables.

    Raises:
        TimeoutError: it took longer than `timeout_seconds`. Its daemon thread is left to end by itself.
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
        succeeded, value = outcome.get(timeout=timeout_seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {timeout_seconds:g} s") from None
    if not succeeded and isinstance(value, BaseException):
        raise value
    return value  # type: ignore[return-value]  # the flag says which of the two it is
