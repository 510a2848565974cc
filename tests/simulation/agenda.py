"""Virtual time: runs events in order; events of equal time run in the order in which they were scheduled."""

import heapq
from collections.abc import Callable
from itertools import count

Action = Callable[[], None]


class EventScheduler:
    """Events to come. Moments are seconds since the epoch.

    Attributes:
        now: the moment of the event that is being carried out.
    """

    def __init__(self, start: float) -> None:
        self.now = start
        self._events: list[tuple[float, int, Action]] = []
        self._numbers = count()

    def time(self) -> float:
        """Return the current time; the clock of an admission."""
        return self.now

    def schedule(self, seconds: float, action: Action) -> None:
        """Run `action` in `seconds`."""
        heapq.heappush(self._events, (self.now + max(0.0, seconds), next(self._numbers), action))

    def run(self, until: float) -> None:
        """Run every event up to `until`, and set the time to it."""
        events = self._events
        while events and events[0][0] <= until:
            self.now, _, action = heapq.heappop(events)
            action()
        self.now = until
