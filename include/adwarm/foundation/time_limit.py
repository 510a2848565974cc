"""The time that a piece of work may take in total: its calls, retries, waits, pages and polls together.

Whoever starts the work enters a `TimeLimit` by `limited`. What waits inside it waits for `seconds_left` at most, and
`adwarm.backpressure.acquire_grant`, which every upstream call passes, starts no call once a limit is reached. Limits
nest, and the nearest end counts. They hold in the thread that entered them, and in copies of its context.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from adwarm.foundation.errors import Transient

_RETRY_AFTER_SECONDS = 60.0


class TimeLimitReached(Transient):
    """The work took longer than it may; the message names the setting."""


class TimeLimit:
    """A number of seconds, which begin at once or, for a call, when its first attempt is admitted.

    Args:
        seconds: how long the work may take.
        subject: what takes the time, such as "the account".
        setting: the setting to change, for the error; empty when there is none.
        waits_for_call: whether the time begins with `start` instead of at once.
        monotonic: a clock in seconds that never goes back.
    """

    def __init__(
        self,
        seconds: float,
        subject: str,
        setting: str = "",
        *,
        waits_for_call: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds, self._subject, self._setting = seconds, subject, setting
        self._monotonic = monotonic
        self._end = math.inf if waits_for_call else monotonic() + seconds

    @property
    def seconds_left(self) -> float:
        """The seconds that are left; infinite before the time has begun."""
        return self._end - self._monotonic()

    def start(self) -> None:
        """Begin, unless the time has begun already."""
        if self._end == math.inf:
            self._end = self._monotonic() + self._seconds

    def extend(self, seconds: float) -> None:
        """Do not count `seconds`, in which the work had to wait for other work of its own process."""
        self._end += seconds

    def check(self) -> None:
        """Check that there is time left.

        Raises:
            TimeLimitReached: there is none.
        """
        if self.seconds_left <= 0:
            message = f"{self._subject} took longer than {self._seconds:g} s"
            advice = f" ({self._setting})" if self._setting else ""
            raise TimeLimitReached(message + advice, retry_after=_RETRY_AFTER_SECONDS)


_limits: ContextVar[tuple[TimeLimit, ...]] = ContextVar("adwarm_time_limits", default=())


@contextmanager
def limited(*limits: TimeLimit) -> Iterator[None]:
    """Let `limits` hold for the block, beside those that hold already."""
    token = _limits.set((*_limits.get(), *limits))
    try:
        yield
    finally:
        _limits.reset(token)


def seconds_left() -> float:
    """Return the seconds until the nearest end of the limits that hold here; infinite without one."""
    return min((limit.seconds_left for limit in _limits.get()), default=math.inf)


def start_limits() -> None:
    """Begin the limits that wait for a call."""
    for limit in _limits.get():
        limit.start()


def check_limits() -> None:
    """Check that every limit leaves some time.

    Raises:
        TimeLimitReached: one does not.
    """
    for limit in _limits.get():
        limit.check()
