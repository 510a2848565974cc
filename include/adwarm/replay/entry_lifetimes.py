"""How long a fetched entry is fresh in a replay: a fixed time, or by the freshness rules of its date range."""

from datetime import datetime, timedelta
from typing import Protocol

import numpy as np

from adwarm.access_log.timestamps import from_micros, to_micros
from adwarm.foundation.arrow_arrays import Ints
from adwarm.foundation.local_time import local_day, local_midnight
from adwarm.model import Account, FreshnessRules, ReportKey, resolve_window
from adwarm.patterns.opens import Opens
from adwarm.planning.expiry import NEVER, useful_until

FOREVER = np.iinfo(np.int64).max // 4
_DAY = 86_400_000_000
_AGES = timedelta(days=3650)


class EntryLifetime(Protocol):
    """Computes until when an entry is fresh."""

    def fresh_until(self, key: Ints, fetched: Ints) -> Ints:
        """Return until when entries of `key` fetched at `fetched` are fresh; microseconds, arrays broadcast."""
        ...


class FixedLifetime:
    """Every entry is fresh for `ttl` microseconds."""

    def __init__(self, ttl: int) -> None:
        self.ttl = ttl

    def fresh_until(self, key: Ints, fetched: Ints) -> Ints:
        """Return `fetched` plus the ttl."""
        return np.asarray(fetched + self.ttl, np.int64)


class FreshnessLifetime:
    """Freshness by date range: `useful_until` in tables by date range, zone and local day.

    Args:
        opens: the keys; a key's data zone is its reader zone.
        start: first moment of the replay, microseconds since 1970.
        end: last moment.
        rules: the freshness rules; the defaults when None.
    """

    def __init__(self, opens: Opens, start: int, end: int, rules: FreshnessRules | None = None) -> None:
        self._rules = rules or FreshnessRules()
        names = [(str(r), str(z)) for r, z in zip(opens.date_range, opens.zone, strict=True)]
        kinds = sorted(set(names))
        numbers = {name: number for number, name in enumerate(kinds)}
        self._kind = np.array([numbers[name] for name in names], np.int64)
        tables = [self._table(date_range, zone_name, start, end) for date_range, zone_name in kinds]
        self._midnights = [table[0] for table in tables]
        self._max_age = [table[1] for table in tables]
        self._change = [table[2] for table in tables]

    def fresh_until(self, key: Ints, fetched: Ints) -> Ints:
        """Return when entries stop being the answer to their key; see `EntryLifetime`."""
        keys, moments = np.broadcast_arrays(key, fetched)
        kinds = self._kind[keys]
        fresh_until = np.empty(keys.shape, np.int64)
        for kind in np.unique(kinds).tolist():
            rows = kinds == kind
            at = moments[rows]
            day = np.searchsorted(self._midnights[kind], at, "right") - 1
            fresh_until[rows] = np.minimum(at + self._max_age[kind][day], self._change[kind][day])
        return fresh_until

    def _table(self, date_range: str, zone_name: str, start: int, end: int) -> tuple[Ints, Ints, Ints]:
        """Return, per local day: start, freshness of data fetched on it, and when the range means other days."""
        first = local_day(from_micros(start - 2 * _DAY), zone_name)
        days = [first + timedelta(days=n) for n in range((end - start) // _DAY + 6)]
        midnights = [local_midnight(day, zone_name) for day in days]
        account, key = Account("act_0", zone_name, zone_name, currency=""), ReportKey("act_0", date_range)
        return (
            np.array([to_micros(moment) for moment in midnights], np.int64),
            np.array([self._max_age_on(key, account, moment) for moment in midnights], np.int64),
            np.array([self._change_after(key, account, moment) for moment in midnights], np.int64),
        )

    def _max_age_on(self, key: ReportKey, account: Account, moment: datetime) -> int:
        window = resolve_window(key.date_range, account.data_zone, moment)
        max_age = self._rules.max_age((local_day(moment, account.data_zone) - window.until).days)
        return FOREVER if max_age is None else max_age // timedelta(microseconds=1)

    def _change_after(self, key: ReportKey, account: Account, midnight: datetime) -> int:
        """Return when the range means other days, seen from `midnight`: the end of an entry at the latest."""
        lasting = FreshnessRules(_AGES, _AGES, _AGES, _AGES, self._rules.settle_days)
        change = useful_until(key, account, midnight, lasting)
        return FOREVER if change == NEVER or change - midnight > timedelta(days=3000) else to_micros(change)
