"""Replays the opens of a day through the real read path, and works out what the same day would be without warming."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import NotFound
from adwarm.model import Account, ReportKey
from adwarm.planning import useful_until
from adwarm.runtime import Runtime
from adwarm.serving import ReadStatus, read_or_fetch
from dev.history import Open


@dataclass
class Tally:
    """Opens and first opens, and how many of each found a fresh answer."""

    opens: int = 0
    hits: int = 0
    first_opens: int = 0
    first_hits: int = 0
    unanswered: list[str] = field(default_factory=list)

    def add(self, item: Open, *, hit: bool) -> None:
        """Count one open."""
        self.opens += 1
        self.hits += hit
        self.first_opens += item.first
        self.first_hits += item.first and hit

    @property
    def ratio(self) -> float:
        """First-open hit ratio."""
        return self.first_hits / self.first_opens if self.first_opens else 0.0


@dataclass
class Readers:
    """The dashboard's users: each open is read as they would, and a miss is fetched while they wait."""

    runtime: Runtime
    clock: VirtualClock
    tally: Tally = field(default_factory=Tally)

    def open_all(self, opens: Iterable[Open]) -> None:
        """Read each open at its own moment."""
        for item in opens:
            self.clock.set(item.at)
            try:
                answer = read_or_fetch(self.runtime.reader, self.runtime.prefetch_engine, item.key)
            except NotFound as error:
                self.tally.unanswered.append(str(error))
                self.tally.add(item, hit=False)
            else:
                self.tally.add(item, hit=answer.status is ReadStatus.HIT)


def without_warming(opens: Iterable[Open], zone_name: str, runtime: Runtime) -> Tally:
    """Return the tally of a cache that is filled by misses alone, under the same freshness rule."""
    fresh_until: dict[ReportKey, datetime] = {}
    tally = Tally()
    for item in opens:
        hit = item.at < fresh_until.get(item.key, item.at)
        tally.add(item, hit=hit)
        if not hit:
            account = Account(item.key.account_id, zone_name, zone_name)
            fresh_until[item.key] = useful_until(item.key, account, item.at, runtime.settings.freshness_rules)
    return tally
