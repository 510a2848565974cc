"""The adwarm model: recent opens give the chance of an open soon, the weekly profile distributes it over the hours.

`BoostedModel` predicts how likely a first open is within the lifetime of an entry that is fetched now.
`BoostedForecast` combines it with the key's weekly profile (`SeasonalForecast`), which says when inside that time the
open comes, and which alone covers the time after it and keys without recent opens.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from adwarm.access_log.timestamps import to_micros
from adwarm.forecast.features.grid import SLOT_MICROS, SLOTS_PER_WEEK, OpenGrid, PopulationTotals
from adwarm.forecast.features.key_features import SiblingReports, build_features
from adwarm.forecast.features.public_holidays import HolidayEffect
from adwarm.forecast.models.classifiers import (
    BoostedTrees,
    Calibration,
    Classifier,
    Ensemble,
    LogisticClassifier,
    SeasonalBaseline,
    Trees,
)
from adwarm.forecast.models.seasonal import FEATURES, MIN_PROBABILITY, SeasonalForecast
from adwarm.forecast.protocol import KEY_COLUMNS, RecentOpens, SlotChance, SlotChances
from adwarm.forecast.serialization import decode_model, encode_model
from adwarm.forecast.training.backtest import warm_value
from adwarm.foundation.arrow_arrays import Bools, Floats, Ints, Ints32, Strings
from adwarm.foundation.clock import utc
from adwarm.foundation.local_time import local_slots
from adwarm.foundation.ordering import order_by
from adwarm.patterns.opens import Opens

KIND = "adwarm"
VERSION = "7"
HISTORY_MICROS = 8 * SLOTS_PER_WEEK * SLOT_MICROS
"""How much history the model reads, microseconds."""
RECENT_ACTIVITY = timedelta(hours=3)
"""An account with an open this recently is active, and the model predicts its keys."""
MIN_EXPECTED_OPENS = 0.01
"""Opens that the weekly profile expects within the lifetime from which a key makes its account active."""
EVEN_SHARE = 0.2
"""Share of a chance that is spread evenly over its hours: readers also come at hours they never came at before."""
_PAIRS_PER_BLOCK = 60_000
_MAX_CHANCE = 1.0 - 1e-9
_MICROSECOND, _HOUR = timedelta(microseconds=1), timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Horizons:
    """The times that chances are predicted for, in slots of 15 minutes.

    Attributes:
        delay: how long an open takes to reach the log, microseconds.
    """

    step: int = 1
    lifetime: int = 12
    delay: int = 0

    @property
    def windows(self) -> tuple[int, int]:
        """The two predicted windows, the shorter one first."""
        return self.step, self.lifetime


@dataclass(frozen=True)
class BoostedModel:
    """A trained model of first opens; `adwarm.forecast.training.boosted_training` trains it.

    Attributes:
        classifier: predicts a chance per window from features.
        siblings: the report kinds whose latest opens are features.
        calibration: calibrates the chance of the lifetime window.
        never_warms: whether warming does not pay on this log; every warm value is 0 then.
        holidays: the share of a usual day's opens that is left on public holidays.
    """

    horizons: Horizons
    classifier: Classifier
    siblings: SiblingReports
    calibration: Calibration = field(default_factory=Calibration)
    never_warms: bool = False
    holidays: HolidayEffect = field(default_factory=HolidayEffect)

    def predict(self, grid: OpenGrid, key: Ints, column: Ints) -> tuple[Floats, Floats]:
        """Return, per pair of key and column, the value of a warm and the chance of a first open within the lifetime.

        The value uses the uncalibrated chances, which rank keys as they are.

        Args:
            grid: the opens; nothing at or right of a pair's column is read.
            key: row of the key in the grid, one per pair.
            column: column of the decision, one per pair.
        """
        chances = self.predict_chances(grid, key, column)
        share = self.holidays.get_shares(grid, key, column)
        calibrated = self.calibration(chances[-1]) * share
        value = warm_value(chances * share, self.horizons.windows, calibrated)
        return np.zeros(len(value)) if self.never_warms else value, calibrated

    def predict_chances(self, grid: OpenGrid, key: Ints, column: Ints) -> Floats:
        """Return the chances, windows x pairs; works block by block to bound the memory of the features."""
        blocks = [slice(start, start + _PAIRS_PER_BLOCK) for start in range(0, max(len(key), 1), _PAIRS_PER_BLOCK)]
        features = (build_features(grid, key[block], column[block], self.siblings)[0] for block in blocks)
        return np.concatenate([self.classifier.predict_proba(rows) for rows in features], axis=1)


def predict_in_batches(
    model: BoostedModel,
    opens: Opens,
    moments: Sequence[int],
    *,
    keys_at_once: int = 1_000,
    selected: Bools | None = None,
) -> tuple[Floats, Floats]:
    """Return, per moment and key, the value of a warm then and the chance of a first open within the lifetime.

    Memory does not grow with the number of keys. Accounts are never split, so an account with more keys than
    `keys_at_once` is predicted as one batch. Keys that are not known at a moment get NaN.

    Args:
        opens: the history; for each moment, opens that are not known then are ignored.
        moments: microseconds since 1970, ascending, less than about a day in all.
        selected: moments x keys, whether a value is needed; the keys of accounts without such a key get NaN.
    """
    delay, last = model.horizons.delay, moments[-1]
    opens = opens.before(last - delay)
    recent = opens.since(moments[0] - HISTORY_MICROS)
    value, chance = np.full((2, len(moments), opens.key_count), np.nan)
    needed = np.ones(value.shape, np.bool_) if selected is None else selected
    population = PopulationTotals.from_opens(recent, last, delay)
    by_key = order_by([recent.key], "stable")
    bounds = np.searchsorted(recent.key[by_key], np.arange(opens.key_count + 1))
    for keys in _batches(opens.account, np.asarray(needed.any(axis=0)), keys_at_once):
        rows = np.sort(np.concatenate([by_key[bounds[key] : bounds[key + 1]] for key in keys.tolist()]))
        grid = OpenGrid.from_opens(_take_keys(recent, keys, rows), last, delay=delay, population=population)
        is_known = opens.first_ts[keys] < np.array(moments)[:, None] - delay
        in_account = np.stack([np.isin(opens.account[keys], opens.account[row]) for row in needed])
        number, chosen = np.nonzero(is_known & in_account)
        if len(chosen):
            column = np.array(moments)[number] // SLOT_MICROS - grid.origin
            value[number, keys[chosen]], chance[number, keys[chosen]] = model.predict(grid, chosen, column)
    return value, chance


def _batches(account: Ints32, needed: Bools, keys_at_once: int) -> Iterator[Ints]:
    """Yield the keys of the accounts that have a needed key, whole accounts together."""
    order: Ints = np.argsort(account, kind="stable").astype(np.int64)
    order = order[np.isin(account[order], account[needed])]
    start = 0
    while start < len(order):
        last = account[order[min(start + keys_at_once, len(order)) - 1]]
        end = int(np.searchsorted(account[order], last, "right"))
        yield order[start:end]
        start = end


def _take_keys(opens: Opens, keys: Ints, rows: Ints) -> Opens:
    """Return the opens at `rows`, with `keys` and their accounts renumbered from 0."""
    number = np.zeros(opens.key_count, np.int32)
    number[keys] = np.arange(len(keys), dtype=np.int32)
    return replace(
        opens,
        ts=opens.ts[rows],
        key=number[opens.key[rows]],
        first=opens.first[rows],
        account_id=opens.account_id[keys],
        date_range=opens.date_range[keys],
        report=opens.report[keys],
        zone=opens.zone[keys],
        account=np.unique(opens.account[keys], return_inverse=True)[1].astype(np.int32),
        first_ts=opens.first_ts[keys],
    )


STORED_TYPES = (
    *(BoostedModel, Horizons, SiblingReports, HolidayEffect, Calibration),
    *(SeasonalBaseline, LogisticClassifier, BoostedTrees, Trees, Ensemble),
)
"""The types that a stored forecast may hold."""


@dataclass(frozen=True)
class BoostedForecast:
    """A trained adwarm model with the weekly profile of each key; implements `adwarm.forecast.protocol.Forecast`.

    Attributes:
        id: SHA-256 of the training data and the training's parameters.
        calibration: calibrates what both predict together; see `calibrated`.
        focused_on: the only account that the model predicts; None: all that are active.
    """

    id: str
    model: BoostedModel
    seasonal: SeasonalForecast
    calibration: Calibration = field(default_factory=Calibration)
    focused_on: str | None = None
    kind: str = field(default=KIND, init=False)
    version: str = field(default=VERSION, init=False)

    @classmethod
    def from_bytes(cls, data: bytes) -> "BoostedForecast":
        """Return the forecast that `to_bytes` stored.

        Raises:
            Corrupt: `data` is not a stored forecast of this version, or holds a type that is not trusted.
        """
        parts = decode_model(data, KIND, VERSION, STORED_TYPES)
        seasonal = SeasonalForecast.from_bytes(parts["seasonal"].tobytes())
        return cls(parts["id"], parts["model"], seasonal, parts["calibration"])

    def to_bytes(self) -> bytes:
        """Return the stored form, a zip of arrays."""
        parts = {
            "id": self.id,
            "model": self.model,
            "seasonal": np.frombuffer(self.seasonal.to_bytes(), np.uint8),
            "calibration": self.calibration,
        }
        return encode_model(parts, KIND, VERSION, STORED_TYPES)

    def calibrated(self, calibration: Calibration) -> "BoostedForecast":
        """Return the same forecast with a calibration that was fitted on held-out time; its id differs."""
        name = hashlib.sha256(f"{self.id} {calibration}".encode()).hexdigest()
        return replace(self, id=name, calibration=calibration)

    def focus(self, account_id: str) -> "BoostedForecast":
        """Return the same forecast, whose model predicts one account only; the others keep their weekly profiles."""
        return replace(self, focused_on=account_id)

    @property
    def trained_from(self) -> datetime:
        """Start of the observed time, UTC."""
        return self.seasonal.trained_from

    @property
    def trained_until(self) -> datetime:
        """End of the observed time, UTC."""
        return self.seasonal.trained_until

    @property
    def features(self) -> list[str]:
        """The groups of features, described for humans."""
        return [
            *FEATURES,
            "time since the last open",
            "opens of today against usual",
            "the same time on earlier days",
            "streaks",
            "opens of the account's other reports, and which of them",
            "when the account's readers usually arrive",
            "how busy all readers are",
            "public holidays of the reader's country",
        ]

    @property
    def keys(self) -> pd.DataFrame:
        """The known keys: account_id, date_range, report, time_zone."""
        return self.seasonal.keys

    @property
    def lookback(self) -> timedelta:
        """How much history before the predicted time `predict` uses."""
        return timedelta(microseconds=HISTORY_MICROS)

    @property
    def lifetime(self) -> timedelta:
        """The window, from the last known open on, that the model predicts."""
        return timedelta(microseconds=self.model.horizons.lifetime * SLOT_MICROS)

    def predict(
        self, start: datetime, horizon: timedelta, recent: RecentOpens | None = None, *, floor: float = MIN_PROBABILITY
    ) -> pd.DataFrame:
        """Return the chance of a first open per key and local hour; see the protocol.

        The model predicts the lifetime that begins at `recent.until`; the part of it before `start` is cut off. After
        the lifetime, or without recent opens, the weekly profile alone predicts.
        """
        start = utc(start)
        cutoff = min(utc(recent.until), start) if recent else start - self.lifetime
        modeled = (
            self._predict_lifetimes(recent.opens, [cutoff])[0] if recent and cutoff + self.lifetime > start else None
        )
        countries = recent.opens.holiday_countries if recent else {}
        chances = self._slot_chances((start, start + horizon), cutoff, modeled, countries)
        return self.to_frame(chances, floor=floor)

    def predict_series(
        self, starts: Sequence[datetime], horizon: timedelta, opens: Opens, cutoffs: Sequence[datetime]
    ) -> Iterator[SlotChances]:
        """Yield the chances from each of `starts` on, given the opens before its cutoff; see the protocol."""
        begins = [utc(start) for start in starts]
        known_until = [min(utc(cutoff), start) for cutoff, start in zip(cutoffs, begins, strict=True)]
        moments = sorted({
            cutoff for cutoff, start in zip(known_until, begins, strict=True) if cutoff + self.lifetime > start
        })
        modeled = dict(zip(moments, self._predict_lifetimes(opens, moments), strict=True)) if moments else {}
        for start, cutoff in zip(begins, known_until, strict=True):
            yield self._slot_chances((start, start + horizon), cutoff, modeled.get(cutoff), opens.holiday_countries)

    def to_frame(self, chances: SlotChances, *, floor: float, selected: Bools | None = None) -> pd.DataFrame:
        """Return the chances above `floor`, sorted by key and time; see the protocol."""
        return self.seasonal.to_frame(chances, floor=floor, selected=selected)

    def _slot_chances(
        self,
        period: tuple[datetime, datetime],
        cutoff: datetime,
        modeled: Floats | None,
        countries: Mapping[str, str],
    ) -> SlotChances:
        """Return the chances in `period`; `modeled` are the model's within the lifetime from `cutoff` on."""
        (start, end), modeled_until = period, max(cutoff + self.lifetime, period[0])
        chances = np.full(len(self.keys), np.nan) if modeled is None else modeled
        zones = []
        for name, rows in self.seasonal.zones():
            seasonal = self._seasonal_chances((name, rows), countries, cutoff, modeled_until)
            slots = self._spread_over_slots(seasonal, chances[rows])
            soon = calibrate_slots(_clip(slots, start, end), self.calibration)
            later = _clip(self._seasonal_chances((name, rows), countries, modeled_until, end), start, end)
            zones.append((rows, [*soon, *later]))
        return SlotChances(start, len(self.keys), zones)

    def _predict_lifetimes(self, opens: Opens, cutoffs: Sequence[datetime]) -> Floats:
        """Return, per cutoff and key of the weekly profile, the model's chance within the lifetime from then on."""
        # It is NaN for keys without an open in the lookback, and for keys of inactive accounts: none was opened in the
        # last hours, and the weekly profile expects none soon.
        moments = [to_micros(cutoff) for cutoff in cutoffs]
        opens = opens.before(moments[-1])
        index = self._key_indices(opens)
        in_profile = index >= 0
        active = np.stack([
            self._find_active(opens.before(at), at, index, cutoff) for at, cutoff in zip(moments, cutoffs, strict=True)
        ])
        chances = np.full((len(cutoffs), len(self.keys)), np.nan)
        predicted = predict_in_batches(self.model, opens, moments, selected=active)[1]
        chances[:, index[in_profile]] = predicted[:, in_profile]
        return chances

    def _find_active(self, opens: Opens, at: int, index: Ints, cutoff: datetime) -> Bools:
        """Return, per key of the log, whether it makes its account active at the cutoff; `opens` end there."""
        expected = np.zeros(len(self.keys))
        for name, rows in self.seasonal.zones():
            slots = self._seasonal_chances((name, rows), opens.holiday_countries, cutoff, cutoff + self.lifetime)
            expected[rows] = sum((chance for _, chance in slots), np.zeros(len(rows)))
        active = (index >= 0) & (expected[index] >= MIN_EXPECTED_OPENS)
        active[opens.key_count :] = False
        active[np.unique(opens.since(at - RECENT_ACTIVITY // _MICROSECOND).key)] = True
        if self.focused_on is not None:
            active[: opens.key_count] &= np.asarray(opens.account_id == self.focused_on, np.bool_)
        return active

    def _key_indices(self, opens: Opens) -> Ints:
        """Return, per key of `opens`, its row in `keys`, or -1."""
        profile_keys = pd.MultiIndex.from_frame(self.keys[KEY_COLUMNS])
        opened_keys = pd.MultiIndex.from_arrays([opens.account_id, opens.date_range, opens.report], names=KEY_COLUMNS)
        return np.asarray(profile_keys.get_indexer(opened_keys), np.int64)

    def _seasonal_chances(
        self, zone_rows: tuple[str, Ints], countries: Mapping[str, str], start: datetime, end: datetime
    ) -> list[SlotChance]:
        """Return the weekly profile's chances per slot for the keys of one zone, reduced on public holidays."""
        zone_name, rows = zone_rows
        own = self._own_countries(rows, countries)
        parts: list[SlotChance] = []
        for slot in local_slots(zone_name, start, end):
            share = np.full(len(rows), slot.share * self.model.holidays.get_share(zone_name, slot.start))
            for country in set(own.tolist()) - {""}:
                share[own == country] = slot.share * self.model.holidays.get_share(zone_name, slot.start, country)
            parts.append((slot, np.minimum(self.seasonal.rates(slot.hour_of_week, rows) * share, _MAX_CHANCE)))
        return parts

    def _own_countries(self, rows: Ints, countries: Mapping[str, str]) -> Strings:
        if not countries:
            return np.full(len(rows), "", dtype=object)
        names = self.keys["account_id"].to_numpy(dtype=object)[rows]
        return np.array([countries.get(str(name), "") for name in names], dtype=object)

    def _spread_over_slots(self, slots: list[SlotChance], chance: Floats) -> list[SlotChance]:
        """Distribute the model's chance over the slots; keys whose chance is NaN keep the weekly profile's chances."""
        # The chance of at least one open over all slots is the model's.
        hazards = [-np.log1p(-seasonal) for _, seasonal in slots]
        total, seconds, is_modeled = (
            sum(hazards, np.zeros(len(chance))),
            self.lifetime.total_seconds(),
            ~np.isnan(chance),
        )
        spread = [
            chance_in_part(chance, hazard, total, (slot.end - slot.start).total_seconds() / seconds)
            for (slot, _), hazard in zip(slots, hazards, strict=True)
        ]
        return [
            (slot, np.where(is_modeled, modeled, seasonal))
            for (slot, seasonal), modeled in zip(slots, spread, strict=True)
        ]


def chance_in_part(chance: Floats, hazard: Floats, total_hazard: Floats, length: float) -> Floats:
    """Return the chance of a first open in a part of the time that `chance` covers.

    Args:
        hazard: the weekly profile's expected opens in the part.
        total_hazard: its expected opens in the whole time.
        length: the part's share of the time, 0 to 1.
    """
    own = np.divide(hazard, total_hazard, out=np.full(np.shape(hazard), length), where=total_hazard > 0)
    weight = (1.0 - EVEN_SHARE) * own + EVEN_SHARE * length
    result: Floats = -np.expm1(np.log1p(-np.minimum(chance, _MAX_CHANCE)) * weight)
    return result


def calibrate_slots(parts: list[SlotChance], calibration: Calibration) -> list[SlotChance]:
    """Return the slots with chances that together give the calibrated chance of the whole time."""
    # Log chances of no open add up over slots, so one factor on them moves the chance of the whole to its target.
    log_none = sum((np.log1p(-np.minimum(chance, _MAX_CHANCE)) for _, chance in parts), np.zeros(1))
    target = np.log1p(-np.minimum(calibration(-np.expm1(log_none)), _MAX_CHANCE))
    factor = np.divide(target, log_none, out=np.ones_like(log_none), where=log_none < 0)
    return [(slot, -np.expm1(factor * np.log1p(-np.minimum(chance, _MAX_CHANCE)))) for slot, chance in parts]


def _clip(parts: list[SlotChance], start: datetime, end: datetime) -> list[SlotChance]:
    """Return the slots inside `[start, end)`; a slot that is cut keeps the matching share of its chance."""
    clipped = []
    for slot, chance in parts:
        since, until = max(slot.start, start), min(slot.end, end)
        if since < until:
            share = (until - since) / (slot.end - slot.start)
            cut = replace(slot, start=since, end=until, begins_at=slot.begins_at + (since - slot.start) / _HOUR)
            clipped.append((cut, -np.expm1(share * np.log1p(-np.minimum(chance, _MAX_CHANCE)))))
    return clipped
