"""The hour-of-week forecast: each key's own weekly rhythm, leaning on its account's, which leans on everybody's.

A key's chance in an hour is its opens there per week watched, both fading with age, pulled towards what its account's
profile and its own overall level suggest. The pull is worth a fixed number of weeks, so regular keys speak for
themselves and new or rare ones get small, honest numbers.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from adwarm.forecast.protocol import KEY_COLUMNS, PROBABILITY_COLUMNS, RecentOpens
from adwarm.forecast.stored_form import decode_observations, encode_observations
from adwarm.forecast.training.observations import Observations, PriorStrengths
from adwarm.foundation.arrow_arrays import Floats, Ints, Ints32
from adwarm.foundation.local_time import WEEK_HOURS, LocalSlot, local_slots

KIND = "hour_of_week"
VERSION = "1"
FEATURES = ["hour of the reader's week", "level of the key", "profile of the account", "profile of the population"]
FLOOR = 0.005


@dataclass(frozen=True)
class SeasonalForecast:
    """A trained hour-of-week model; see `adwarm.forecast.protocol.Forecast`."""

    observations: Observations
    kind: str = field(default=KIND, init=False)
    version: str = field(default=VERSION, init=False)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the model whose stored form is `data`.

        Raises:
            Corrupt: `data` is not a stored forecast of this version.
        """
        return cls(decode_observations(data, cls.kind, cls.version))

    def to_bytes(self) -> bytes:
        """Return the stored form, a Parquet file."""
        return encode_observations(self.observations, self.kind, self.version)

    @property
    def trained_from(self) -> datetime:
        """Start of the observed time, UTC."""
        return self.observations.trained_from

    @property
    def trained_until(self) -> datetime:
        """End of the observed time, UTC."""
        return self.observations.trained_until

    @property
    def features(self) -> list[str]:
        """What the model looks at, in words."""
        return list(FEATURES)

    @property
    def keys(self) -> pd.DataFrame:
        """The keys it knows: account_id, date_range, report, time_zone."""
        return self.observations.keys

    @cached_property
    def id(self) -> str:
        """SHA-256 in hex of everything the model learned."""
        return fingerprint(self.observations)

    @cached_property
    def _learned(self) -> "_Learned":
        return _Learned.of(self.observations)

    def rates(self, hour: int, rows: npt.NDArray[Any] | None = None) -> Floats:
        """Return the chance of a first open in a whole hour of the week, for all keys or those at `rows`."""
        chance = self._learned.chance(hour)
        return chance if rows is None else chance[rows]

    def population(self, hour: int) -> float:
        """Return the chance of an average key in an hour of the week."""
        return float(self._learned.population[hour])

    @property
    def lookback(self) -> timedelta:
        """It goes by what it learned alone."""
        return timedelta(0)

    def predict(
        self, start: datetime, horizon: timedelta, recent: RecentOpens | None = None, *, floor: float = FLOOR
    ) -> pd.DataFrame:
        """Return the chance of a first open per key and reader's hour; see the protocol. `recent` is of no account."""
        del recent
        parts: list[pd.DataFrame] = []
        for name, rows in self.zones():
            for slot in local_slots(name, start, start + horizon):
                chance = self.rates(slot.hour_of_week, rows) * slot.share
                kept = chance > floor
                parts.append(self.slot_frame(slot, rows[kept], chance[kept]))
        return self.in_order(parts)

    def zones(self) -> Iterator[tuple[str, Ints]]:
        """Yield each reader zone and the places of its keys in `keys`."""
        zones = self.observations.keys["time_zone"].to_numpy(dtype=object)
        for name in sorted(set(zones)):
            yield str(name), np.flatnonzero(zones == name)

    def slot_frame(self, slot: LocalSlot, rows: Ints, chance: Floats) -> pd.DataFrame:
        """Return rows of one slot for the keys at `rows`, with a stated chance each; see the protocol."""
        opens, weeks, early = self._learned.evidence(slot.hour_of_week, rows)
        latest = (slot.end - slot.start).total_seconds() - 1.0
        seconds = np.clip(np.floor(60.0 * early - 3600.0 * slot.begins_at), 0.0, max(latest, 0.0))
        start, end = pd.Timestamp(slot.start), pd.Timestamp(slot.end)
        predicted = start.as_unit("us") + pd.to_timedelta(seconds, unit="s").as_unit("us")
        return pd.DataFrame({
            "row": rows,
            "slot_start": start.as_unit("us"),
            "slot_end": end.as_unit("us"),
            "probability": chance,
            "predicted_open": predicted,
            "opens": opens,
            "weeks": weeks,
            "hour_of_week": slot.hour_of_week,
        })

    def in_order(self, parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
        """Return slot frames as one, by key and time, with the keys' names."""
        parts = [part for part in parts if len(part)]
        if not parts:
            return _empty()
        found = pd.concat(parts, ignore_index=True).sort_values(["row", "slot_start"], ignore_index=True)
        keys = self.observations.keys.iloc[found.pop("row").to_numpy()].reset_index(drop=True)
        return keys.join(found)[PROBABILITY_COLUMNS]


@dataclass(frozen=True)
class _Learned:
    """The profiles and levels that follow from the observations."""

    seen: Observations
    clock: Floats
    account_of: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64]
    population: Floats
    accounts: npt.NDArray[np.float32]
    level: Floats

    @classmethod
    def of(cls, seen: Observations) -> "_Learned":
        """Learn the population's, then the accounts' profiles, then the level of each key."""
        accounts, account_of = np.unique(seen.keys["account_id"].to_numpy(dtype=str), return_inverse=True)
        bounds = np.searchsorted(seen.cell_hour, np.arange(WEEK_HOURS + 1))
        size, clock = len(accounts), seen.clock()
        opens, watched = np.zeros((size, WEEK_HOURS), np.float32), np.zeros((size, WEEK_HOURS), np.float32)
        for hour in range(WEEK_HOURS):
            cells = slice(bounds[hour], bounds[hour + 1])
            opens[:, hour] = np.bincount(account_of[seen.cell_key[cells]], seen.cell_weight[cells], size)
            watched[:, hour] = np.bincount(account_of, exposure(seen, clock, hour), size)
        population = _population(opens, watched, seen.strengths.account)
        profiles = _profiles(opens, watched, population, seen.strengths.account)
        draft = cls(seen, clock, account_of, bounds, population, profiles, np.ones(len(seen.keys)))
        return cls(seen, clock, account_of, bounds, population, profiles, draft._levels())

    def _levels(self) -> Floats:
        """Per key, its opens over what the account's profile would have it open."""
        seen, expected = self.seen, np.zeros(len(self.seen.keys))
        for hour in range(WEEK_HOURS):
            expected += exposure(seen, self.clock, hour) * self.accounts[self.account_of, hour]
        opens = np.bincount(seen.cell_key, seen.cell_weight, len(seen.keys))
        pull = seen.strengths.key * self.accounts.sum(axis=1, dtype=np.float64)[self.account_of]
        level: Floats = np.divide(opens + pull, expected + pull, out=np.ones_like(opens), where=expected + pull > 0)
        return level

    def chance(self, hour: int) -> Floats:
        """Per key, the chance of a first open in that whole hour."""
        seen, strength = self.seen, self.seen.strengths.key
        prior = np.minimum(self.level * self.accounts[self.account_of, hour], 1.0)
        cells = slice(self.bounds[hour], self.bounds[hour + 1])
        weight = np.zeros(len(seen.keys))
        weight[seen.cell_key[cells]] = seen.cell_weight[cells]
        chance: Floats = (weight + strength * prior) / (exposure(seen, self.clock, hour) + strength)
        return np.minimum(chance, 1.0)

    def evidence(self, hour: int, rows: npt.NDArray[Any]) -> tuple[Ints32, Ints32, Floats]:
        """Per key at `rows`: in how many weeks it was opened in that hour, of how many, and an early minute."""
        seen = self.seen
        cells = slice(self.bounds[hour], self.bounds[hour + 1])
        opens = np.zeros(len(seen.keys), np.int32)
        opens[seen.cell_key[cells]] = seen.cell_opens[cells]
        early = seen.early.copy()
        early[seen.cell_key[cells]] = seen.cell_early[cells]
        age, span = (self.clock[rows] - hour) % WEEK_HOURS, seen.span_hours[rows] + seen.newcomer[rows]
        finished = _occurrences(age, span) - (age < 1.0)
        weeks = np.maximum(finished.astype(np.int32), opens[rows])
        return opens[rows], weeks, early[rows]


def exposure(seen: Observations, clock: Floats, hour: int) -> Floats:
    """Per key, the number of times it was watched through that hour of the week, each time weighted by its age."""
    strengths: PriorStrengths = seen.strengths
    age = (clock - hour) % WEEK_HOURS
    count = _occurrences(age, seen.span_hours)
    fade = strengths.decay(WEEK_HOURS)
    newest = strengths.decay(age)
    total = newest * (1.0 - fade**count) / (1.0 - fade)
    # The hour in progress has been watched only as far as it has come.
    missing = np.where((age < 1.0) & (count > 0), (1.0 - age) * newest, 0.0)
    result: Floats = total - missing
    return result


def _occurrences(age: Floats, span: Floats) -> Floats:
    """How often an hour began in the last `span` hours, if it last began `age` hours ago."""
    result: Floats = np.maximum(np.floor((span - age + 1e-6) / WEEK_HOURS) + 1.0, 0.0)
    return result


def _population(opens: npt.NDArray[np.float32], watched: npt.NDArray[np.float32], strength: float) -> Floats:
    """The chance of an average key per hour, leaning a little on the average hour."""
    counted, exposed = opens.sum(axis=0, dtype=np.float64), watched.sum(axis=0, dtype=np.float64)
    flat = counted.sum() / exposed.sum() if exposed.sum() > 0 else 0.0
    result: Floats = (counted + strength * flat) / (exposed + strength)
    return result


def _profiles(
    opens: npt.NDArray[np.float32], watched: npt.NDArray[np.float32], population: Floats, strength: float
) -> npt.NDArray[np.float32]:
    """The chance of an average key of each account per hour, leaning on the population's shape at its own level."""
    pull = strength * population.sum()
    expected = watched @ population
    bottom = expected + pull
    level = np.divide(opens.sum(axis=1) + pull, bottom, out=np.ones_like(bottom), where=bottom > 0)
    profile = (opens + strength * np.outer(level, population)) / (watched + strength)
    return profile.astype(np.float32)


def fingerprint(seen: Observations) -> str:
    """Return a SHA-256 that changes when anything observed does."""
    digest = hashlib.sha256()
    strengths = seen.strengths
    head: list[Any] = [KIND, VERSION, seen.trained_from.isoformat(), seen.trained_until.isoformat()]
    head += [strengths.half_life_days, strengths.key, strengths.account]
    digest.update(json.dumps(head).encode())
    digest.update(json.dumps(seen.keys[[*KEY_COLUMNS, "time_zone"]].to_numpy(dtype=object).tolist()).encode())
    for values in (
        seen.span_hours,
        seen.early,
        seen.newcomer,
        seen.cell_key,
        seen.cell_hour,
        seen.cell_weight,
        seen.cell_opens,
        seen.cell_early,
    ):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _empty() -> pd.DataFrame:
    moment, number, text = "datetime64[us, UTC]", "int32", "object"
    kinds = [text, text, text, moment, moment, "float64", moment, number, number, "int64", text]
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in zip(PROBABILITY_COLUMNS, kinds, strict=True)})
