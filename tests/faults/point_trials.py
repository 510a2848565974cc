"""Kills a small batch at each of its points in turn, in two homes at the same time."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from sqlalchemy import Engine

from adwarm.store import open_engine, upgrade
from tests.faults.batch_home import BATCH, BatchHome, Damage
from tests.support.crash_points import CrashPoints, PointKind
from tests.support.fork_server import ForkServer

COUNT_RUNS = 3
_PASSED_BY_ANY_RUN = 0.8
"""Share of the points of one run that each other run passes too."""
_ATTEMPTS = 2
"""Runs that may end before a point, because their threads interleaved otherwise, until it counts as missed."""
_MISSES_AT_THE_END = 2
"""The points are over when so many in a row were missed."""


@dataclass
class PointTrials:
    """What happened at the points of a batch.

    Attributes:
        names: the points of an undisturbed run, by name.
        trials: points at which a run was to die.
        kills: points at which one did.
        damaged: what was lost or doubled, by number of the point.
        recovered: the longest time from a kill until the batch was complete, in seconds.
    """

    names: Counter[str]
    trials: int = 0
    kills: int = 0
    damaged: dict[int, Damage] = field(default_factory=dict)
    recovered: float = 0.0


def make_urls(engine: Engine, folder: Path, number: int) -> list[str]:
    """Return the URLs of `number` databases of the engine's kind, with the schema."""
    urls = [f"sqlite:///{folder}/{index}.db" for index in range(number)]
    if engine.dialect.name == "postgresql":
        names = [f"points_{index}" for index in range(number)]
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for name in names:
                connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
        urls = [engine.url.set(database=name).render_as_string(hide_password=False) for name in names]
    for url in urls:
        upgrade(open_engine(url))
    return urls


def make_homes(engine: Engine, folder: Path, platform: str) -> list[BatchHome]:
    """Return two homes, each with a database of its own."""
    return [
        BatchHome(folder / str(index), platform, url) for index, url in enumerate(make_urls(engine, folder, number=2))
    ]


@dataclass
class PointWalk:
    """Kills the batch of each home at the points of one list, which the homes share.

    Attributes:
        kind: what the points are.
        prepare: empties a home and stores its plan.
        most: how many points to try, spread over the batch; None for each of them.
    """

    server: ForkServer
    kind: PointKind
    prepare: Callable[[BatchHome], None]
    most: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _misses: int = 0

    def run(self, homes: Sequence[BatchHome]) -> PointTrials:
        """Kill each home's batch at point after point, complete it each time, and return what happened."""
        counts = []
        for _ in range(COUNT_RUNS if self.most is None else 1):
            self.prepare(homes[0])
            points = self._points(homes[0])
            counts.append(points.count())
        result, numbers = PointTrials(points.names), self._list_numbers(min(counts))

        def work(home: BatchHome) -> None:
            while True:
                with self._lock:
                    number = next(numbers, None)
                if number is None:
                    return
                self._try(home, number, result)

        with ThreadPoolExecutor(len(homes)) as pool:
            for future in [pool.submit(work, home) for home in homes]:
                future.result()
        for home in homes:
            home.close()
        return result

    def _points(self, home: BatchHome) -> CrashPoints:
        return CrashPoints(self.server, BATCH, kind=self.kind, environment=home.environment)

    def _list_numbers(self, fewest: int) -> Iterator[int]:
        """Yield the numbers of the points; beyond what each run passes, as long as runs still die there."""
        if self.most is not None:
            sure = int(_PASSED_BY_ANY_RUN * fewest)
            yield from range(1, sure, -(-sure // self.most))
            return
        for number in count(1):
            if self._misses >= _MISSES_AT_THE_END and number > fewest:
                return
            yield number

    def _try(self, home: BatchHome, number: int, result: PointTrials) -> None:
        died = False
        for _ in range(_ATTEMPTS):
            self.prepare(home)
            if died := self._points(home).kill_at(number):
                break
        at = time.monotonic()
        before = home.list_published()
        home.complete(self.server)
        damage, seconds = home.check(before), time.monotonic() - at
        with self._lock:
            result.trials += 1
            result.kills += died
            self._misses = 0 if died else self._misses + 1
            result.recovered = max(result.recovered, seconds)
            if damage.lost or damage.duplicated:
                result.damaged[number] = damage
