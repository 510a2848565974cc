"""The simulated platform's data: every account, ad and day, restated by its age, in the same figures for every asker.

What a block holds depends only on (seed, account, windows, now): not on the order of calls, and a window's totals do
not depend on which other windows were asked for. Invariants: reach <= impressions, link clicks <= clicks, the reach of
a span is at least that of its best day and at most the sum of its days, and nothing older than 28 days changes.
"""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from adwarm.foundation.clock import utc
from adwarm.foundation.errors import NotFound
from adwarm.foundation.local_time import local_day, zone
from adwarm.model import Window, normalize_account_id
from graph_simulator.ads import (
    AccountProfile,
    Ad,
    AdTruth,
    Days,
    Metric,
    account_profile,
    grow_ad,
    slot_cycle,
)
from graph_simulator.config import SimulatorConfig

Floats = npt.NDArray[np.float64]
SETTLE_DAYS = 28
_DELIVERY_BY_AGE = (0.97, 0.985, 0.995)
_REFRESH = timedelta(minutes=15)


@dataclass(frozen=True)
class Block:
    """Totals of every ad of an account over each of some windows.

    Attributes:
        totals: integers by metric, window and ad (see `Metric`).
        reach: people reached, by window and ad.
    """

    account_id: str
    profile: AccountProfile
    windows: tuple[Window, ...]
    ads: tuple[Ad, ...]
    totals: Days
    reach: Days


class World:
    """Everything that is true on the simulated platform. Safe to read from several threads."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        self._fixed = config.account_ids()
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def exists(self, account: str) -> bool:
        """Whether there is such an account; `account` is in canonical form."""
        if self.config.accounts != "any":
            return account in self._fixed
        with self._lock:
            self._seen.add(account)
        return True

    def account_ids(self) -> tuple[str, ...]:
        """The accounts there are; when any exists, those that were asked for so far."""
        if self.config.accounts != "any":
            return self._fixed
        with self._lock:
            return tuple(sorted(self._seen))

    def zone_of(self, account: str) -> str:
        """The zone in which `account` counts its days."""
        return self.config.zone_of(account)

    def today(self, account: str, now: datetime) -> date:
        """The account's calendar day at `now`."""
        return local_day(now, self.zone_of(account))

    def block(self, account: str, windows: Sequence[Window], now: datetime) -> Block:
        """Return every ad's totals over each window, as the platform would state them at `now`."""
        first = min(window.since for window in windows).toordinal()
        last = max(window.until for window in windows).toordinal()
        profile = self.profile(account)
        ads = tuple(self._ads_between(profile, first, last))
        daily = self._restated(ads, first, last, account, now)
        sums = np.zeros((Metric.COUNT, len(ads), last - first + 2), dtype=np.int64)
        np.cumsum(daily, axis=2, out=sums[:, :, 1:])
        since = [window.since.toordinal() - first for window in windows]
        until = [window.until.toordinal() - first + 1 for window in windows]
        totals = (sums[:, :, until] - sums[:, :, since]).swapaxes(1, 2)
        audience = np.array([ad.audience for ad in ads])
        reach = people(totals[Metric.FRESH], audience) if ads else totals[Metric.FRESH]
        return Block(account, profile, tuple(windows), ads, totals, reach)

    def truth(self, account: str, ad_id: str) -> AdTruth:
        """Return the planted truth of an ad.

        Raises:
            NotFound: the account has no such ad.
        """
        profile = self.profile(account)
        slot, generation = (int(ad_id[-9:-5]), int(ad_id[-5:])) if ad_id.isdigit() and len(ad_id) == 18 else (0, 0)
        if ad_id != object_id("1", profile, slot, generation) or slot >= profile.slots:
            raise NotFound(f"account {account} has no ad {ad_id}")
        return self._ad(profile, slot, generation).truth

    def truths(self, account: str, day: date) -> list[AdTruth]:
        """Return the planted truth of every ad that is alive on `day`."""
        ordinal = day.toordinal()
        return [ad.truth for ad in self._ads_between(self.profile(account), ordinal, ordinal)]

    def truths_between(self, account: str, first: date, last: date) -> list[AdTruth]:
        """Return the planted truth of every ad that is alive on a day from `first` to `last`, and began by then."""
        found = self._ads_between(self.profile(account), first.toordinal(), last.toordinal())
        return [ad.truth for ad in found if ad.truth.started <= last]

    def active_ads(self, account: str) -> int:
        """Return how many ads an account runs at the same time."""
        return self.profile(account).slots

    def account_by_part(self, part: str) -> str | None:
        """Return the account whose objects' ids hold the digits `part`; None when no known account's do."""
        seed = self.config.seed
        return next((name for name in self.account_ids() if account_part(seed, int(name[4:])) == part), None)

    def profile(self, account: str) -> AccountProfile:
        """Return what all ads of `account` share."""
        return _profile(self.config.seed, int(normalize_account_id(account)[4:]), self.config.ads, self.config.decoys)

    def _ad(self, profile: AccountProfile, slot: int, generation: int) -> Ad:
        length, phase = _cycle(profile, slot)
        ad_id = object_id("1", profile, slot, generation)
        return grow_ad(profile, ad_id, slot, generation, phase + generation * length, length)

    def _ads_between(self, profile: AccountProfile, first: int, last: int) -> list[Ad]:
        found = []
        for slot in range(profile.slots):
            length, phase = _cycle(profile, slot)
            for generation in range((first - phase) // length, (last - phase) // length + 1):
                ad = self._ad(profile, slot, generation)
                if ad.truth.ended.toordinal() >= first:
                    found.append(ad)
        return found

    def _restated(self, ads: Sequence[Ad], first: int, last: int, account: str, now: datetime) -> Days:
        """Return figures by metric, ad and day of the span, as they stand at `now`."""
        daily = np.zeros((Metric.COUNT, len(ads), last - first + 1), dtype=np.int64)
        for index, ad in enumerate(ads):
            born = ad.truth.started.toordinal()
            start, stop = max(first, born), min(last + 1, born + ad.daily.shape[1])
            daily[:, index, start - first : stop - first] = ad.daily[:, start - born : stop - born]
        delivered, converted = self._known(first, last, account, now)
        split = Metric.FIRST_CONVERSION
        restated = np.empty_like(daily)
        restated[:split] = np.floor(daily[:split] * delivered)
        restated[split:] = np.floor(daily[split:] * converted)
        restated[Metric.FRESH] = np.maximum(restated[Metric.FRESH], np.minimum(restated[Metric.IMPRESSIONS], 1))
        return restated

    def _known(self, first: int, last: int, account: str, now: datetime) -> tuple[Floats, Floats]:
        """Return, for each day, the shares of its final delivery and of its final conversions known at `now`."""
        local = utc(now).astimezone(zone(self.zone_of(account)))
        today = local.date().toordinal()
        elapsed = (local.hour * 60 + local.minute) // (_REFRESH.seconds // 60) * _REFRESH.seconds / 86_400
        age = today - np.arange(first, last + 1)
        delivered = np.ones(len(age))
        for days, share in enumerate(_DELIVERY_BY_AGE):
            delivered[age == days] = share
        delivered[age == 0] *= elapsed
        delivered[age < 0] = 0.0
        grown = (1 - np.exp(-np.clip(age, 0, SETTLE_DAYS) / 6)) / (1 - np.exp(-SETTLE_DAYS / 6))
        return delivered, np.where(age >= SETTLE_DAYS, 1.0, (0.55 + 0.45 * grown) * delivered)


def people(impressions: Days, audience: Floats) -> Days:
    """Return how many of `audience` people so many impressions reach; concave, so spans never exceed their days."""
    reached: Days = np.ceil(-audience * np.expm1(-impressions / audience)).astype(np.int64)
    return np.minimum(reached, impressions)


def object_id(kind: str, profile: AccountProfile, slot: int, generation: int = 0) -> str:
    """Return the 18 digits of an ad (kind 1), ad set (2) or campaign (3)."""
    return f"{kind}{account_part(profile.seed, profile.number)}{slot:04d}{generation:05d}"


@lru_cache(maxsize=4096)
def account_part(seed: int, number: int) -> str:
    """Return the digits that the ids of all objects of an account share."""
    digest = hashlib.sha256(f"{seed}:{number}".encode()).digest()
    return f"{int.from_bytes(digest[:8]) % 10**8:08d}"


@lru_cache(maxsize=4096)
def _profile(seed: int, number: int, ads: int, decoys: float) -> AccountProfile:
    return account_profile(seed, number, ads, decoys)


@lru_cache(maxsize=65_536)
def _cycle(profile: AccountProfile, slot: int) -> tuple[int, int]:
    return slot_cycle(profile, slot)
