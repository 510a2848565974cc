"""Clocks. Callers pass one in, so that replays, tests and the demo control the time."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

MAX_SECONDS_AHEAD = 366 * 86_400.0


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
        time.sleep(max(0.0, seconds))


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
