"""The adwarm model at work: chances of the coming life by what was opened lately, told apart into hours by the week.

The model says how likely a first open is within the life of an entry fetched now. The key's own weekly rhythm says when
in that time, and goes on after it. Without recent opens the rhythm alone speaks.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from adwarm.access_log.timestamps import to_micros
from adwarm.forecast.features.grid import SLOT_MICROS, SLOTS_PER_WEEK, OpenGrid, PopulationTotals
from adwarm.forecast.features.key_features import build_features
from adwarm.forecast.features.public_holidays import HolidayEffect
from adwarm.forecast.features.sibling_reports import SiblingReports
from adwarm.forecast.local_hours import LocalSlot, local_slots
from adwarm.forecast.models.calibration import Calibration
from adwarm.forecast.models.classifiers import Classifier, predict_each
from adwarm.forecast.models.seasonal import FEATURES, MIN_PROBABILITY, SeasonalForecast
from adwarm.forecast.protocol import KEY_COLUMNS, RecentOpens
from adwarm.forecast.serialization import decode_model, encode_model
from adwarm.forecast.training.backtest import warm_value
from adwarm.foundation.arrow_arrays import Floats, Ints
from adwarm.foundation.clock import utc
from adwarm.patterns.opens import Opens

KIND = "adwarm"
VERSION = "4"
EVEN_SHARE = 0.2
"""Share of a chance that is spread evenly over its hours: people also come at hours they never came at before."""
MIN_EXPECTED_OPENS = 0.01
"""Opens expected within the life below which a key alone does not keep its account awake."""
RECENT_ACTIVITY = timedelta(hours=3)
TICK = timedelta(microseconds=1)
HISTORY_MICROS = 8 * SLOTS_PER_WEEK * SLOT_MICROS
"""How far back the model looks, microseconds."""
SEASONAL_ONLY = "week"
"""The weekly rhythm alone, when there is little to learn from."""
_BLOCK = 60_000
_SURE = 1.0 - 1e-9
HOUR = timedelta(hours=1)

SlotChance = tuple[LocalSlot, Floats]
"""A part of an hour, and the chance of a first open in it per key."""


@dataclass(frozen=True, slots=True)
class Horizons:
    """What is foretold, in quarters of an hour: until the next decision, and within the life of an entry.

    Attributes:
        delay: how long an open takes to become known, microseconds.
    """

    step: int = 1
    lifetime: int = 12
    delay: int = 0

    @property
    def windows(self) -> tuple[int, int]:
        """The windows chances are of: until the next decision, and the life."""
        return self.step, self.lifetime


@dataclass(frozen=True)
class BoostedModel:
    """A trained model.

    Attributes:
        siblings: the kinds of report whose latest opens it looks at.
        choice: name of the blend that stood its ground on the held-back weeks.
        hits: what each blend hit there.
        quiet: whether it warms nothing, since there doubling the calls did not pay.
        holidays: what is left of a usual day on public holidays.
    """

    horizons: Horizons
    classifier: Classifier
    siblings: SiblingReports
    calibration: Calibration = field(default_factory=Calibration)
    blend: str = SEASONAL_ONLY
    hit_shares: dict[str, float] = field(default_factory=dict)
    never_warms: bool = False
    holidays: HolidayEffect = field(default_factory=HolidayEffect)

    def predict(self, grid: OpenGrid, key: Ints, column: Ints) -> tuple[Floats, Floats]:
        """Return, per pair of key and column, what a warm is worth, and the chance of a first open within the life.

        The order of warms is that of the chances as the candidate states them: it was chosen by those.
        """
        stated = predict_in_blocks([self.classifier], grid, key, column, self.siblings)[0]
        share = self.holidays.get_shares(grid, key, column)
        chance = self.calibration(stated[-1]) * share
        value = warm_value(stated * share, self.horizons.windows, chance)
        return np.zeros(len(value)) if self.never_warms else value, chance


def predict_in_blocks(
    models: list[Classifier], grid: OpenGrid, key: Ints, column: Ints, siblings: SiblingReports
) -> list[Floats]:
    """Ask all models, some ten thousand pairs at a time, so that memory stays small; windows x pairs of each."""
    blocks = [slice(start, start + _BLOCK) for start in range(0, max(len(key), 1), _BLOCK)]
    stated = [predict_each(models, build_features(grid, key[block], column[block], siblings)[0]) for block in blocks]
    return [np.concatenate(parts, axis=1) for parts in zip(*stated, strict=True)]


def predict_in_batches(
    model: BoostedModel,
    opens: Opens,
    at: int,
    *,
    keys_at_once: int = 1_000,
    selected: npt.NDArray[np.bool_] | None = None,
) -> tuple[Floats, Floats]:
    """Return, per known key, what a warm at `at` (microseconds) is worth, and the chance of an open in its life.

    Accounts are never torn apart, so one with more keys than `keys_at_once` is judged whole.

    Args:
        selected: per key, whether a value is needed; accounts without such a key get NaN.
    """
    delay = model.horizons.delay
    opens = opens.before(at - delay)
    recent = opens.since(at - HISTORY_MICROS)
    worth, chance = np.full(opens.key_count, np.nan), np.full(opens.key_count, np.nan)
    wanted = np.ones(opens.key_count, np.bool_) if selected is None else selected
    crowd = PopulationTotals.from_opens(recent, at, delay)
    by_key = np.argsort(recent.key, kind="stable")
    bounds = np.searchsorted(recent.key[by_key], np.arange(opens.key_count + 1))
    for keys in _account_blocks(opens.account, wanted, keys_at_once):
        rows = np.sort(np.concatenate([by_key[bounds[key] : bounds[key + 1]] for key in keys.tolist()]))
        grid = OpenGrid.from_opens(_only(recent, keys, rows), at, delay=delay, population=crowd)
        column = np.full(len(keys), at // SLOT_MICROS - grid.origin)
        worth[keys], chance[keys] = model.predict(grid, np.arange(len(keys)), column)
    return worth, chance


def _account_blocks(account: npt.NDArray[np.int32], wanted: npt.NDArray[np.bool_], keys_at_once: int) -> Iterator[Ints]:
    """Yield the keys of accounts of which any is wanted, whole accounts together."""
    order: Ints = np.argsort(account, kind="stable").astype(np.int64)
    order = order[np.isin(account[order], account[wanted])]
    start = 0
    while start < len(order):
        last = account[order[min(start + keys_at_once, len(order)) - 1]]
        end = int(np.searchsorted(account[order], last, "right"))
        yield order[start:end]
        start = end


def _only(opens: Opens, keys: Ints, rows: Ints) -> Opens:
    """Return the opens at `rows` with `keys` and their accounts numbered anew."""
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


@dataclass(frozen=True)
class BoostedForecast:
    """A trained adwarm model; see `adwarm.forecast.protocol.Forecast`.

    Attributes:
        id: SHA-256 of what it was trained on, and how.
        model: states chances from the opens of the last weeks.
        rhythm: the weekly rhythm trained on the same opens.
        curve: makes what both say together come true; see `calibrated`.
    """

    id: str
    model: BoostedModel
    seasonal: SeasonalForecast
    calibration: Calibration = field(default_factory=Calibration)
    kind: str = field(default=KIND, init=False)
    version: str = field(default=VERSION, init=False)

    @classmethod
    def from_bytes(cls, data: bytes) -> "BoostedForecast":
        """Return the forecast whose stored form is `data`.

        Raises:
            Corrupt: `data` is not a stored forecast of this version, or holds anything but numbers of its models.
        """
        parts = decode_model(data, KIND, VERSION)
        return cls(parts["id"], parts["model"], SeasonalForecast.from_bytes(parts["rhythm"]), parts["curve"])

    def to_bytes(self) -> bytes:
        """Return the stored form, written by skops."""
        parts = {"id": self.id, "model": self.model, "rhythm": self.seasonal.to_bytes(), "curve": self.calibration}
        return encode_model(parts, KIND, VERSION)

    def calibrated(self, curve: Calibration) -> "BoostedForecast":
        """Return the same with a curve that was learned on held-back time; it has an id of its own."""
        name = hashlib.sha256(f"{self.id} {curve}".encode()).hexdigest()
        return replace(self, id=name, curve=curve)

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
        """What the model looks at, in words."""
        looks = ["time since the last open", "opens of today against usual", "the same time on earlier days", "streaks"]
        return [
            *FEATURES,
            *looks,
            "opens of the account's other reports, and which of them",
            "when the account's people come",
            "how busy everybody is",
            "public holidays of the reader's country",
        ]

    @property
    def keys(self) -> pd.DataFrame:
        """The keys it knows: account_id, date_range, report, time_zone."""
        return self.seasonal.keys

    @property
    def lookback(self) -> timedelta:
        """How far before the asked moment it wants to see opens."""
        return timedelta(microseconds=HISTORY_MICROS)

    @property
    def lifetime(self) -> timedelta:
        """The time its chances are of."""
        return timedelta(microseconds=self.model.horizons.lifetime * SLOT_MICROS)

    def predict(
        self, start: datetime, horizon: timedelta, recent: RecentOpens | None = None, *, floor: float = MIN_PROBABILITY
    ) -> pd.DataFrame:
        """Return the chance of a first open per key and reader's hour; see the protocol.

        The model speaks as of `recent.until`. What it says of the time since then is left out; when that is all of its
        life, the rhythm alone speaks.
        """
        start = utc(start)
        end, seen = start + horizon, min(utc(recent.until), start) if recent else start - self.lifetime
        told_until = max(seen + self.lifetime, start)
        zones = [
            (name, rows, self._seasonal_chances(name, rows, seen, told_until)) for name, rows in self.seasonal.zones()
        ]
        silent = np.full(len(self.keys), np.nan)
        model = self._predict_lifetime(recent.opens, seen, zones) if recent and told_until > start else silent
        parts: list[pd.DataFrame] = []
        for name, rows, slots in zones:
            told = calibrate_slots(_clipped(self._spread_over_slots(slots, model[rows]), start, end), self.calibration)
            later = _clipped(self._seasonal_chances(name, rows, told_until, end), start, end)
            for slot, stated in [*told, *later]:
                kept = stated > floor
                parts.append(self.seasonal.slot_frame(slot, rows[kept], stated[kept]))
        return self.seasonal.in_order(parts)

    def _predict_lifetime(self, known: Opens, at: datetime, zones: list[tuple[str, Ints, list[SlotChance]]]) -> Floats:
        """Return, per key of the rhythm, the model's chance within its life from `at` on.

        It is NaN, and the rhythm alone speaks, for a key without an open in all the time looked back on, and for the
        keys of an account that is asleep: nobody has opened one for hours, nor does any as a rule come soon.
        """
        micros = to_micros(at)
        known = known.before(micros)
        expected = np.zeros(len(self.keys))
        for _, rows, slots in zones:
            expected[rows] = sum((chance for _, chance in slots), np.zeros(len(rows)))
        place = self._key_indices(known)
        found = place >= 0
        awake = found & (expected[place] >= MIN_EXPECTED_OPENS)
        awake[np.unique(known.since(micros - RECENT_ACTIVITY // TICK).key)] = True
        stated = np.full(len(self.keys), np.nan)
        stated[place[found]] = predict_in_batches(self.model, known, micros, selected=awake)[1][found]
        return stated

    def _key_indices(self, known: Opens) -> Ints:
        """Return the place of each known key among the rhythm's, -1 for those it does not know."""
        named = pd.MultiIndex.from_frame(self.keys[KEY_COLUMNS])
        asked = pd.MultiIndex.from_arrays([known.account_id, known.date_range, known.report], names=KEY_COLUMNS)
        return np.asarray(named.get_indexer(asked), np.int64)

    def _seasonal_chances(self, name: str, rows: Ints, start: datetime, end: datetime) -> list[SlotChance]:
        """Return the chances by the week alone of the keys at `rows`, of zone `name`; holidays are as quiet as ever."""
        parts: list[SlotChance] = []
        for slot in local_slots(name, start, end):
            share = slot.share * self.model.holidays.get_share(name, slot.start)
            parts.append((slot, np.minimum(self.seasonal.rates(slot.hour_of_week, rows) * share, _SURE)))
        return parts

    def _spread_over_slots(self, slots: list[SlotChance], chance: Floats) -> list[SlotChance]:
        """Tell the chances of the life apart into its slots, so that together they say what the model says."""
        hazards = [-np.log1p(-stated) for _, stated in slots]
        whole, seconds, known = sum(hazards, np.zeros(len(chance))), self.lifetime.total_seconds(), ~np.isnan(chance)
        told = [
            chance_in_part(chance, hazard, whole, (slot.end - slot.start).total_seconds() / seconds)
            for (slot, _), hazard in zip(slots, hazards, strict=True)
        ]
        return [(slot, np.where(known, own, stated)) for (slot, stated), own in zip(slots, told, strict=True)]


def chance_in_part(chance: Floats, hazard: Floats, total_hazard: Floats, length: float) -> Floats:
    """Return the chance of a first open in a part of the time that `chance` is of.

    Args:
        hazard: the rhythm's expected opens in the part.
        whole: those in all of the time.
        length: the part's share of the time.
    """
    own = np.divide(hazard, total_hazard, out=np.full(np.shape(hazard), length), where=total_hazard > 0)
    weight = (1.0 - EVEN_SHARE) * own + EVEN_SHARE * length
    result: Floats = -np.expm1(np.log1p(-np.minimum(chance, _SURE)) * weight)
    return result


def calibrate_slots(parts: list[SlotChance], curve: Calibration) -> list[SlotChance]:
    """Return the parts of a time with chances that together are the calibrated chance of all of it."""
    none = sum((np.log1p(-np.minimum(chance, _SURE)) for _, chance in parts), np.zeros(1))
    wanted = np.log1p(-np.minimum(curve(-np.expm1(none)), _SURE))
    stretch = np.divide(wanted, none, out=np.ones_like(none), where=none < 0)
    return [(slot, -np.expm1(stretch * np.log1p(-np.minimum(chance, _SURE)))) for slot, chance in parts]


def _clipped(parts: list[SlotChance], start: datetime, end: datetime) -> list[SlotChance]:
    """Return what lies in `[start, end)`; a slot that is cut keeps the share of its chance."""
    found = []
    for slot, chance in parts:
        since, until = max(slot.start, start), min(slot.end, end)
        if since < until:
            share = (until - since) / (slot.end - slot.start)
            cut = replace(slot, start=since, end=until, begins_at=slot.begins_at + (since - slot.start) / HOUR)
            found.append((cut, -np.expm1(share * np.log1p(-np.minimum(chance, _SURE)))))
    return found
