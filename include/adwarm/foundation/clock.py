"""Clocks, which callers pass in, and the time that a piece of work may take in total, with its calls, waits and polls.

Whoever starts the work enters a `TimeLimit` by `limited`. What waits inside it waits for `seconds_left` at most, and
`adwarm.backpressure.acquire_grant`, which every upstream call passes, starts no call once a limit is reached. Limits
nest, and the nearest end counts. They hold in the thread that entered them, and in copies of its context.

A wait for the database, for a connection, a lock or the SQLite file, is bounded by them as well:

| the wait                                         | lasts at most                                                  |
|--------------------------------------------------|----------------------------------------------------------------|
| is of work without a limit                       | what the settings say                                          |
| is of work with one                              | also what is left of it, but never less than `SHORT_SECONDS`   |
| is of a command in which one timed out before    | `SHORT_SECONDS`, so that a command has one long wait at most   |
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from adwarm.foundation.compute_turn import waiting
from adwarm.foundation.errors import Transient

MAX_SECONDS_AHEAD = 366 * 86_400.0
_RETRY_AFTER_SECONDS = 60.0
SHORT_SECONDS: Final = 2.0
"""What the writers ahead in a busy database take, so that work whose time is over can still store how it ended."""


class Clock(Protocol):
    """Returns the time and waits. All datetimes are aware and in UTC."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        ...


class SystemClock:
    """The system clock."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Block the calling thread for `seconds`."""
        with waiting():
            time.sleep(max(0.0, seconds))


@dataclass(frozen=True)
class FrozenClock:
    """A clock that always returns `moment`; waits are real.

    Runs as of another time use it, so that equal inputs give equal results however long a run takes.
    """

    moment: datetime

    def now(self) -> datetime:
        """Return `moment` in UTC."""
        return utc(self.moment)

    def sleep(self, seconds: float) -> None:
        """Block the calling thread for `seconds`."""
        with waiting():
            time.sleep(max(0.0, seconds))


class ShiftedClock(SystemClock):
    """The system clock, moved so that it stood at `moment` when it was made."""

    def __init__(self, moment: datetime) -> None:
        self._shift = utc(moment) - super().now()

    def now(self) -> datetime:
        """Return the moved time in UTC."""
        return super().now() + self._shift


@dataclass
class VirtualClock:
    """A clock that moves only by `sleep` and `set`; `sleep` does not wait."""

    moment: datetime

    def __post_init__(self) -> None:
        self.moment = utc(self.moment)

    def now(self) -> datetime:
        """Return the clock's time."""
        return self.moment

    def sleep(self, seconds: float) -> None:
        """Advance by `seconds` without waiting."""
        self.moment += timedelta(seconds=max(0.0, seconds))

    def set(self, moment: datetime) -> None:
        """Move to `moment`, forward or backward."""
        self.moment = utc(moment)


def utc(moment: datetime) -> datetime:
    """Return `moment` in UTC. A naive datetime is taken as UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def add_seconds(moment: datetime, seconds: float) -> datetime:
    """Return `moment` plus `seconds`, at most a year later, because external numbers may exceed the range of datetimes.

    Negative numbers and NaN count as 0.
    """
    return moment + timedelta(seconds=min(seconds, MAX_SECONDS_AHEAD) if seconds > 0 else 0.0)


def floor_to(moment: datetime, step: timedelta) -> datetime:
    """Return `moment` rounded down to a multiple of `step` since the epoch, in UTC."""
    seconds = step.total_seconds()
    return datetime.fromtimestamp(moment.timestamp() // seconds * seconds, UTC)


class TimeLimitReached(Transient):
    """The work took longer than it may; the message names the setting."""


class TimeLimit:
    """A number of seconds, which begin at once or, for a call, when its first attempt is admitted.

    Args:
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


class _Process:
    """This process: whether it is a command, which ends by itself, and whether one of its waits has timed out."""

    is_command = has_timed_out = False


def bound_wait(seconds: float) -> float:
    """Return how long a wait for the database that may take `seconds` may take here."""
    if _Process.has_timed_out:
        return min(seconds, SHORT_SECONDS)
    return min(seconds, max(SHORT_SECONDS, seconds_left()))


def bound_waits_together(*, is_command: bool = True) -> None:
    """Say whether this process is a command; a server or a worker, which goes on for days, is none."""
    _Process.is_command, _Process.has_timed_out = is_command, False


def note_timeout() -> None:
    """Note that a wait for the database has timed out."""
    _Process.has_timed_out = _Process.is_command
