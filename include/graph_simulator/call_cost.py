"""What a call costs the platform, and the sums of a rolling hour."""

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class CallCost:
    """What a call takes: `calls` of the count, computing and answering time in milliseconds."""

    calls: int = 1
    cpu_ms: int = 0
    wall_ms: int = 0

    def __add__(self, other: "CallCost") -> "CallCost":
        return CallCost(self.calls + other.calls, self.cpu_ms + other.cpu_ms, self.wall_ms + other.wall_ms)

    def __sub__(self, other: "CallCost") -> "CallCost":
        return CallCost(self.calls - other.calls, self.cpu_ms - other.cpu_ms, self.wall_ms - other.wall_ms)


NOTHING = CallCost(calls=0)
LIGHT = CallCost(calls=1, cpu_ms=5, wall_ms=30)


def cost_of_cells(cells: int) -> CallCost:
    """Return the cost of computing so many cells (rows times fields): a floor, and a part that grows with them."""
    return CallCost(1, 20 + cells // 50, 100 + cells // 12)


class RollingWindow:
    """Sums of what was spent in the last `length`; sums are exact, whatever was added and dropped before."""

    def __init__(self, length: timedelta = HOUR) -> None:
        self._length = length
        self._spent: deque[tuple[datetime, CallCost]] = deque()
        self._sum = NOTHING

    def add(self, now: datetime, cost: CallCost) -> None:
        """Spend `cost` now."""
        self._spent.append((now, cost))
        self._sum += cost

    def total(self, now: datetime) -> CallCost:
        """Return what was spent in the window that ends now; a clock set back forgets what it passed."""
        while self._spent and not now - self._length < self._spent[0][0] <= now:
            self._sum -= self._spent.popleft()[1]
        return self._sum

    def below(self, now: datetime, limits: CallCost) -> datetime:
        """Return the first moment from now on at which every sum is under its limit, if nothing more is spent."""
        left = self.total(now)
        moment = now
        for at, cost in self._spent:
            if is_under(left, limits):
                break
            left -= cost
            moment = at + self._length
        return moment


def is_under(spent: CallCost, limits: CallCost) -> bool:
    """Whether every part of `spent` is under its limit."""
    return spent.calls < limits.calls and spent.cpu_ms < limits.cpu_ms and spent.wall_ms < limits.wall_ms


def percents(spent: CallCost, limits: CallCost) -> tuple[float, float, float]:
    """Return calls, computing and answering time as percentages of their limits; over 100 when overspent."""
    pairs = ((spent.calls, limits.calls), (spent.cpu_ms, limits.cpu_ms), (spent.wall_ms, limits.wall_ms))
    calls, cpu, wall = (100 * used / limit for used, limit in pairs)
    return calls, cpu, wall
