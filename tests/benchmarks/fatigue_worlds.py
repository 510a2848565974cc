"""Worlds of ads that do not wear out, and of ads that do, to test what the alarm and the score of fatigue promise.

Click-through rates have memory, heavy tails, gaps and moves of volume, which independent days do not have. Every ad is
drawn with a usual rate of about 1.2 % and a usual delivery. Beside them are real daily series without labels, when
their file is there: an ad is usable with 60 days of delivery and 500 clicks. With each ad's days in random order
nothing changes over time.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np

from adwarm.fatigue.panel import AdPanel, FloatArray, empty_figures

FIRST_DAY: Final = date(2026, 1, 1)
NOISE_SD: Final = 0.115
DAILY: Final = 8_000
Noise = Callable[[np.random.Generator, int, int], FloatArray]
"""Draws ads x days of log rates around the usual one."""


@dataclass(frozen=True, slots=True)
class World:
    """How ads behave.

    Attributes:
        name: in tables.
        noise: log rates around the usual one.
        ads_per_account: ads that share an account.
        impressions: usual impressions a day.
        volume_power: the rate changes with this power of the day's delivery.
        volume_sd: log-sd of the delivery of a day, half of which lasts.
        gaps: whether a tenth of the days, and some spans of days, have no delivery.
        market_sd: log-sd of moves that the ads of an account share, correlated .9 from day to day.
        days: days that are drawn; None for the length that is asked for.
    """

    name: str
    noise: Noise
    ads_per_account: int = 20
    impressions: int = DAILY
    volume_power: float = 0.0
    volume_sd: float = 0.2
    gaps: bool = False
    market_sd: float = 0.0
    days: int | None = None


def independent(sd: float = NOISE_SD) -> Noise:
    """Return normal noise, new every day."""
    return lambda random, ads, days: random.normal(0.0, sd, (ads, days))


def autoregressive(memory: float, sd: float = NOISE_SD, freedom: float = np.inf) -> Noise:
    """Return noise with memory; with few degrees of freedom its tails are heavy."""

    def draw(random: np.random.Generator, ads: int, days: int) -> FloatArray:
        steps = draw_steps(random, freedom, ads, days) * sd * np.sqrt(1 - memory**2)
        values = np.empty((ads, days))
        values[:, 0] = random.normal(0.0, sd, ads)
        for day in range(1, days):
            values[:, day] = memory * values[:, day - 1] + steps[:, day]
        return values

    return draw


def draw_steps(random: np.random.Generator, freedom: float, ads: int, days: int) -> FloatArray:
    """Return numbers of variance 1: normal, or of Student's t."""
    if np.isinf(freedom):
        return random.normal(0.0, 1.0, (ads, days))
    values: FloatArray = random.standard_t(freedom, (ads, days)) * np.sqrt((freedom - 2) / freedom)
    return values


def walking(step: float) -> Noise:
    """Return a random walk with independent noise."""

    def draw(random: np.random.Generator, ads: int, days: int) -> FloatArray:
        walk = np.cumsum(random.normal(0.0, step, (ads, days)), axis=1)
        noisy: FloatArray = walk + random.normal(0.0, NOISE_SD, (ads, days))
        return noisy

    return draw


WORLDS: Final = (
    World("independent days", independent()),
    World("AR .5, 20 ads", autoregressive(0.5)),
    World("AR .5, one ad", autoregressive(0.5), ads_per_account=1),
    World("market .10, one ad", independent(), ads_per_account=1, market_sd=0.10),
    World("volume^-.1", independent(), volume_power=-0.1, volume_sd=0.6),
    World("volume^-.2", independent(), volume_power=-0.2, volume_sd=0.6),
    World("heavy tails, gaps", autoregressive(0.0, freedom=3.0), gaps=True),
    World("AR .5 sd .166, heavy tails, gaps", autoregressive(0.5, 0.166, 3.0), gaps=True),
    World("random walk .015", walking(0.015)),
    World("400 impressions a day", independent(), impressions=400),
    *(
        World(
            f"noise {sd:g}, one ad, {impressions:,} a day", independent(sd), ads_per_account=1, impressions=impressions
        )
        for sd in (0.4, 0.6)
        for impressions in (250, 1_000, 8_000)
    ),
    World("new account", independent(), days=28),
)
"""Ads whose rate does not change for good; each alarm is false."""


def draw_rates(world: World, random: np.random.Generator, ads: int, days: int) -> FloatArray:
    """Return ads x days of click probabilities without volume effects and without any wear."""
    usual = 0.012 * np.exp(random.normal(0.0, 0.25, (ads, 1)))
    accounts = -(-ads // world.ads_per_account)
    market = autoregressive(0.9, 1.0)(random, accounts, days) * world.market_sd
    noise = world.noise(random, ads, days) + np.repeat(market, world.ads_per_account, axis=0)[:ads]
    rates: FloatArray = usual * np.exp(noise)
    return rates


def draw_panel(world: World, seed: int, ads: int, days: int, factor: FloatArray | None = None) -> AdPanel:
    """Return ads of a world.

    Args:
        world: how they behave.
        seed: of everything random.
        ads: number of ads.
        days: number of days, when the world has none of its own.
        factor: ads x days, what the click probability is multiplied by, such as the wear; None for 1.
    """
    random, days = np.random.default_rng(seed), world.days or days
    rates = draw_rates(world, random, ads, days)
    lasting = autoregressive(0.9, 1.0)(random, ads, days)
    moves = world.volume_sd * (lasting + random.normal(0.0, 1.0, (ads, days))) / np.sqrt(2)
    rates = np.minimum(0.5, rates * np.exp(world.volume_power * moves) * (1.0 if factor is None else factor))
    impressions = random.poisson(world.impressions * np.exp(moves)).astype(float)
    if world.gaps:
        impressions[_draw_gaps(random, ads, days)] = 0.0
    clicks = random.binomial(impressions.astype(np.int64), rates).astype(float)
    spend = impressions * 0.008 * np.exp(random.normal(0.0, 0.08, (ads, days)))
    return make_panel(impressions, clicks, spend, world.ads_per_account)


WEARS: Final = ("wear fast", "wear slow", "drop 25 %", "drop 50 %")


def wear(kind: str, onset: np.ndarray, days: int) -> FloatArray:
    """Return ads x days, what is left of the click probability; an ad without an onset keeps all of it.

    Wear is the power -.2 of the exposures, of which each day adds .6, or .2 when it is slow.
    """
    age = np.where(onset[:, None] >= 0, np.maximum(0, np.arange(days) - onset[:, None] + 1), 0)
    if kind.startswith("drop"):
        return np.where(age > 0, 1 - float(kind.split()[1]) / 100, 1.0)
    left: FloatArray = (1 + {"wear fast": 0.6, "wear slow": 0.2}[kind] * age) ** -0.2
    return left


def _draw_gaps(random: np.random.Generator, ads: int, days: int) -> np.ndarray:
    """Return ads x days without delivery: a tenth of the days, and spans of 3 to 10 days once in 60."""
    gaps = random.random((ads, days)) < 0.1
    for ad, day in zip(*np.nonzero(random.random((ads, days)) < 1 / 60), strict=True):
        gaps[ad, day : day + random.integers(3, 11)] = True
    return gaps


def make_panel(impressions: FloatArray, clicks: FloatArray, spend: FloatArray, ads_per_account: int = 20) -> AdPanel:
    """Return figures of ads x days as a panel of whole accounts."""
    ads, days = impressions.shape
    return AdPanel(
        account_ids=tuple(f"act_{ad // ads_per_account:06d}" for ad in range(ads)),
        ad_ids=tuple(f"{ad:06d}" for ad in range(ads)),
        first_day=FIRST_DAY,
        impressions=impressions,
        clicks=clicks,
        spend=spend,
        results=empty_figures(ads, days),
        is_stored=np.ones((ads, days), bool),
    )


REAL_SERIES: Final = Path(__file__).resolve().parents[3] / "shared" / "data" / "display_ads.parquet"
USABLE_DAYS: Final = 60
USABLE_CLICKS: Final = 500


def read_real_series(path: Path = REAL_SERIES) -> AdPanel | None:
    """Return the series of a parquet file with a row per ad and day; None when there is no such file."""
    if not path.exists():
        return None
    import pandas as pd

    rows = pd.read_parquet(path)
    rows["date_start"] = pd.to_datetime(rows["date_start"]).dt.date
    return panel_from_rows(rows)


def panel_from_rows(rows: Any) -> AdPanel:
    """Return a panel of a data frame with account_id, ad_id, date_start, impressions, clicks and spend.

    A day without a row of the ad is a day without delivery. `ad_name` is used when it is there.
    """
    rows = rows.sort_values(["account_id", "ad_id", "date_start"])
    first: date = rows["date_start"].min()
    days = (rows["date_start"].max() - first).days + 1
    keys = rows[["account_id", "ad_id"]].astype(str).apply(tuple, axis=1)
    ads = list(dict.fromkeys(keys))
    index = {key: number for number, key in enumerate(ads)}
    at = keys.map(index).to_numpy(), np.array([(day - first).days for day in rows["date_start"]])
    figures = {}
    for name in ("impressions", "clicks", "spend"):
        values: FloatArray = np.zeros((len(ads), days))
        values[at] = rows[name].to_numpy(float)
        figures[name] = values
    return AdPanel(
        account_ids=tuple(account for account, _ in ads),
        ad_ids=tuple(ad for _, ad in ads),
        first_day=first,
        results=empty_figures(len(ads), days),
        is_stored=np.ones((len(ads), days), bool),
        **figures,
    )


def is_usable(panel: AdPanel) -> np.ndarray:
    """Return which ads have enough days with delivery and enough clicks."""
    days = (panel.impressions > 0).sum(axis=1)
    usable: np.ndarray = (days >= USABLE_DAYS) & (np.nansum(panel.clicks, axis=1) >= USABLE_CLICKS)
    return usable


def days_at_risk(panel: AdPanel, warm_up: int = 0) -> np.ndarray:
    """Return the days of each ad from its first to its last delivery, without the first `warm_up` ones."""
    delivered = panel.impressions > 0
    started = np.cumsum(np.cumsum(delivered, axis=1) > 0, axis=1) > warm_up
    lasts: np.ndarray = np.cumsum(delivered[:, ::-1], axis=1)[:, ::-1] > 0
    return started & lasts


def separate_accounts(panel: AdPanel) -> AdPanel:
    """Return the panel with an account for each ad, so that no ad tells anything about another."""
    return replace(panel, account_ids=tuple(f"act_{number + 1:06d}" for number in range(len(panel.ad_ids))))


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
