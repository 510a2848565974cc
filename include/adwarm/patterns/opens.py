"""Opens of a log as sorted arrays with numbered keys, for training and replay, and the definition of a first open.

Keys are numbered in the order of their first open, and keep the zone of that open. A log that is truncated at a moment
therefore gives the same numbers as the whole log, and `before` reveals nothing of what comes later, not even that a key
will exist.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from adwarm.foundation.arrow_arrays import Bools, Codes, Ints, Micros, Strings, to_bool_array, to_numpy
from adwarm.model import FIRST_OPEN_QUIET, Actor, ReportKey

if TYPE_CHECKING:
    import pandas as pd

_QUIET_MICROS = FIRST_OPEN_QUIET // timedelta(microseconds=1)
_HUMAN_ACTORS = frozenset(str(actor) for actor in Actor if actor.is_human)
KEY_COLUMNS = ["account_id", "date_range", "report"]


@dataclass(frozen=True)
class Opens:
    """Arrays over opens, sorted by time, and arrays over keys.

    Attributes:
        ts: microseconds since 1970, UTC, ascending.
        key: number of the key, 0 to `keys` - 1, in the order of first opens.
        first: whether it is a first open; see `FIRST_OPEN_QUIET`.
        account_id: per key.
        date_range: per key.
        report: per key.
        zone: per key, the reader's IANA zone.
        account: per key, number of its account, in the order of first opens.
        first_ts: per key, its first open, microseconds.
        holiday_countries: by account id, the country of its readers' holidays where their zone does not say it.
    """

    ts: Micros
    key: Codes
    first: Bools
    account_id: Strings
    date_range: Strings
    report: Strings
    zone: Strings
    account: Codes
    first_ts: Micros
    holiday_countries: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ts)

    @property
    def key_count(self) -> int:
        """How many keys there are."""
        return len(self.first_ts)

    def report_key(self, key: int) -> ReportKey:
        """Return the report key with the number `key`."""
        return ReportKey(str(self.account_id[key]), str(self.date_range[key]), str(self.report[key]))

    def before(self, moment: int) -> "Opens":
        """Return the opens strictly before `moment` (microseconds) and their keys; arrays are views."""
        rows = int(np.searchsorted(self.ts, moment, "left"))
        keys = int(np.searchsorted(self.first_ts, moment, "left"))
        return Opens(
            ts=self.ts[:rows],
            key=self.key[:rows],
            first=self.first[:rows],
            account_id=self.account_id[:keys],
            date_range=self.date_range[:keys],
            report=self.report[:keys],
            zone=self.zone[:keys],
            account=self.account[:keys],
            first_ts=self.first_ts[:keys],
            holiday_countries=self.holiday_countries,
        )

    def since(self, moment: int) -> "Opens":
        """Return the opens at or after `moment` (microseconds); all keys keep their numbers."""
        rows = int(np.searchsorted(self.ts, moment, "left"))
        return replace(self, ts=self.ts[rows:], key=self.key[rows:], first=self.first[rows:])

    def only_first(self) -> "Opens":
        """Return the first opens; all keys keep their numbers."""
        return replace(self, ts=self.ts[self.first], key=self.key[self.first], first=self.first[self.first])

    def select_keys(self, keys: Ints) -> "Opens":
        """Return the opens of `keys` (numbers, ascending); keys and accounts are renumbered."""
        number = np.full(self.key_count, -1, np.int32)
        number[keys] = np.arange(len(keys), dtype=np.int32)
        rows = np.flatnonzero(number[self.key] >= 0)
        return Opens(
            ts=self.ts[rows],
            key=number[self.key[rows]],
            first=self.first[rows],
            account_id=self.account_id[keys],
            date_range=self.date_range[keys],
            report=self.report[keys],
            zone=self.zone[keys],
            account=factorize(self.account[keys]),
            first_ts=self.first_ts[keys],
            holiday_countries=self.holiday_countries,
        )

    def opened_keys(self) -> Ints:
        """Return the numbers of the keys that have an open, ascending."""
        return np.unique(self.key).astype(np.int64)

    def equals(self, other: "Opens") -> bool:
        """Return whether both hold the same opens of the same keys."""
        names = [each.name for each in fields(self) if each.name != "holiday_countries"]
        return self.holiday_countries == other.holiday_countries and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in names
        )

    def to_frame(self) -> "pd.DataFrame":
        """Return account_id, date_range, report, time_zone and ts (UTC), one row per open."""
        import pandas as pd

        columns = {"account_id": self.account_id, "date_range": self.date_range, "report": self.report}
        frame = pd.DataFrame({name: values[self.key] for name, values in columns.items()})
        return frame.assign(time_zone=self.zone[self.key], ts=pd.to_datetime(self.ts, unit="us", utc=True))


def opens_from_frame(frame: "pd.DataFrame", default_zone: str = "UTC") -> Opens:
    """Return the opens of `frame`: columns account_id, date_range, ts (UTC) and, optionally, report and time_zone."""
    frame = frame.assign(
        report=frame.get("report", "default"),
        time_zone=frame.get("time_zone", default_zone),
    )
    micros = frame["ts"].dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64)
    frame = frame.assign(micros=micros).sort_values(["micros", *KEY_COLUMNS], kind="stable", ignore_index=True)
    ts: Micros = frame["micros"].to_numpy(np.int64)
    key = np.asarray(frame.groupby(KEY_COLUMNS, sort=False, observed=True).ngroup(), np.int32)
    _, at = np.unique(key, return_index=True)
    names = {name: frame[name].iloc[at].astype(object).to_numpy() for name in [*KEY_COLUMNS, "time_zone"]}
    zones = np.array([zone or default_zone for zone in names["time_zone"]], dtype=object)
    account = factorize(names["account_id"])
    order = np.lexsort((ts, key))
    first = np.empty(len(ts), np.bool_)
    first[order] = first_open_mask(key[order], ts[order], ts[order])
    return Opens(
        ts=ts,
        key=key,
        first=first,
        account_id=names["account_id"],
        date_range=names["date_range"],
        report=names["report"],
        zone=zones,
        account=account,
        first_ts=ts[at],
    )


def factorize(values: npt.NDArray[Any]) -> Codes:
    """Return the values as numbers, in the order of their first appearance."""
    import pandas as pd

    return np.asarray(pd.factorize(values)[0], np.int32)


def first_open_mask(key: npt.NDArray[Any], opened: Micros, last_opened: Micros) -> Bools:
    """Return which opens are first opens: those with `FIRST_OPEN_QUIET` since the key's previous open, and its first.

    Args:
        key: number of the key of each row; rows are sorted by key, then by `opened`.
        opened: microseconds of the open, or of the first of a group of opens no two of which are that far apart.
        last_opened: microseconds of the key's latest open up to and including this row.
    """
    first = np.ones(len(key), np.bool_)
    first[1:] = (key[1:] != key[:-1]) | (opened[1:] - last_opened[:-1] >= _QUIET_MICROS)
    return first


def keep_human_events(events: pa.RecordBatch) -> pa.RecordBatch:
    """Return the events whose actor is human; those of programs neither train a forecast nor count in its score."""
    actors = events.column("actor")
    is_human = np.array([actor in _HUMAN_ACTORS for actor in actors.dictionary.to_pylist()], np.bool_)
    if is_human.all():
        return events
    keep = is_human[to_numpy(actors.indices)]
    return events if keep.all() else events.filter(to_bool_array(keep))
