"""Simulated ads with known truth, for measuring scores and alarms of fatigue.

The click probability of an ad on day `t` is `p = ctr * weekday * market * noise * wear`:

- `ctr`: of the ad, lognormal around 1.2 %, log-sd .25 within an account;
- `weekday`: seven factors of the account, log-sd .05; `market`: of the account and day, an AR(1) on the log scale
  (coefficient .9, stationary sd `market_sd`) plus a yearly season;
- `noise`: lognormal, independent by day, log-sd `noise_sd` (.115 is the median of real series, .06 a calm one);
- `wear = (1 + N) ** exponent` with `N = growth * (t - onset + 1)` earlier exposures per person since the onset, 0
  before it. `growth` is exposures per person and day, uniform in .4 to .8 by default; the exponent is -0.20 (a
  within-user analysis of 16.5 million impressions) or -0.43 (attributed to a study of Meta).

Impressions a day are lognormal around the ad's own level (median 8,000, log-sd .8) with daily log-sd .25 and a weekday
rhythm. Clicks are binomial. The price of a thousand impressions is lognormal and rises with wear only a little, as the
auction ranks a less clicked ad lower. Reach and frequency follow from the exposures.
"""

from dataclasses import dataclass, replace
from datetime import date
from typing import Final

import numpy as np

from adwarm.fatigue.panel import AdPanel, FloatArray, empty_figures

FIRST_DAY: Final = date(2026, 1, 5)
DECOYS: Final = (
    "budget_cut",
    "price_shock",
    "weekend_dip",
    "low_volume",
    "creative_swap",
    "audience_switch",
)
"""Healthy changes that are easily taken for fatigue."""


@dataclass(frozen=True, slots=True)
class SimulationSettings:
    """What is simulated.

    Attributes:
        ads: number of ads, in accounts of `ads_per_account`.
        days: days of each ad.
        exponent: of the wear law.
        noise_sd: log-sd of the daily noise of the click probability.
        market_sd: stationary log-sd of the moves that all ads of an account share.
        growth: exposures per person and day after the onset, lowest and highest.
        fatigued: share of ads with an onset, which is uniform in days 30 to 75 of 90.
        decoy: a kind of `DECOYS` that every healthy ad has; None for none.
    """

    ads: int = 5_000
    days: int = 90
    exponent: float = -0.20
    noise_sd: float = 0.115
    market_sd: float = 0.05
    growth: tuple[float, float] = (0.4, 0.8)
    fatigued: float = 0.5
    ads_per_account: int = 20
    decoy: str | None = None


@dataclass(frozen=True, slots=True)
class SimulatedAds:
    """Simulated ads and the truth about them.

    Attributes:
        panel: what a calculator sees.
        onset: per ad, the index of the first day of wear; -1 for a healthy ad.
        healthy_rate: ads x days, the click probability without noise and wear, which only an oracle knows.
        wear: ads x days, the planted factor on it.
        frequency: ads x days, impressions per person in the seven days up to each day.
    """

    panel: AdPanel
    onset: np.ndarray
    healthy_rate: FloatArray
    wear: FloatArray
    frequency: FloatArray
    settings: SimulationSettings


def simulate_ads(seed: int, settings: SimulationSettings) -> SimulatedAds:
    """Return the ads of a seed; equal arguments give equal ads."""
    rng = np.random.default_rng(seed)
    ads, days = settings.ads, settings.days
    account = np.arange(ads) // settings.ads_per_account
    accounts = int(account[-1]) + 1
    weekday = (np.arange(days) + FIRST_DAY.weekday()) % 7
    shared = _market(rng, accounts, days, settings.market_sd) + rng.normal(0, 0.05, (accounts, 7))[:, weekday]
    ctr = 0.012 * np.exp(rng.normal(0, 0.25, (accounts, 1)))[account] * np.exp(rng.normal(0, 0.25, (ads, 1)))
    healthy = ctr * np.exp(shared[account])
    level = 8_000 * np.exp(rng.normal(0, 0.8, (ads, 1)))
    traffic = level * np.exp(rng.normal(0, 0.25, (ads, days)) + rng.normal(0, 0.15, (accounts, 7))[:, weekday][account])
    onset = np.where(rng.random(ads) < settings.fatigued, rng.integers(days // 3, days - days // 6, ads), -1)
    growth = rng.uniform(*settings.growth, (ads, 1))
    since = np.maximum(0, np.arange(days) - onset[:, None] + 1) * (onset[:, None] >= 0)
    wear = (1 + growth * since) ** settings.exponent
    price = 6 * np.exp(rng.normal(0, 0.3, (accounts, 1)))[account] * np.exp(rng.normal(0, 0.08, (ads, days)))
    frequency = 1.2 + growth * np.minimum(since, 7) + rng.normal(0, 0.05, (ads, days))
    if settings.decoy is not None:
        _apply_decoy(rng, settings.decoy, onset < 0, traffic, healthy, price, frequency)
    impressions = np.maximum(1, np.round(traffic))
    rate = np.clip(healthy * wear * np.exp(rng.normal(0, settings.noise_sd, (ads, days))), 0, 0.5)
    clicks = rng.binomial(impressions.astype(np.int64), rate).astype(float)
    spend = np.round(impressions / 1000 * price * wear**-0.3, 2)
    names = tuple(f"act_{number + 1:06d}" for number in account)
    panel = AdPanel(
        account_ids=names,
        ad_ids=tuple(f"{number + 1:09d}" for number in range(ads)),
        first_day=FIRST_DAY,
        impressions=impressions,
        clicks=clicks,
        spend=spend,
        results=empty_figures(ads, days),
        is_stored=np.ones((ads, days), bool),
        clicks_from=("clicks",) * ads,
    )
    return SimulatedAds(panel, onset, healthy, wear, np.maximum(1.0, frequency), settings)


def permute_days(panel: AdPanel, seed: int) -> AdPanel:
    """Return the panel with the days of each ad in random order, so that nothing changes over time.

    Only days with delivery change places; impressions, clicks and spend of a day stay together.
    """
    rng = np.random.default_rng(seed)
    figures = [np.array(values) for values in (panel.impressions, panel.clicks, panel.spend, panel.results)]
    for ad in range(len(panel.ad_ids)):
        delivered = np.flatnonzero(panel.impressions[ad] > 0)
        order = rng.permutation(delivered)
        for values in figures:
            values[ad, delivered] = values[ad, order]
    impressions, clicks, spend, results = figures
    return replace(panel, impressions=impressions, clicks=clicks, spend=spend, results=results)


def _market(rng: np.random.Generator, accounts: int, days: int, sd: float) -> FloatArray:
    moves = rng.normal(0, 1, (accounts, days))
    values = np.empty((accounts, days))
    values[:, 0] = moves[:, 0]
    for day in range(1, days):
        values[:, day] = 0.9 * values[:, day - 1] + np.sqrt(1 - 0.9**2) * moves[:, day]
    season = 0.05 * np.sin(2 * np.pi * (np.arange(days) / 365 + rng.random((accounts, 1))))
    market: FloatArray = sd * values + season
    return market


def _apply_decoy(
    rng: np.random.Generator,
    decoy: str,
    healthy_ads: np.ndarray,
    traffic: FloatArray,
    healthy: FloatArray,
    price: FloatArray,
    frequency: FloatArray,
) -> None:
    """Change what healthy ads deliver from a random day in the middle on, in place."""
    ads, days = traffic.shape
    start = rng.integers(days // 3, 2 * days // 3, ads)
    after = (np.arange(days) >= start[:, None]) & healthy_ads[:, None]
    weekend = np.isin((np.arange(days) + FIRST_DAY.weekday()) % 7, (5, 6)) & healthy_ads[:, None]
    if decoy == "budget_cut":
        traffic *= np.where(after, 0.35, 1.0)
    elif decoy == "price_shock":
        price *= np.where(after, 1.5, 1.0)
        traffic *= np.where(after, 0.7, 1.0)
    elif decoy == "weekend_dip":
        healthy *= np.where(weekend, 0.75, 1.0)
        traffic *= np.where(weekend, 0.5, 1.0)
    elif decoy == "low_volume":
        traffic *= np.where(healthy_ads[:, None], 0.02, 1.0)
    elif decoy == "creative_swap":
        healthy *= np.where(after, np.exp(rng.normal(0, 0.25, (ads, 1))), 1.0)
    elif decoy == "audience_switch":
        healthy *= np.where(after, np.exp(rng.normal(0, 0.2, (ads, 1))), 1.0)
        frequency -= np.where(after, 0.2, 0.0)
    else:
        raise ValueError(f"no such decoy: {decoy}; known: {', '.join(DECOYS)}")
