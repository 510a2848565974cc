"""The seasonal forecast: each key's weekly profile by hour, shrunk towards its account's, which is shrunk towards all.

A key's chance in an hour of the week is its opens in that hour per week observed, both decayed by age, shrunk towards
what its account's profile and its own level predict. The prior is worth a fixed number of weeks, so regular keys follow
their own data, and new or rare ones get small, calibrated chances.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from adwarm.access_log.timestamps import SECOND, to_micros
from adwarm.forecast.protocol import KEY_COLUMNS, PROBABILITY_COLUMNS, RecentOpens, SlotChances
from adwarm.forecast.serialization import decode_observations, encode_observations
from adwarm.forecast.training.observations import Observations, PriorStrengths
from adwarm.foundation.arrow_arrays import Bools, Floats, Floats32, Ints, Ints32
from adwarm.foundation.local_time import WEEK_HOURS, LocalSlot, local_slots
from adwarm.patterns.opens import Opens

KIND = "hour_of_week"
VERSION = "1"
FEATURES = ["hour of the reader's week", "level of the key", "profile of the account", "profile of the population"]
MIN_PROBABILITY = 0.005
_REMEMBERED_HOURS = 30
"""Hours of the week whose chances are kept: decisions that follow each other predict the same day."""

_SlotColumns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class SeasonalForecast:
    """A trained weekly profile per key; implements `adwarm.forecast.protocol.Forecast`."""

    observations: Observations
    kind: str = field(default=KIND, init=False)
    version: str = field(default=VERSION, init=False)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the forecast that `to_bytes` stored.

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
        """The groups of features, described for humans."""
        return list(FEATURES)

    @property
    def keys(self) -> pd.DataFrame:
        """The known keys: account_id, date_range, report, time_zone."""
        return self.observations.keys

    @cached_property
    def id(self) -> str:
        """SHA-256 in hex of everything the model learned."""
        return fingerprint(self.observations)

    @cached_property
    def _profiles(self) -> "_Profiles":
        return _Profiles.from_observations(self.observations)

    def rates(self, hour: int, rows: npt.NDArray[Any] | None = None) -> Floats:
        """Return the chance of a first open in a whole hour of the week, for all keys or those at `rows`."""
        chance = self._profiles.chance(hour)
        return chance if rows is None else chance[rows]

    def population(self, hour: int) -> float:
        """Return the chance of a first open of an average key in an hour of the week."""
        return float(self._profiles.population[hour])

    @property
    def lookback(self) -> timedelta:
        """Zero: it uses no recent opens."""
        return timedelta(0)

    def predict(
        self, start: datetime, horizon: timedelta, recent: RecentOpens | None = None, *, floor: float = MIN_PROBABILITY
    ) -> pd.DataFrame:
        """Return the chance of a first open per key and local hour; see the protocol. `recent` is ignored."""
        del recent
        return self.to_frame(self._slot_chances(start, horizon), floor=floor)

    def predict_series(
        self, starts: Sequence[datetime], horizon: timedelta, opens: Opens, cutoffs: Sequence[datetime]
    ) -> Iterator[SlotChances]:
        """Yield the chances from each of `starts` on; see the protocol. `opens` and `cutoffs` are ignored."""
        del opens, cutoffs
        for start in starts:
            yield self._slot_chances(start, horizon)

    def focus(self, account_id: str) -> "SeasonalForecast":
        """Return this forecast: it takes no longer for all accounts than for one."""
        del account_id
        return self

    def _slot_chances(self, start: datetime, horizon: timedelta) -> SlotChances:
        zones = []
        for name, rows in self.zones():
            slots = local_slots(name, start, start + horizon)
            zones.append((rows, [(slot, self.rates(slot.hour_of_week, rows) * slot.share) for slot in slots]))
        return SlotChances(start, len(self.keys), zones)

    def zones(self) -> Iterator[tuple[str, Ints]]:
        """Yield each reader zone with the rows of its keys in `keys`."""
        zones = self.observations.keys["time_zone"].to_numpy(dtype=object)
        for name in sorted(set(zones)):
            yield str(name), np.flatnonzero(zones == name)

    def to_frame(self, chances: SlotChances, *, floor: float, selected: Bools | None = None) -> pd.DataFrame:
        """Return the chances above `floor`, sorted by key and time; see the protocol."""
        parts: list[_SlotColumns] = []
        for rows, slots in chances.zones:
            for slot, chance in slots:
                likely = chance > floor if selected is None else (chance > floor) & selected[rows]
                if likely.any():
                    parts.append(self._slot_columns(slot, rows[likely], chance[likely]))
        if not parts:
            return _empty()
        order = np.lexsort([np.concatenate([part[name] for part in parts]) for name in ("slot_start", "row")])
        # A part's column is freed when it has been joined, and the frame copies none.
        columns = {name: np.concatenate([part.pop(name) for part in parts])[order] for name in list(parts[0])}
        row = columns.pop("row")
        data: dict[str, Any] = {name: values[row] for name, values in self._key_columns.items()} | columns
        for name in ("slot_start", "slot_end", "predicted_open"):
            data[name] = pd.DatetimeIndex(columns[name].view("datetime64[us]")).tz_localize("UTC")
        return pd.DataFrame({name: data[name] for name in PROBABILITY_COLUMNS}, copy=False)

    @cached_property
    def _key_columns(self) -> dict[str, Any]:
        """The columns of `keys` as categories: a frame repeats each name for every slot of its key."""
        return {name: pd.Categorical(self.keys[name].astype("str")) for name in [*KEY_COLUMNS, "time_zone"]}

    def _slot_columns(self, slot: LocalSlot, rows: Ints, chance: Floats) -> _SlotColumns:
        """Return the frame's columns of one slot for the keys at `rows`; moments in microseconds since 1970."""
        opens, weeks, early = self._profiles.evidence(slot.hour_of_week, rows)
        latest = (slot.end - slot.start).total_seconds() - 1.0
        seconds = np.clip(np.floor(60.0 * early - 3600.0 * slot.begins_at), 0.0, max(latest, 0.0))
        start, count = to_micros(slot.start), len(rows)
        return {
            "row": rows,
            "slot_start": np.full(count, start, np.int64),
            "slot_end": np.full(count, to_micros(slot.end), np.int64),
            "probability": chance,
            "predicted_open": start + seconds.astype(np.int64) * SECOND,
            "opens": opens,
            "weeks": weeks,
            "hour_of_week": np.full(count, slot.hour_of_week, np.int64),
        }


@dataclass(frozen=True)
class _Profiles:
    """Weekly profiles and levels that follow from the observations."""

    observations: Observations
    clock: Floats  # per key, the hours of its local week that have passed at the end of training
    exposures: "Exposures"  # how often each hour of the week was observed
    account_of: Ints
    bounds: Ints  # per hour of the week, the first of its cells; one more at the end
    population: Floats  # per hour of the week, the chance of an average key
    accounts: Floats32  # accounts x hours of the week, the chance of an average key of the account
    level: Floats  # per key, its opens divided by those that its account's profile expects

    @classmethod
    def from_observations(cls, observations: Observations) -> "_Profiles":
        """Compute the population's profile, then the accounts', then the level of each key."""
        accounts, account_of = np.unique(observations.keys["account_id"].to_numpy(dtype=str), return_inverse=True)
        bounds = np.searchsorted(observations.cell_hour, np.arange(WEEK_HOURS + 1))
        size, exposures = len(accounts), Exposures(observations)
        opens, exposed = np.zeros((size, WEEK_HOURS), np.float32), np.zeros((size, WEEK_HOURS), np.float32)
        for hour in range(WEEK_HOURS):
            cells = slice(bounds[hour], bounds[hour + 1])
            opens[:, hour] = np.bincount(
                account_of[observations.cell_key[cells]], observations.cell_weight[cells], size
            )
            exposed[:, hour] = np.bincount(account_of, exposures.at(hour), size)
        population = _population_profile(opens, exposed, observations.strengths.account)
        profiles = _account_profiles(opens, exposed, population, observations.strengths.account)
        without_levels = cls(
            observations=observations,
            clock=observations.clock(),
            exposures=exposures,
            account_of=account_of,
            bounds=bounds,
            population=population,
            accounts=profiles,
            level=np.ones(len(observations.keys)),
        )
        return replace(without_levels, level=without_levels._levels())

    def _levels(self) -> Floats:
        """Per key, its opens divided by those that its account's profile expects."""
        observations, expected = self.observations, np.zeros(len(self.observations.keys))
        for hour in range(WEEK_HOURS):
            expected += self.exposures.at(hour) * self.accounts[self.account_of, hour]
        opens = np.bincount(observations.cell_key, observations.cell_weight, len(observations.keys))
        prior_opens = observations.strengths.key * self.accounts.sum(axis=1, dtype=np.float64)[self.account_of]
        level: Floats = np.divide(
            opens + prior_opens, expected + prior_opens, out=np.ones_like(opens), where=expected + prior_opens > 0
        )
        return level

    def chance(self, hour: int) -> Floats:
        """Per key, the chance of a first open in that whole hour."""
        chances = self._chances
        if hour not in chances:
            if len(chances) >= _REMEMBERED_HOURS:
                del chances[next(iter(chances))]
            chances[hour] = self._compute_chance(hour)
        return chances[hour]

    @cached_property
    def _chances(self) -> dict[int, Floats]:
        """The chances of the hours that were computed last."""
        return {}

    def _compute_chance(self, hour: int) -> Floats:
        observations, strength = self.observations, self.observations.strengths.key
        prior = np.minimum(self.level * self.accounts[self.account_of, hour], 1.0)
        cells = slice(self.bounds[hour], self.bounds[hour + 1])
        weight = np.zeros(len(observations.keys))
        weight[observations.cell_key[cells]] = observations.cell_weight[cells]
        chance: Floats = (weight + strength * prior) / (self.exposures.at(hour) + strength)
        return np.minimum(chance, 1.0)

    def evidence(self, hour: int, rows: npt.NDArray[Any]) -> tuple[Ints32, Ints32, Floats]:
        """Per key at `rows`: weeks with an open in that hour, weeks observed, and an early minute of the open."""
        observations = self.observations
        cells = slice(self.bounds[hour], self.bounds[hour + 1])
        opens = np.zeros(len(observations.keys), np.int32)
        opens[observations.cell_key[cells]] = observations.cell_opens[cells]
        early = observations.early.copy()
        early[observations.cell_key[cells]] = observations.cell_early[cells]
        age, span = (self.clock[rows] - hour) % WEEK_HOURS, observations.span_hours[rows] + observations.newcomer[rows]
        finished = _occurrences(age, span) - (age < 1.0)
        weeks = np.maximum(finished.astype(np.int32), opens[rows])
        return opens[rows], weeks, early[rows]


class Exposures:
    """How often the hours of the week were observed; computed once for all keys with the same clock and span."""

    def __init__(self, observations: Observations) -> None:
        self._strengths: PriorStrengths = observations.strengths
        pairs, self._index = np.unique(observations.clock() + 1j * observations.span_hours, return_inverse=True)
        self._clock, self._span = pairs.real, pairs.imag

    def at(self, hour: int) -> Floats:
        """Return, per key, how often that hour of the week was observed, each time weighted by its age."""
        age = (self._clock - hour) % WEEK_HOURS
        count = _occurrences(age, self._span)
        fade = self._strengths.decay(WEEK_HOURS)
        newest = self._strengths.decay(age)
        total = newest * (1.0 - fade**count) / (1.0 - fade)
        # The hour in progress is observed only up to the end of training.
        missing = np.where((age < 1.0) & (count > 0), (1.0 - age) * newest, 0.0)
        result: Floats = (total - missing)[self._index]
        return result


def _occurrences(age: Floats, span: Floats) -> Floats:
    """Return how often an hour of the week began in the last `span` hours if it last began `age` hours ago."""
    result: Floats = np.maximum(np.floor((span - age + 1e-6) / WEEK_HOURS) + 1.0, 0.0)
    return result


def _population_profile(opens: Floats32, exposed: Floats32, strength: float) -> Floats:
    """Return the chance of an average key per hour, shrunk towards that of the average hour."""
    counts, exposures = opens.sum(axis=0, dtype=np.float64), exposed.sum(axis=0, dtype=np.float64)
    average = counts.sum() / exposures.sum() if exposures.sum() > 0 else 0.0
    result: Floats = (counts + strength * average) / (exposures + strength)
    return result


def _account_profiles(opens: Floats32, exposed: Floats32, population: Floats, strength: float) -> Floats32:
    """Return the chance of an average key of each account per hour, shrunk to the population's at its level."""
    prior_opens = strength * population.sum()
    expected = exposed @ population
    denominator = expected + prior_opens
    level = np.divide(
        opens.sum(axis=1) + prior_opens, denominator, out=np.ones_like(denominator), where=denominator > 0
    )
    profile = (opens + strength * np.outer(level, population)) / (exposed + strength)
    return profile.astype(np.float32)


def fingerprint(observations: Observations) -> str:
    """Return a SHA-256 in hex of everything observed."""
    digest = hashlib.sha256()
    strengths = observations.strengths
    head: list[Any] = [KIND, VERSION, observations.trained_from.isoformat(), observations.trained_until.isoformat()]
    head += [strengths.half_life_days, strengths.key, strengths.account]
    digest.update(json.dumps(head).encode())
    digest.update(json.dumps(observations.keys[[*KEY_COLUMNS, "time_zone"]].to_numpy(dtype=object).tolist()).encode())
    for values in (
        observations.span_hours,
        observations.early,
        observations.newcomer,
        observations.cell_key,
        observations.cell_hour,
        observations.cell_weight,
        observations.cell_opens,
        observations.cell_early,
    ):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _empty() -> pd.DataFrame:
    moment, number, text = "datetime64[us, UTC]", "int32", "category"
    kinds = [text, text, text, moment, moment, "float64", moment, number, number, "int64", text]
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in zip(PROBABILITY_COLUMNS, kinds, strict=True)})
