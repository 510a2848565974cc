"""Time as a value that is handed in, so that replays, tests and the demo can choose it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

MAX_SECONDS_AHEAD = 366 * 86_400.0


class Clock(Protocol):
    """Tells the time and lets it pass. All moments are aware and in UTC."""

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Block the calling thread for `seconds`."""
        time.sleep(max(0.0, seconds))


@dataclass
class AnchoredClock:
    """A clock that read `anchor` when it was made and has run at the machine's pace since."""

    anchor: datetime
    monotonic: Callable[[], float] = time.monotonic
    _started: float = field(init=False)

    def __post_init__(self) -> None:
        self.anchor = utc(self.anchor)
        self._started = self.monotonic()

    def now(self) -> datetime:
        """Return the anchor plus the time passed since this clock was made."""
        return self.anchor + timedelta(seconds=self.monotonic() - self._started)

    def sleep(self, seconds: float) -> None:
        """Block the calling thread for `seconds`."""
        time.sleep(max(0.0, seconds))


@dataclass(frozen=True)
class FrozenClock:
    """A clock that always reads `moment`, while waits stay real.

    A run that acts as of another moment uses it, so that equal inputs give equal results however long the run takes.
    """

    moment: datetime

    def now(self) -> datetime:
        """Return the moment in UTC."""
        return utc(self.moment)

    def sleep(self, seconds: float) -> None:
        """Block the calling thread for `seconds`."""
        time.sleep(max(0.0, seconds))


@dataclass
class VirtualClock:
    """A clock that moves only when told to; `sleep` moves it at once."""

    moment: datetime

    def __post_init__(self) -> None:
        self.moment = utc(self.moment)

    def now(self) -> datetime:
        """Return the moment the clock stands at."""
        return self.moment

    def sleep(self, seconds: float) -> None:
        """Advance by `seconds` without waiting."""
        self.moment += timedelta(seconds=max(0.0, seconds))

    def set(self, moment: datetime) -> None:
        """Move to `moment`, forwards or backwards."""
        self.moment = utc(moment)


def utc(moment: datetime) -> datetime:
    """Return `moment` in UTC; a naive moment is taken to be UTC already."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def add_seconds(moment: datetime, seconds: float) -> datetime:
    """Return `moment` plus `seconds`, a year later at the most: numbers from outside may be beyond what a date can say.

    Less than 0, and what is no number, counts as 0.
    """
    return moment + timedelta(seconds=min(seconds, MAX_SECONDS_AHEAD) if seconds > 0 else 0.0)


def floor_to(moment: datetime, step: timedelta) -> datetime:
    """Return the last multiple of `step` since the epoch that is not after `moment` (UTC)."""
    seconds = step.total_seconds()
    return datetime.fromtimestamp(moment.timestamp() // seconds * seconds, UTC)
