"""The simulated platform's data: accounts, their ads, and daily figures restated by their age.

Totals depend only on the seed, the account, the date ranges and the moment: not on the order of calls, and not on which
other ranges are requested. Invariants: reach <= impressions; link clicks <= clicks; the reach of a range is at least
that of its best day and at most the sum of its days; nothing older than 28 days changes.
"""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

import numpy as np

from graph_simulator.ads import (
    AccountProfile,
    Ad,
    AdTruth,
    Days,
    Floats,
    Metric,
    account_profile,
    generate_ad,
    slot_cycle,
)
from graph_simulator.breakdowns import counted_hours, divide, groups_of
from graph_simulator.config import SimulatorConfig, canonical_account
from graph_simulator.date_ranges import DateRange, local_time
from graph_simulator.error_responses import UnknownAd

SETTLE_DAYS = 28
_DELIVERY_BY_AGE = (0.97, 0.985, 0.995)
_REFRESH = timedelta(minutes=15)


@dataclass(frozen=True)
class AdTotals:
    """Totals of every ad of an account over each of some date ranges.

    Attributes:
        totals: integers of shape (metric, window, ad); see `Metric`.
        reach: people reached, of shape (window, ad).
        breakdowns: the fields by which each ad is divided: it is there once for each group.
    """

    account_id: str
    profile: AccountProfile
    windows: tuple[DateRange, ...]
    ads: tuple[Ad, ...]
    totals: Days
    reach: Days
    breakdowns: tuple[str, ...] = ()

    def group(self, index: int) -> dict[str, str]:
        """Return the values of the breakdowns of the ad at `index`."""
        values = groups_of(self.breakdowns).values
        return values[index % len(values)]


class Dataset:
    """All data of the simulated platform. Thread-safe."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        self._fixed = config.account_ids()
        self._requested: set[str] = set()
        self._lock = threading.Lock()

    def exists(self, account: str) -> bool:
        """Whether an account (in canonical form) exists."""
        if self.config.accounts != "any":
            return account in self._fixed
        with self._lock:
            self._requested.add(account)
        return True

    def account_ids(self) -> tuple[str, ...]:
        """Return the accounts that exist; with `accounts="any"`, those requested so far."""
        if self.config.accounts != "any":
            return self._fixed
        with self._lock:
            return tuple(sorted(self._requested))

    def zone_of(self, account: str) -> str:
        """Return the time zone in which `account` counts its days."""
        return self.config.zone_of(account)

    def today(self, account: str, now: datetime) -> date:
        """Return the account's calendar day at `now`."""
        return local_time(now, self.zone_of(account)).date()

    def ad_totals(
        self,
        account: str,
        windows: Sequence[DateRange],
        now: datetime,
        attributed: float = 1.0,
        breakdowns: tuple[str, ...] = (),
    ) -> AdTotals:
        """Return the totals of every ad over each window, as the platform states them at `now`.

        Args:
            attributed: the share of the conversions that the attribution setting counts.
            breakdowns: fields by which each ad is divided.
        """
        first = min(window.since for window in windows).toordinal()
        last = max(window.until for window in windows).toordinal()
        profile = self.profile(account)
        ads = tuple(self._ads_between(profile, first, last))
        daily = self._restated(ads, (first, last), account, now, attributed)
        audience = np.array([ad.audience for ad in ads])
        if breakdowns:
            groups = groups_of(breakdowns)
            is_counted = counted_hours(groups, first, daily.shape[2], self.zone_of(account), now)
            daily = divide(daily, ads, groups, is_counted, first_day=first, seed=self.config.seed)
            audience = np.outer(audience, groups.shares / groups.shares.sum()).ravel()
            ads = tuple(ad for ad in ads for _ in groups.values)
        sums = np.zeros((Metric.COUNT, len(ads), last - first + 2), dtype=np.int64)
        np.cumsum(daily, axis=2, out=sums[:, :, 1:])
        since = [window.since.toordinal() - first for window in windows]
        until = [window.until.toordinal() - first + 1 for window in windows]
        totals = (sums[:, :, until] - sums[:, :, since]).swapaxes(1, 2)
        reach = estimate_reach(totals[Metric.FRESH], audience) if ads else totals[Metric.FRESH]
        return AdTotals(
            account_id=account,
            profile=profile,
            windows=tuple(windows),
            ads=ads,
            totals=totals,
            reach=reach,
            breakdowns=breakdowns,
        )

    def truth(self, account: str, ad_id: str) -> AdTruth:
        """Return the planted truth of an ad.

        Raises:
            UnknownAd: the account has no such ad.
        """
        profile = self.profile(account)
        slot, generation = (int(ad_id[-9:-5]), int(ad_id[-5:])) if ad_id.isdigit() and len(ad_id) == 18 else (0, 0)
        if ad_id != object_id("1", profile, slot, generation) or slot >= profile.slots:
            raise UnknownAd(f"account {account} has no ad {ad_id}")
        return self._ad(profile, slot, generation).truth

    def truths(self, account: str, day: date) -> list[AdTruth]:
        """Return the planted truth of every ad that runs on `day`."""
        ordinal = day.toordinal()
        return [ad.truth for ad in self._ads_between(self.profile(account), ordinal, ordinal)]

    def truths_between(self, account: str, first: date, last: date) -> list[AdTruth]:
        """Return the planted truth of every ad that runs between `first` and `last`, and started by `last`."""
        ads = self._ads_between(self.profile(account), first.toordinal(), last.toordinal())
        return [ad.truth for ad in ads if ad.truth.started <= last]

    def active_ads(self, account: str) -> int:
        """Return the number of ads that an account runs at the same time."""
        return self.profile(account).slots

    def account_with_part(self, part: str) -> str | None:
        """Return the account whose objects have the digits `part` in their ids; None when there is none."""
        seed = self.config.seed
        return next((name for name in self.account_ids() if account_part(seed, int(name[4:])) == part), None)

    def profile(self, account: str) -> AccountProfile:
        """Return the parameters that all ads of `account` share."""
        return _profile(self.config.seed, int(canonical_account(account)[4:]), self.config.ads, self.config.decoys)

    def _ad(self, profile: AccountProfile, slot: int, generation: int) -> Ad:
        length, phase = _cycle(profile, slot)
        ad_id = object_id("1", profile, slot, generation)
        return generate_ad(
            profile, ad_id, slot, generation=generation, first_day=phase + generation * length, cycle=length
        )

    def _ads_between(self, profile: AccountProfile, first: int, last: int) -> list[Ad]:
        ads = []
        for slot in range(profile.slots):
            length, phase = _cycle(profile, slot)
            for generation in range((first - phase) // length, (last - phase) // length + 1):
                ad = self._ad(profile, slot, generation)
                if ad.truth.ended.toordinal() >= first:
                    ads.append(ad)
        return ads

    def _restated(
        self, ads: Sequence[Ad], span: tuple[int, int], account: str, now: datetime, attributed: float
    ) -> Days:
        """Return figures of shape (metric, ad, day) from the first to the last ordinal day of `span`, as of `now`."""
        first, last = span
        daily = np.zeros((Metric.COUNT, len(ads), last - first + 1), dtype=np.int64)
        for index, ad in enumerate(ads):
            first_day = ad.truth.started.toordinal()
            start, stop = max(first, first_day), min(last + 1, first_day + ad.daily.shape[1])
            daily[:, index, start - first : stop - first] = ad.daily[:, start - first_day : stop - first_day]
        delivered, converted = self._stated_shares(first, last, account, now)
        split = Metric.FIRST_CONVERSION
        restated = np.empty_like(daily)
        restated[:split] = np.floor(daily[:split] * delivered)
        restated[split:] = np.floor(daily[split:] * (converted * attributed))
        restated[Metric.FRESH] = np.maximum(restated[Metric.FRESH], np.minimum(restated[Metric.IMPRESSIONS], 1))
        return restated

    def _stated_shares(self, first: int, last: int, account: str, now: datetime) -> tuple[Floats, Floats]:
        """Return, by day, the shares of its final delivery and of its final conversions that are stated at `now`."""
        local = local_time(now, self.zone_of(account))
        today = local.date().toordinal()
        elapsed = (local.hour * 60 + local.minute) // (_REFRESH.seconds // 60) * _REFRESH.seconds / 86_400
        age = today - np.arange(first, last + 1)
        delivered = np.ones(len(age))
        for days, share in enumerate(_DELIVERY_BY_AGE):
            delivered[age == days] = share
        # Today's figures grow in steps of a quarter of an hour, as the platform refreshes them.
        delivered[age == 0] *= elapsed
        delivered[age < 0] = 0.0
        grown = (1 - np.exp(-np.clip(age, 0, SETTLE_DAYS) / 6)) / (1 - np.exp(-SETTLE_DAYS / 6))
        return delivered, np.where(age >= SETTLE_DAYS, 1.0, (0.55 + 0.45 * grown) * delivered)


def estimate_reach(impressions: Days, audience: Floats) -> Days:
    """Return how many people of an audience see at least one of so many impressions.

    The estimate is `audience * (1 - exp(-impressions / audience))`, rounded up. It is concave, so the reach of a range
    never exceeds the sum of its days.
    """
    reached: Days = np.ceil(-audience * np.expm1(-impressions / audience)).astype(np.int64)
    return np.minimum(reached, impressions)


def object_id(kind: str, profile: AccountProfile, slot: int, generation: int = 0) -> str:
    """Return the 18-digit id of an ad (kind 1), ad set (2) or campaign (3)."""
    return f"{kind}{account_part(profile.seed, profile.number)}{slot:04d}{generation:05d}"


@lru_cache(maxsize=4096)
def account_part(seed: int, number: int) -> str:
    """Return the 8 digits that the ids of all objects of an account share."""
    digest = hashlib.sha256(f"{seed}:{number}".encode()).digest()
    return f"{int.from_bytes(digest[:8]) % 10**8:08d}"


@lru_cache(maxsize=4096)
def _profile(seed: int, number: int, ads: int, decoys: float) -> AccountProfile:
    return account_profile(seed, number, ads, decoys)


@lru_cache(maxsize=65_536)
def _cycle(profile: AccountProfile, slot: int) -> tuple[int, int]:
    return slot_cycle(profile, slot)
