"""The cost of a call, and sums of costs over a rolling time window."""

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class CallCost:
    """What a call counts against limits: number of calls, CPU time and wall time in milliseconds."""

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
    """Return the cost of computing `cells` cells (rows times fields): a fixed part plus a part per cell."""
    return CallCost(1, 20 + cells // 50, 100 + cells // 12)


class RollingWindow:
    """Sums costs over the last `length`. Costs are integers, so adding and dropping entries never drifts."""

    def __init__(self, length: timedelta = HOUR) -> None:
        self._length = length
        self._entries: deque[tuple[datetime, CallCost]] = deque()
        self._sum = NOTHING

    def add(self, now: datetime, cost: CallCost) -> None:
        """Add `cost` at `now`."""
        self._entries.append((now, cost))
        self._sum += cost

    def total(self, now: datetime) -> CallCost:
        """Return the sum over the window that ends at `now`. Entries later than `now` are dropped."""
        # Entries can lie in the future only after the clock was set back; they must not count until they come again.
        while self._entries and not now - self._length < self._entries[0][0] <= now:
            self._sum -= self._entries.popleft()[1]
        return self._sum

    def below(self, now: datetime, limits: CallCost) -> datetime:
        """Return the first moment from `now` on at which all sums are under `limits` if nothing is added."""
        remaining = self.total(now)
        moment = now
        for added_at, cost in self._entries:
            if is_under(remaining, limits):
                break
            remaining -= cost
            moment = added_at + self._length
        return moment


def is_under(spent: CallCost, limits: CallCost) -> bool:
    """Whether each part of `spent` is under its limit."""
    return spent.calls < limits.calls and spent.cpu_ms < limits.cpu_ms and spent.wall_ms < limits.wall_ms


def percents(spent: CallCost, limits: CallCost) -> tuple[float, float, float]:
    """Return calls, CPU time and wall time as percentages of their limits; they may exceed 100."""
    pairs = ((spent.calls, limits.calls), (spent.cpu_ms, limits.cpu_ms), (spent.wall_ms, limits.wall_ms))
    calls, cpu, wall = (100 * used / limit for used, limit in pairs)
    return calls, cpu, wall
