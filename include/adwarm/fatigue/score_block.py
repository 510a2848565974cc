"""The score of some ads on all of their days: the calculation behind `adwarm.fatigue.score`, ads x days at a time.

Days with delivery are numbered, and the recent days, the baseline and its weeks are spans of such numbers. All sums are
along the days of one ad, so that an ad's score does not depend on which other ads are calculated with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Final

import numpy as np

from adwarm.fatigue.panel import AdPanel, BoolArray, FloatArray
from adwarm.fatigue.prior import PRICE_DISPERSION, AccountPrior
from adwarm.fatigue.usual import (
    ALGORITHM_CURVE,
    AUDIENCE_CURVE,
    BASELINE_DAYS,
    CREATIVE_CURVE,
    TREND_DAYS,
    WEEK,
    IndexArray,
    RatePrior,
    Sums,
    Timeline,
    measure_slopes,
    measure_usual,
    shrink_change,
)
from adwarm.model.fatigue_score import FLAGS
from adwarm.settings import FatigueSettings

MAX_PLAUSIBLE_CTR: Final = 0.10
"""A higher click-through rate counts as an error in the data."""
NOTABLE_FREQUENCY: Final = 20.0
MAX_MISSING: Final = 0.30
"""Share of the days looked back on that may be missing from the store."""
NEEDED_DAYS: Final = 30
"""Days before the recent ones that must be stored for the most part; good weeks may be older."""
RECENT_DAYS: Final = 7
"""Recent days that are compared with the baseline: a whole week; of an ad with fewer than 14 days, half of them."""
LISTED_DAYS: Final = RECENT_DAYS + NEEDED_DAYS
"""Days that decide whether an ad is listed, and whether enough of them is stored."""
MONTH_DAYS: Final = 28
"""Days with delivery before the recent ones, whose click-through rate an alarm is compared with in words."""
PENDING_DAYS: Final = 2
"""Days after its first delivery until which an ad is pending."""
CHANGE_DAYS: Final = 14
"""Days for which a change of the audience or the creative is flagged."""
PRIOR_RESULTS: Final = 3.0
"""Results that the prior of the usual cost per result is worth; a convention."""
NOTABLE_COMPONENT: Final = 30.0
"""A component up to this raises no score that is worth naming a cause of."""
BUDGET_DAYS: Final = 3
BUDGET_RATIO: Final = 2.0
"""Spend a day, as a multiple of the week before, that is flagged as a change of the budget."""
QUALITY_IMPRESSIONS: Final = 1_000.0
_DAMPED_FROM: Final = 1.5


@dataclass(frozen=True, slots=True)
class Change:
    """A rate of the recent days against its usual level; ads x days.

    Attributes:
        usual: the usual rate; nan when there is nothing to compare with.
        recent: the recent rate; nan when unknown.
        past: the rate of the baseline days.
        change: change as a share of the usual rate, shrunk towards 0.
        known_days: used days whose figure is known.
        is_comparable: whether the recent days, and the baseline days, each know the figure of some day, or are none.
    """

    usual: FloatArray
    recent: FloatArray
    past: FloatArray
    change: FloatArray
    known_days: FloatArray
    is_comparable: BoolArray


class ScoreBlock:
    """The calculation for the ads of a panel on its last days; every array is ads x these days.

    Args:
        priors: what is usual in the account of each ad.
        frequency: impressions per person in the week up to each day of the panel; nan where unknown.
        since: column of the first day that is calculated; those before it are history.
    """

    def __init__(
        self,
        panel: AdPanel,
        priors: Sequence[AccountPrior],
        frequency: FloatArray,
        settings: FatigueSettings,
        since: int = 0,
    ) -> None:
        self.panel, self.priors, self.settings = panel, priors, settings
        self.frequency, self._since = frequency[:, since:], since
        with np.errstate(invalid="ignore"):
            self.delivered: BoolArray = panel.impressions > 0
        self.impressions = np.where(self.delivered, panel.impressions, 0.0)
        self.timeline = Timeline.of(self.delivered, panel.changed)
        self._ranks = np.pad(self.timeline.rank, ((0, 0), (WEEK, 0)))
        self.last = self._last_before(0)
        self.start = self.timeline.start[:, since:]
        self.cut = np.maximum(self._last_before(RECENT_DAYS), self.start)  # the last day of the baseline
        used = self.last - self.start
        half = self.start + (used + 1) // 2
        self.cut = np.where(used < 2 * RECENT_DAYS, np.maximum(self.cut, half), self.cut)
        self.first = np.maximum(self.start, self.cut - BASELINE_DAYS)
        self.totals = Sums(
            *(self._accumulate(values) for values in (self.impressions, self.impressions, self.delivered))
        )
        self.recent = self.totals.between(self.cut, self.last)
        self.past = self.totals.between(self.first, self.cut)

    def _last_before(self, days: int) -> IndexArray:
        """Return the number of the last day with delivery up to so many days before each day, at most a week."""
        return self._ranks[:, WEEK + 1 - days :][:, self._since : self.panel.days]

    def _sum_last(self, values: FloatArray | BoolArray, days: int) -> FloatArray:
        """Return the sums of the last `days` days up to each one."""
        sums = np.zeros((values.shape[0], values.shape[1] + 1))
        np.cumsum(values, axis=1, out=sums[:, 1:])
        total: FloatArray = sums[:, 1:].copy()
        if days < values.shape[1]:
            total[:, days:] -= sums[:, 1:-days]
        return total[:, self._since :]

    def _accumulate(self, values: FloatArray | BoolArray) -> FloatArray:
        return self.timeline.accumulate(values.astype(np.float64, copy=False))

    def _compare(self, events: FloatArray, prior: RatePrior, weekdays: FloatArray, *, is_price: bool) -> Change:
        """Compare a rate per impression; `weekdays` are ads x 7 factors on it."""
        has_events = self.delivered & np.isfinite(events)
        shown = np.where(has_events, self.impressions, 0.0)
        day = (self.panel.first_day.weekday() + np.arange(self.panel.days)) % 7
        events = np.where(has_events, events, 0.0)
        counts, raw, days = (self._accumulate(values) for values in (events, shown, has_events))
        adjusted = Sums(counts, self._accumulate(shown * weekdays[:, day]), days)
        plain = Sums(counts, raw, days)
        recent, past = plain.between(self.cut, self.last), plain.between(self.first, self.cut)
        usual = measure_usual(self.timeline, adjusted, prior, self.cut, is_price=is_price)
        usual = np.where((self.cut > self.start) & (past.events > 0) & (usual > 0), usual, np.nan)
        return Change(
            usual=usual,
            recent=recent.rate,
            past=past.rate,
            change=shrink_change(adjusted.between(self.cut, self.last), usual, prior),
            known_days=recent.days + past.days,
            is_comparable=((recent.days > 0) | (self.recent.days == 0)) & ((past.days > 0) | (self.past.days == 0)),
        )

    @cached_property
    def _click_changes(self) -> tuple[Change, Change]:
        """The changes of all clicks, and of those on the link; the same where all clicks are complete."""
        prior = RatePrior(
            mean=_as_column([np.nan if item.ctr_mean is None else item.ctr_mean for item in self.priors]),
            spread=_as_column([item.ctr_spread for item in self.priors]),
            noise=_as_column([item.noise_sd * item.noise_factor**0.5 for item in self.priors]),
        )
        weekdays = np.array([item.ctr_weekdays for item in self.priors]).reshape(-1, 7)
        if self.panel.all_clicks is None or self.panel.link_clicks is None:
            return (self._compare(self.panel.clicks, prior, weekdays, is_price=False),) * 2
        kinds = self.panel.all_clicks, self.panel.link_clicks
        every, links = (self._compare(clicks, prior, weekdays, is_price=False) for clicks in kinds)
        return every, links

    @cached_property
    def uses_links(self) -> BoolArray:
        """Whether only clicks on the link can be compared."""
        every, links = self._click_changes
        uses_links: BoolArray = ~every.is_comparable & links.is_comparable
        return uses_links

    @cached_property
    def clicks(self) -> Change:
        """The change of the click-through rate, of the kind of clicks that can be compared."""
        every, links = self._click_changes
        names = [field.name for field in fields(Change)]
        return Change(*(np.where(self.uses_links, getattr(links, name), getattr(every, name)) for name in names))

    @cached_property
    def price(self) -> Change:
        """The change of the price of an impression. An account's ads differ in it, so that it is only their own."""
        prior = RatePrior(
            mean=_as_column([np.nan] * len(self.priors)),
            spread=_as_column([item.cpm_spread for item in self.priors]),
            noise=_as_column([item.price_noise_sd for item in self.priors]),
            dispersion=PRICE_DISPERSION,
        )
        weekdays = np.array([item.cpm_weekdays for item in self.priors]).reshape(-1, 7)
        return self._compare(self.panel.spend, prior, weekdays, is_price=True)

    @cached_property
    def age_days(self) -> FloatArray:
        """Days with delivery that are used."""
        age: FloatArray = self.recent.days + self.past.days
        return age

    @cached_property
    def history_missing(self) -> BoolArray:
        """Whether more than 30 % of the days looked back on, those of the trend included, are not stored."""
        days = LISTED_DAYS + TREND_DAYS - RECENT_DAYS
        seen = np.minimum(np.arange(self._since + 1, self.panel.days + 1), days)
        missing: BoolArray = self._sum_last(~self.panel.is_stored, days) > MAX_MISSING * seen
        return missing

    @cached_property
    def lacks_impressions(self) -> BoolArray:
        """Whether the impressions of a stored day that is looked back on are unknown."""
        lacks: BoolArray = self._sum_last(np.isnan(self.panel.impressions) & self.panel.is_stored, LISTED_DAYS) > 0
        return lacks

    @cached_property
    def is_listed(self) -> BoolArray:
        """Whether the ad had delivery, or unknown delivery, in the days looked back on."""
        listed: BoolArray = (self._sum_last(self.delivered, LISTED_DAYS) > 0) | self.lacks_impressions
        return listed

    @cached_property
    def has_enough(self) -> BoolArray:
        """Whether the ad has what a score needs at least."""
        settings = self.settings
        enough = (self.age_days >= settings.min_days) & ~self.history_missing
        enough &= self.recent.impressions + self.past.impressions >= settings.min_impressions
        enough &= (self.recent.days > 0) & (self.past.days > 0)
        return self.is_listed & enough & (self._last_before(PENDING_DAYS) > self.start)

    @cached_property
    def components(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Creative, audience and algorithm, 0 to 100; nan where unknown or pending."""
        frequency, lost = np.interp(self.frequency, *AUDIENCE_CURVE), np.interp(-self.clicks.change, *CREATIVE_CURVE)
        parts = (lost, frequency, self._algorithm())
        creative, audience, algorithm = (np.where(self.has_enough, part, np.nan) for part in parts)
        return np.where(self.clicks.is_comparable, creative, np.nan), audience, algorithm

    @cached_property
    def loss(self) -> FloatArray:
        """Share of the clicks for the same money that is lost against the usual; below 0 for a gain, nan while pending.

        Without spend, the clicks of the same impressions.
        """
        price = np.where(np.isfinite(self.price.change), self.price.change, 0.0)
        loss = 1 - (1 + self.clicks.change) / (1 + price)
        return np.where(self.has_enough & self.clicks.is_comparable, loss, np.nan)

    def _algorithm(self) -> FloatArray:
        """Return the score of the price, up to halved when delivery grew by half or more: a larger budget costs more.

        The growth is that of impressions and not of spend, so that more spend never lowers the score.
        """
        week = self.totals.between(np.maximum(self.start, self.cut - WEEK), self.cut)
        with np.errstate(divide="ignore", invalid="ignore"):
            growth = (self.recent.impressions / self.recent.days) / (week.impressions / week.days)
        damping = 1 - 0.5 * np.clip((growth - _DAMPED_FROM) / (BUDGET_RATIO - _DAMPED_FROM), 0, 1)
        score: FloatArray = np.interp(self.price.change, *ALGORITHM_CURVE) * damping
        return score

    @cached_property
    def total(self) -> FloatArray:
        """The weighted mean of the known components, to four decimals; nan while pending, as without clicks."""
        total, weight = (np.zeros_like(self.frequency) for _ in range(2))
        for part, of_part in zip(self.components, self.settings.weights, strict=True):
            has_part = np.isfinite(part)
            total += np.where(has_part, of_part * part, 0.0)
            weight += of_part * has_part
        with np.errstate(divide="ignore", invalid="ignore"):
            mean: FloatArray = np.where(weight > 0, np.minimum(100.0, total / weight), np.nan)
        mean = np.where(np.isfinite(self.loss), mean, np.nan)
        return np.rint(mean * 1e4) / 1e4

    def measure_trend(self) -> tuple[FloatArray, FloatArray]:
        """Return the percentage points of clicks that are lost a day, and the standard error of that."""
        losses = np.where(np.isfinite(self.total), 100 * self.loss, np.nan)
        return measure_slopes(losses, self.uses_links + 2.0 * np.isfinite(self.price.change))

    @cached_property
    def month_ctr(self) -> FloatArray:
        """The click-through rate of the 28 days with delivery before the recent ones; nan when unknown."""
        has_clicks = self.delivered & np.isfinite(self.panel.clicks)
        clicks, shown = (
            self._accumulate(np.where(has_clicks, values, 0.0)) for values in (self.panel.clicks, self.impressions)
        )
        return Sums(clicks, shown, shown).between(np.maximum(self.start, self.cut - MONTH_DAYS), self.cut).rate

    def find_driver(self) -> IndexArray:
        """Return the index of the component that raises the score most; -1 when none is notable."""
        parts = zip(self.components, self.settings.weights, strict=True)
        stacked = np.stack([np.where(part > NOTABLE_COMPONENT, weight * part, 0.0) for part, weight in parts])
        has_driver = np.isfinite(self.total) & (stacked.max(axis=0) > 0)
        driver: IndexArray = np.where(has_driver, stacked.argmax(axis=0), -1)
        return driver

    @cached_property
    def cost_ratio(self) -> FloatArray:
        """Cost per result of the last seven days against the baseline days before; nan without results before.

        With a Gamma prior around the usual cost: `(expected + 3) / (results + 3)`.
        """
        has_figures = np.isfinite(self.panel.spend) & np.isfinite(self.panel.results)
        spend, results = (np.where(has_figures, values, 0.0) for values in (self.panel.spend, self.panel.results))
        recent_spend, recent_results = self._sum_last(spend, WEEK), self._sum_last(results, WEEK)
        past_spend = self._sum_last(spend, WEEK + NEEDED_DAYS) - recent_spend
        past_results = self._sum_last(results, WEEK + NEEDED_DAYS) - recent_results
        has_both = (past_results > 0.5) & (past_spend > 0) & (recent_spend > 0) & self.is_listed
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = recent_spend * past_results / past_spend
            ratio: FloatArray = (expected + PRIOR_RESULTS) / (recent_results + PRIOR_RESULTS)
        return np.where(has_both, ratio, np.nan)

    @cached_property
    def recent_spend(self) -> FloatArray:
        """Spend of the last seven days; nan when no day's is has_spend."""
        has_spend = np.isfinite(self.panel.spend)
        spend = self._sum_last(np.where(has_spend, self.panel.spend, 0.0), WEEK)
        return np.where(self.is_listed & (self._sum_last(has_spend, WEEK) > 0), np.maximum(0.0, spend), np.nan)

    @cached_property
    def flags(self) -> dict[str, BoolArray]:
        """What was missing, looked wrong or changed, by name, in the order of `FLAGS`."""
        implausible = np.fmax(self.clicks.recent, self.clicks.past) > MAX_PLAUSIBLE_CTR
        flags = {
            "audience_changed": self._audience_changed(),
            "budget_changed": self._budget_changed(),
            "clicks_missing": self.uses_links | (self.clicks.known_days < self.age_days),
            "ctr_implausible": implausible,
            "frequency_missing": np.isnan(self.frequency),
            "frequency_notable": self.frequency > NOTABLE_FREQUENCY,
            "history_missing": self.history_missing,
            "impressions_missing": self.lacks_impressions,
            "link_clicks_used": self.uses_links,
            "spend_missing": self.price.known_days < self.age_days,
            "suspended": self._is_suspended(),
        }
        return {name: flags[name] for name in FLAGS}

    def _audience_changed(self) -> BoolArray:
        if self.panel.changed is None:
            return np.zeros(self.last.shape, bool)
        changed: BoolArray = self._sum_last(self.panel.changed, CHANGE_DAYS) > 0
        return changed

    def _budget_changed(self) -> BoolArray:
        """Return whether the spend a day of the last three days is twice that of the week before, or half of it."""
        has_spend = self.delivered & np.isfinite(self.panel.spend)
        spend = self._accumulate(np.where(has_spend, self.panel.spend, 0.0))
        days = self._accumulate(has_spend)
        sums = Sums(spend, days, days)  # the rate is spend a day
        cut = np.maximum(self._last_before(BUDGET_DAYS), self.start)
        recent = sums.between(cut, self.last).rate
        before = sums.between(np.maximum(self.start, cut - WEEK), cut).rate
        changed: BoolArray = (before > 0) & ((recent >= BUDGET_RATIO * before) | (recent * BUDGET_RATIO <= before))
        return changed

    def _is_suspended(self) -> BoolArray:
        """Return whether the ad had delivery before, and none on each of the last seven days."""
        none = self.panel.is_stored & (self.panel.impressions == 0)
        suspended: BoolArray = (self._sum_last(none, WEEK) == WEEK) & (self.last > 0)
        return suspended

    @cached_property
    def data_quality(self) -> FloatArray:
        """How far the score can be trusted, 0 to 1: by days with delivery, impressions, and a known frequency.

        Days without clicks, and days without spend, take up to a quarter each; link clicks instead of clicks count as
        if half the days had none. It is halved when a rate is implausible or impressions are unknown.
        """
        impressions, days = self.recent.impressions, np.maximum(1.0, self.age_days)
        quality = 0.4 * np.minimum(1.0, self.age_days / LISTED_DAYS)
        quality += 0.4 * impressions / (impressions + QUALITY_IMPRESSIONS) + 0.2 * np.isfinite(self.frequency)
        clicked = self.clicks.known_days / days * np.where(self.uses_links, 0.5, 1.0)
        quality *= 1 - 0.25 * (1 - clicked) - 0.25 * (1 - self.price.known_days / days)
        halved = self.flags["ctr_implausible"] | self.flags["impressions_missing"]
        return np.where(halved, quality / 2, quality)


def _as_column(values: Sequence[float]) -> FloatArray:
    column: FloatArray = np.array(values, np.float64)[:, None]
    return column
