"""The adwarm model at work: chances of the coming life by what was opened lately, told apart into hours by the week.

The model says how likely a first open is within the life of an entry fetched now. The key's own weekly rhythm says when
in that time, and goes on after it. Without recent opens the rhythm alone speaks.
"""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from adwarm.access_log.timestamps import to_micros
from adwarm.forecast.batch_predict import predict_in_batches
from adwarm.forecast.features.grid import SLOT_MICROS
from adwarm.forecast.models.boosted_model import HISTORY_MICROS, BoostedModel
from adwarm.forecast.models.calibration import Calibration
from adwarm.forecast.models.seasonal import FEATURES, FLOOR, SeasonalForecast
from adwarm.forecast.protocol import KEY_COLUMNS, RecentOpens
from adwarm.forecast.serialization import decode_model, encode_model
from adwarm.foundation.arrow_arrays import Floats, Ints
from adwarm.foundation.clock import utc
from adwarm.foundation.local_time import LocalSlot, local_slots
from adwarm.patterns.opens import Opens

KIND = "adwarm"
VERSION = "4"
EVEN = 0.2
"""Share of a chance that is spread evenly over its hours: people also come at hours they never came at before."""
ASLEEP = 0.01
"""Opens expected within the life below which a key alone does not keep its account awake."""
AWAKE_FOR = timedelta(hours=3)
TICK = timedelta(microseconds=1)
_SURE = 1.0 - 1e-9
HOUR = timedelta(hours=1)

SlotChance = tuple[LocalSlot, Floats]
"""A part of an hour, and the chance of a first open in it per key."""


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
    curve: Calibration = field(default_factory=Calibration)
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
        parts = {"id": self.id, "model": self.model, "rhythm": self.seasonal.to_bytes(), "curve": self.curve}
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
    def life(self) -> timedelta:
        """The time its chances are of."""
        return timedelta(microseconds=self.model.reach.life * SLOT_MICROS)

    def predict(
        self, start: datetime, horizon: timedelta, recent: RecentOpens | None = None, *, floor: float = FLOOR
    ) -> pd.DataFrame:
        """Return the chance of a first open per key and reader's hour; see the protocol.

        The model speaks as of `recent.until`. What it says of the time since then is left out; when that is all of its
        life, the rhythm alone speaks.
        """
        start = utc(start)
        end, seen = start + horizon, min(utc(recent.until), start) if recent else start - self.life
        told_until = max(seen + self.life, start)
        zones = [(name, rows, self._rhythm(name, rows, seen, told_until)) for name, rows in self.seasonal.zones()]
        silent = np.full(len(self.keys), np.nan)
        model = self._told(recent.opens, seen, zones) if recent and told_until > start else silent
        parts: list[pd.DataFrame] = []
        for name, rows, slots in zones:
            told = calibrate_slots(_clipped(self._shared_out(slots, model[rows]), start, end), self.curve)
            later = _clipped(self._rhythm(name, rows, told_until, end), start, end)
            for slot, stated in [*told, *later]:
                kept = stated > floor
                parts.append(self.seasonal.slot_frame(slot, rows[kept], stated[kept]))
        return self.seasonal.in_order(parts)

    def _told(self, known: Opens, at: datetime, zones: list[tuple[str, Ints, list[SlotChance]]]) -> Floats:
        """Return, per key of the rhythm, the model's chance within its life from `at` on.

        It is NaN, and the rhythm alone speaks, for a key without an open in all the time looked back on, and for the
        keys of an account that is asleep: nobody has opened one for hours, nor does any as a rule come soon.
        """
        micros = to_micros(at)
        known = known.before(micros)
        expected = np.zeros(len(self.keys))
        for _, rows, slots in zones:
            expected[rows] = sum((chance for _, chance in slots), np.zeros(len(rows)))
        place = self._places(known)
        found = place >= 0
        awake = found & (expected[place] >= ASLEEP)
        awake[np.unique(known.since(micros - AWAKE_FOR // TICK).key)] = True
        stated = np.full(len(self.keys), np.nan)
        stated[place[found]] = predict_in_batches(self.model, known, micros, selected=awake)[1][found]
        return stated

    def _places(self, known: Opens) -> Ints:
        """Return the place of each known key among the rhythm's, -1 for those it does not know."""
        named = pd.MultiIndex.from_frame(self.keys[KEY_COLUMNS])
        asked = pd.MultiIndex.from_arrays([known.account_id, known.date_range, known.report], names=KEY_COLUMNS)
        return np.asarray(named.get_indexer(asked), np.int64)

    def _rhythm(self, name: str, rows: Ints, start: datetime, end: datetime) -> list[SlotChance]:
        """Return the chances by the week alone of the keys at `rows`, of zone `name`; holidays are as quiet as ever."""
        parts: list[SlotChance] = []
        for slot in local_slots(name, start, end):
            share = slot.share * self.model.holidays.get_share(name, slot.start)
            parts.append((slot, np.minimum(self.seasonal.rates(slot.hour_of_week, rows) * share, _SURE)))
        return parts

    def _shared_out(self, slots: list[SlotChance], chance: Floats) -> list[SlotChance]:
        """Tell the chances of the life apart into its slots, so that together they say what the model says."""
        hazards = [-np.log1p(-stated) for _, stated in slots]
        whole, seconds, known = sum(hazards, np.zeros(len(chance))), self.life.total_seconds(), ~np.isnan(chance)
        told = [
            chance_in_part(chance, hazard, whole, (slot.end - slot.start).total_seconds() / seconds)
            for (slot, _), hazard in zip(slots, hazards, strict=True)
        ]
        return [(slot, np.where(known, own, stated)) for (slot, stated), own in zip(slots, told, strict=True)]


def chance_in_part(chance: Floats, hazard: Floats, whole: Floats, length: float) -> Floats:
    """Return the chance of a first open in a part of the time that `chance` is of.

    Args:
        hazard: the rhythm's expected opens in the part.
        whole: those in all of the time.
        length: the part's share of the time.
    """
    own = np.divide(hazard, whole, out=np.full(np.shape(hazard), length), where=whole > 0)
    weight = (1.0 - EVEN) * own + EVEN * length
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
