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
from adwarm.testing import CrashPoints, ForkServer, PointKind
from tests.faults.batch_home import BATCH, BatchHome, Damage

COUNT_RUNS = 3
_PASSED_BY_ANY_RUN = 0.8
"""Share of the points of one run that each other run passes too."""
_MISSES_AT_THE_END = 4
"""The points are over when so many runs in a row ended before the point at which they should die."""


@dataclass
class PointTrials:
    """What happened at the points of a batch.

    Attributes:
        names: the points of an undisturbed run, by name.
        trials: runs that were to die.
        kills: runs that did.
        damaged: what was lost or doubled, by number of the point.
        recovered: the longest time from a kill until the batch was complete, in seconds.
    """

    names: Counter[str]
    trials: int = 0
    kills: int = 0
    damaged: dict[int, Damage] = field(default_factory=dict)
    recovered: float = 0.0


def make_urls(engine: Engine, folder: Path, number: int) -> list[str]:
    """Return the URLs of `number` databases of the engine's kind."""
    if engine.dialect.name == "sqlite":
        return [f"sqlite:///{folder}/{index}.db" for index in range(number)]
    urls = []
    for index in range(number):
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS points_{index} WITH (FORCE)")
            connection.exec_driver_sql(f"CREATE DATABASE points_{index}")
        urls.append(engine.url.set(database=f"points_{index}").render_as_string(hide_password=False))
        upgrade(open_engine(urls[-1]))
    return urls


def make_homes(engine: Engine, folder: Path, platform: str) -> list[BatchHome]:
    """Return two homes, each with a database of its own."""
    return [
        BatchHome(folder / str(index), platform, url) for index, url in enumerate(make_urls(engine, folder, number=2))
    ]


def kill_at_each_point(
    homes: Sequence[BatchHome],
    server: ForkServer,
    kind: PointKind,
    prepare: Callable[[BatchHome], None],
    most: int | None = None,
) -> PointTrials:
    """Kill the batch of a home at each point, or at `most` points spread over it, and complete it each time."""
    lock, runs = threading.Lock(), [CrashPoints(server, BATCH, kind=kind, environment=h.environment) for h in homes]
    counts = []
    for _ in range(COUNT_RUNS if most is None else 1):
        prepare(homes[0])
        counts.append(runs[0].count())
    result, misses = PointTrials(runs[0].names), 0

    def numbers() -> Iterator[int]:
        if most is not None:
            sure = int(_PASSED_BY_ANY_RUN * counts[0])
            yield from range(1, sure, -(-sure // most))
            return
        for number in count(1):
            if misses >= _MISSES_AT_THE_END and number > min(counts):
                return
            yield number

    left = numbers()

    def work(home: BatchHome, points: CrashPoints) -> None:
        nonlocal misses
        while True:
            with lock:
                number = next(left, None)
            if number is None:
                return
            prepare(home)
            died, at = points.kill_at(number), time.monotonic()
            before = home.list_published()
            home.complete(server)
            damage, seconds = home.check(before), time.monotonic() - at
            with lock:
                result.trials += 1
                result.kills += died
                misses = 0 if died else misses + 1
                result.recovered = max(result.recovered, seconds)
                if damage.lost or damage.duplicated:
                    result.damaged[number] = damage

    with ThreadPoolExecutor(len(homes)) as pool:
        for future in [pool.submit(work, home, points) for home, points in zip(homes, runs, strict=True)]:
            future.result()
    for home in homes:
        home.close()
    return result
