"""Generated ads: what an ad delivers on each day of its life, and whether its audience tires of it.

Each ad has a random stream of its own (seed, account, slot, generation), so its figures do not depend on earlier calls.
Daily figures are final integers; `dataset` restates them by age.

Click rates of fatigued ads follow the wear law `(1 + 2 * exposures per person) ** -0.43`.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Days = npt.NDArray[np.int64]
StoredDays = npt.NDArray[np.int32]
"""Half of the memory, of which a simulator's thousands of ads take most. Sums are of 64 bits."""
Floats = npt.NDArray[np.float64]
WEAR_EXPONENT = -0.43
_KIND_SHARES = (0.40, 0.35, 0.13, 0.12)
SLOTS_OF_CAMPAIGN = 4
_GOALS = ("sales", "leads", "traffic", "sales")


class AdKind(StrEnum):
    """The kind of an ad: what is planted in its figures."""

    HEALTHY = "healthy"
    FATIGUED = "fatigued"
    LOW_VOLUME = "low_volume"
    WEEKEND_DIP = "weekend_dip"
    BUDGET_CUT = "budget_cut"
    PRICE_SHOCK = "price_shock"


DECOYS = (AdKind.BUDGET_CUT, AdKind.PRICE_SHOCK)
_REMAINING_BUDGET, _PRICE_RISE = 0.35, 1.6


class Metric:
    """Rows of an ad's `daily` matrix."""

    IMPRESSIONS, FRESH, CLICKS, LINK_CLICKS, SPEND_CENTS, LANDINGS, CARTS, PURCHASES, LEADS = range(9)
    COUNT = 9
    FIRST_CONVERSION = LANDINGS


@dataclass(frozen=True, slots=True)
class AdTruth:
    """The planted truth of an ad: the label against which a fatigue score is evaluated.

    Attributes:
        onset: the day from which its audience tires; None when it never does.
        turn: the day of a budget cut or a price rise, which do not tire the audience; None when there is none.
    """

    ad_id: str
    kind: AdKind
    started: date
    ended: date
    onset: date | None
    turn: date | None = None


@dataclass(frozen=True, slots=True)
class AccountProfile:
    """The parameters that all ads of an account share."""

    number: int
    seed: int
    slots: int
    cpm: float
    ctr: float
    weekend: float
    audience: float
    decoys: float = 0.0


@dataclass(frozen=True, slots=True)
class Ad:
    """An ad: identity, size of its audience, and final daily figures of shape (metric, day of life)."""

    truth: AdTruth
    slot: int
    generation: int
    audience: float
    daily: StoredDays


@dataclass(frozen=True, slots=True)
class _Shape:
    """What decides the daily figures of one ad: its length and onset in days, impressions a day, and people."""

    kind: AdKind
    first_day: int
    days: int
    onset: int | None
    impressions: float
    audience: float
    has_leads: bool


def goal_of(campaign: int) -> str:
    """Return what the campaign with this index in its account is optimized for: sales, leads or traffic."""
    return _GOALS[campaign % len(_GOALS)]


def account_profile(seed: int, number: int, ads: int, decoys: float = 0.0) -> AccountProfile:
    """Draw the parameters of account `number`; `decoys` is the share of healthy ads with a budget cut or price rise."""
    rng = np.random.default_rng([seed, number])
    return AccountProfile(
        number=number,
        seed=seed,
        slots=max(1, round(ads * rng.uniform(0.75, 1.25))),
        cpm=float(rng.lognormal(np.log(9.5), 0.25)),
        ctr=float(rng.lognormal(np.log(0.014), 0.25)),
        weekend=float(rng.uniform(0.8, 1.1)),
        audience=float(rng.lognormal(np.log(60_000), 0.4)) * ads,
        decoys=decoys,
    )


def slot_cycle(profile: AccountProfile, slot: int) -> tuple[int, int]:
    """Return the length in days and the phase of a slot's cycle; each cycle has one ad."""
    rng = np.random.default_rng([profile.seed, profile.number, slot])
    length = int(rng.integers(40, 111))
    return length, int(rng.integers(0, length))


@lru_cache(maxsize=32_768)
def generate_ad(profile: AccountProfile, ad_id: str, slot: int, generation: int, first_day: int, cycle: int) -> Ad:
    """Return the ad of a slot's `generation`. Its cycle of `cycle` days starts on the ordinal day `first_day`."""
    rng = np.random.default_rng([profile.seed, profile.number, slot, generation + 1])
    kind = list(AdKind)[int(rng.choice(len(_KIND_SHARES), p=_KIND_SHARES))]
    life = max(20, int(cycle * rng.uniform(0.75, 1.0)))
    onset = int(life * rng.uniform(0.4, 0.7)) if kind is AdKind.FATIGUED else None
    base = rng.uniform(20, 120) if kind is AdKind.LOW_VOLUME else rng.lognormal(np.log(2_600), 0.8)
    audience = base * (rng.uniform(4, 7) if onset is not None else rng.uniform(5, 16))
    daily = _daily(
        rng,
        profile,
        _Shape(
            kind=kind,
            first_day=first_day,
            days=life,
            onset=onset,
            impressions=float(base),
            audience=float(audience),
            has_leads=goal_of(slot // SLOTS_OF_CAMPAIGN) == "leads",
        ),
    )
    turn = None
    if kind is AdKind.HEALTHY and profile.decoys:
        kind, turn, daily = _decoy(profile, slot, generation, daily)
    truth = AdTruth(
        ad_id=ad_id,
        kind=kind,
        started=date.fromordinal(first_day),
        ended=date.fromordinal(first_day + life - 1),
        onset=None if onset is None else date.fromordinal(first_day + onset),
        turn=None if turn is None else date.fromordinal(first_day + turn),
    )
    return Ad(truth, slot, generation, float(audience), daily)


def _decoy(
    profile: AccountProfile, slot: int, generation: int, daily: StoredDays
) -> tuple[AdKind, int | None, StoredDays]:
    """Turn a healthy ad into a decoy, or leave it as it is; return kind, day of the turn, and daily figures."""
    # A random stream of its own: switching decoys on must not change the figures of any other ad.
    rng = np.random.default_rng([profile.seed, profile.number, slot, generation, 1])
    if rng.random() >= profile.decoys:
        return AdKind.HEALTHY, None, daily
    kind = DECOYS[int(rng.integers(len(DECOYS)))]
    turn = int(daily.shape[1] * rng.uniform(0.4, 0.7))
    changed = daily.astype(float)
    if kind is AdKind.BUDGET_CUT:
        changed[:, turn:] *= _REMAINING_BUDGET
    else:
        changed[Metric.SPEND_CENTS, turn:] *= _PRICE_RISE
    whole = np.floor(changed).astype(np.int32)
    whole[Metric.FRESH] = np.maximum(whole[Metric.FRESH], np.minimum(whole[Metric.IMPRESSIONS], 1))
    return kind, turn, whole


def _wear(impressions: Days, tired: npt.NDArray[np.float64], audience: float) -> npt.NDArray[np.float64]:
    """Return the share of the click rate that is left, given the days since the onset."""
    exposures = np.cumsum(np.where(tired > 0, impressions, 0)) / audience
    left: npt.NDArray[np.float64] = (1 + 2 * exposures) ** WEAR_EXPONENT
    return left


def _price_rise(tired: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    rise: npt.NDArray[np.float64] = 1 + 0.6 * (1 - np.exp(-tired / 15))
    return rise


def _daily(rng: np.random.Generator, profile: AccountProfile, shape: _Shape) -> StoredDays:
    """Draw the figures of one ad, day by day. The order of the draws is part of what a seed means."""
    life = shape.days
    days = np.arange(life)
    weekend = (shape.first_day + days) % 7 % 6 == 0  # ordinal % 7 is 6 on Saturdays and 0 on Sundays
    weekend_volume = 0.3 if shape.kind is AdKind.WEEKEND_DIP else profile.weekend
    expected = shape.impressions * np.where(weekend, weekend_volume, 1.0) * rng.lognormal(0, 0.12, life)
    impressions = rng.poisson(expected)
    tired = np.zeros(life) if shape.onset is None else np.maximum(0, days - shape.onset).astype(float)
    wear = _wear(impressions, tired, shape.audience)
    ctr = profile.ctr * rng.lognormal(0, 0.25) * wear * rng.lognormal(0, 0.06, life)
    cpm = profile.cpm * rng.lognormal(0, 0.2) * _price_rise(tired) * rng.lognormal(0, 0.05, life)
    fresh = np.floor(impressions * (0.4 + 0.6 * np.exp(-tired / 10))).astype(np.int64)
    clicks = rng.binomial(impressions, np.clip(ctr, 0, 0.5))
    links = rng.binomial(clicks, 0.6)
    landings = rng.binomial(links, 0.77)
    carts = rng.binomial(landings, 0.15)
    return np.stack([
        impressions,
        np.maximum(fresh, np.minimum(impressions, 1)),
        clicks,
        links,
        np.round(impressions * cpm / 10).astype(np.int64),
        landings,
        carts,
        rng.binomial(carts, 0.33),
        carts * shape.has_leads,
    ]).astype(np.int32)
