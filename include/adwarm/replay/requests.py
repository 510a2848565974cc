"""Counts upstream requests instead of fetched keys: what the fetch planner would send, with the days it already holds.

Keys of an account that are fetched at the same moment share one span of days, if any of their days is not fresh, and
one request for their range summaries, if any of them is longer than a day.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from functools import lru_cache

import numpy as np

from adwarm.access_log.moments import from_micros
from adwarm.model import FreshnessRules, local_day, resolve_window
from adwarm.patterns.opens import Opens
from adwarm.replay.cache import WEEK, Counts, Tally
from adwarm.replay.lives import FOREVER
from adwarm.replay.stretch import Stretch

_QUARTER = 900_000_000
_TICK = timedelta(microseconds=1)

Span = tuple[int, int]
"""First and last day, as ordinals."""


class DayShelf:
    """The days that are held of one account: until when each is fresh."""

    def __init__(self, rules: FreshnessRules) -> None:
        self._rules = rules
        self._fresh: dict[int, int] = {}

    def requests(self, spans: Iterable[Span], today: int, now: int) -> int:
        """Fetch `spans` at `now` (microseconds) and return how many requests that takes."""
        wanted = set(spans)
        held = self._fresh
        stale = {
            day for since, until in wanted for day in range(since, min(until, today) + 1) if held.get(day, 0) <= now
        }
        if stale:
            held.update((day, self._until(today - day, now)) for day in range(min(stale), max(stale) + 1))
        return bool(stale) + any(until > since for since, until in wanted)

    def _until(self, age: int, now: int) -> int:
        life = _life(self._rules, age)
        return FOREVER if life is None else now + life


class RequestCount:
    """Counts the requests of a tally whose fetches were all recorded."""

    def __init__(self, opens: Opens, rules: FreshnessRules) -> None:
        self._opens, self._rules = opens, rules

    def __call__(self, tally: Tally, stretch: Stretch) -> Counts:
        """Return the requests, cells x columns."""
        found: Counts = np.zeros(tally.warms.shape, np.int32)
        weeks = int(-(-(stretch.end - stretch.start) // WEEK))
        shelves: dict[tuple[int, int], DayShelf] = defaultdict(lambda: DayShelf(self._rules))
        for column, account, at, keys in self._groups(tally):
            zone = str(self._opens.zone[keys[0]])
            today = _today(zone, at // _QUARTER)
            spans = [_span(str(self._opens.date_range[key]), zone, at // _QUARTER) for key in keys]
            cell = account * weeks + min((at - stretch.start) // WEEK, weeks - 1)
            found[cell, column] += shelves[column, account].requests(spans, today, at)
        return found

    def _groups(self, tally: Tally) -> Iterable[tuple[int, int, int, list[int]]]:
        """Yield column, account, moment and keys of what is fetched together, in the order of time."""
        if not tally.fetches:
            return
        column, key, at = (
            np.concatenate([getattr(batch, name) for batch in tally.fetches]) for name in ("column", "key", "at")
        )
        account = self._opens.account[key]
        order = np.lexsort((key, account, at, column))
        column, key, at, account = column[order], key[order], at[order], account[order]
        new = np.ones(len(key), bool)
        new[1:] = (np.diff(column) != 0) | (np.diff(at) != 0) | (np.diff(account) != 0)
        starts = np.flatnonzero(new)
        ends = [*starts[1:].tolist(), len(key)]
        keys = key.tolist()
        heads = zip(column[starts].tolist(), account[starts].tolist(), at[starts].tolist(), strict=True)
        for (col, acc, moment), start, end in zip(heads, starts.tolist(), ends, strict=True):
            yield col, acc, moment, keys[start:end]


@lru_cache(maxsize=64)
def _life(rules: FreshnessRules, age: int) -> int | None:
    life = rules.life(age)
    return None if life is None else life // _TICK


@lru_cache(maxsize=65_536)
def _today(zone: str, quarter: int) -> int:
    return local_day(from_micros(quarter * _QUARTER), zone).toordinal()


@lru_cache(maxsize=262_144)
def _span(date_range: str, zone: str, quarter: int) -> Span:
    window = resolve_window(date_range, zone, from_micros(quarter * _QUARTER))
    return window.since.toordinal(), window.until.toordinal()
