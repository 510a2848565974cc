"""The stored days of one ad, each with the click-through rate that a healthy day of it would have.

The usual rate and the weekday factors are those of the change detector (`adwarm.fatigue.alarm`). The interval of a day
is `expected * exp(+-1.96 * sd)` with `sd ** 2 = noise ** 2 + market ** 2 + (1 - expected) / (impressions * expected)`:
what daily rates of the account's ads vary beyond chance, what its ads move together, and the binomial variance of the
log rate. So a healthy day lies within it about 95 times in 100.
"""

import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np

from adwarm.fatigue.alarm import detect
from adwarm.fatigue.as_of import month_of
from adwarm.fatigue.panel import AdPanel, FloatArray
from adwarm.fatigue.prior import DEFAULT_PRIOR, AccountPrior
from adwarm.fatigue.stored_panel import load_panel
from adwarm.model import Window
from adwarm.settings import FatigueSettings
from adwarm.store import Context, fatigue_priors

_NORMAL_95: Final = 1.96


@dataclass(frozen=True, slots=True)
class AdDay:
    """The delivery of an ad on one stored day; None is unknown. Spend is in the account's currency.

    Attributes:
        expected: the click-through rate of a healthy day with that weekday; None while too little is known.
        interval: where it lies on 95 of 100 healthy days; None without an expected rate or impressions.
    """

    day: date
    impressions: float | None
    clicks: float | None
    spend: float | None
    expected: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def ctr(self) -> float | None:
        """Clicks per impression; None without impressions or with unknown clicks."""
        return self.clicks / self.impressions if self.impressions and self.clicks is not None else None

    @property
    def cpm(self) -> float | None:
        """Price of a thousand impressions; None without impressions or with unknown spend."""
        return 1000 * self.spend / self.impressions if self.impressions and self.spend is not None else None


def list_ad_days(
    context: Context, account_id: str, ad_id: str, window: Window, *, with_expected: bool = False
) -> list[AdDay]:
    """Return the delivery of an ad on each stored day of a window from its first delivery on, oldest first.

    Days without a row are zero. The clicks are of the kind that its score counts.

    Args:
        context: database, objects and settings.
        account_id: the account.
        ad_id: the ad.
        window: the days.
        with_expected: whether to compute what a healthy day would have, which scans all ads of the account.

    Raises:
        Corrupt: some stored days cannot be read.
        BadRequest: a stored row or number cannot be read.
    """
    panel = load_panel(context, account_id, window)
    if ad_id not in panel.ad_ids:
        return []
    row = panel.ad_ids.index(ad_id)
    prior = _find_prior(context, account_id, window.until)
    usual = _find_usual(panel, row, prior, context.settings.fatigue) if with_expected else np.full(panel.days, np.nan)
    days = []
    for column in np.flatnonzero(panel.is_stored[row]).tolist():
        day = window.since + timedelta(days=column)
        impressions = _figure(panel.impressions, row, column)
        level = float(usual[column]) * prior.ctr_weekdays[day.weekday()]
        expected = None if math.isnan(level) else level
        figures = impressions, _figure(panel.clicks, row, column), _figure(panel.spend, row, column)
        days.append(AdDay(day, *figures, expected, healthy_interval(expected, impressions, prior)))
    first = next((number for number, item in enumerate(days) if item.impressions), len(days))
    return days[first:]


def _find_usual(panel: AdPanel, row: int, prior: AccountPrior, settings: FatigueSettings) -> FloatArray:
    """Return the usual click-through rate of one ad by day; nan until the change detector knows enough."""
    alarms = detect(panel, {panel.account_ids[row]: prior}, settings)
    is_known = np.logical_or.accumulate(np.isfinite(alarms.evidence[row]))
    usual: FloatArray = np.where(is_known, alarms.usual_ctr[row], np.nan)
    return usual


def first_day_needed(context: Context, first_shown: date) -> date:
    """Return from which day on rows are to be read so that a day has a usual rate."""
    return first_shown - timedelta(days=context.settings.fatigue.history_days)


def healthy_interval(
    expected: float | None, impressions: float | None, prior: AccountPrior
) -> tuple[float, float] | None:
    """Return the interval in which a healthy day's click-through rate lies 95 times in 100; None when unknown."""
    if not expected or not impressions or expected >= 1:
        return None
    chance = (1 - expected) / (impressions * expected)
    spread = _NORMAL_95 * math.sqrt(prior.noise_sd**2 + prior.market_sd**2 + chance)
    return expected * math.exp(-spread), min(1.0, expected * math.exp(spread))


def _find_prior(context: Context, account_id: str, day: date) -> AccountPrior:
    """Return the prior of the account that the scores of a day were made with."""
    found = fatigue_priors.list_newest(context.engine, [account_id], [month_of(day)])
    stored = found.get((account_id, month_of(day)))
    return DEFAULT_PRIOR if stored is None else AccountPrior.from_dict(stored.figures)


def _figure(values: FloatArray, row: int, column: int) -> float | None:
    value = float(values[row, column])
    return None if math.isnan(value) else value
