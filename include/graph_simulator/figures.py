"""The figures that rows are printed from, one value a row, and the plain fields that follow from them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graph_simulator.ads import Days, Metric
from graph_simulator.dataset import Floats

_REPEATS = 12


@dataclass(frozen=True)
class Figures:
    """Totals by metric and row, and the people reached by row."""

    totals: Days
    reach: Days

    @property
    def size(self) -> int:
        """How many rows there are."""
        return len(self.reach)

    @property
    def impressions(self) -> Days:
        """How often the ad was shown."""
        return self._metric(Metric.IMPRESSIONS)

    @property
    def clicks(self) -> Days:
        """All clicks."""
        return self._metric(Metric.CLICKS)

    @property
    def links(self) -> Days:
        """Clicks on the link."""
        return self._metric(Metric.LINK_CLICKS)

    @property
    def outbound(self) -> Days:
        """Clicks on the link that led off the platform."""
        return self.links - self.links // 10

    @property
    def landings(self) -> Days:
        """Views of the landing page."""
        return self._metric(Metric.LANDINGS)

    @property
    def carts(self) -> Days:
        """Things put into carts."""
        return self._metric(Metric.CARTS)

    @property
    def purchases(self) -> Days:
        """Purchases."""
        return self._metric(Metric.PURCHASES)

    @property
    def views(self) -> Days:
        """Plays of the ad's video."""
        return self.impressions * 3 // 10

    @property
    def spend(self) -> Floats:
        """Money spent, in units of the currency."""
        spent: Floats = self.totals[Metric.SPEND_CENTS] / 100
        return spent

    def unique(self, counts: Any) -> Any:
        """Return how many people did what was done `counts` times: some did it twice."""
        return np.minimum(counts - counts // _REPEATS, self.reach)

    def _metric(self, metric: int) -> Days:
        found: Days = self.totals[metric]
        return found


def over(above: Any, below: Any) -> Floats:
    """Return a ratio; 0 where there is nothing to divide by."""
    ratio: Floats = np.divide(above, below, out=np.zeros(np.shape(below)), where=np.asarray(below) > 0)
    return ratio


COUNTS: dict[str, Callable[[Figures], Days]] = {
    "impressions": lambda f: f.impressions,
    "clicks": lambda f: f.clicks,
    "inline_link_clicks": lambda f: f.links,
    "reach": lambda f: f.reach,
    "unique_clicks": lambda f: f.unique(f.clicks),
    "unique_inline_link_clicks": lambda f: f.unique(f.links),
    "inline_post_engagement": lambda f: f.clicks,
    "full_view_impressions": lambda f: f.impressions * 3 // 5,
    "full_view_reach": lambda f: f.reach * 3 // 5,
    "estimated_ad_recallers": lambda f: f.reach // 20,
}
RATIOS: dict[str, Callable[[Figures], Floats]] = {
    "frequency": lambda f: over(f.impressions, f.reach),
    "ctr": lambda f: over(100 * f.clicks, f.impressions),
    "inline_link_click_ctr": lambda f: over(100 * f.links, f.impressions),
    "unique_ctr": lambda f: over(100 * f.unique(f.clicks), f.reach),
    "unique_inline_link_click_ctr": lambda f: over(100 * f.unique(f.links), f.reach),
    "unique_link_clicks_ctr": lambda f: over(100 * f.unique(f.links), f.reach),
    "cpm": lambda f: over(1000 * f.spend, f.impressions),
    "cpc": lambda f: over(f.spend, f.clicks),
    "cpp": lambda f: over(1000 * f.spend, f.reach),
    "cost_per_inline_link_click": lambda f: over(f.spend, f.links),
    "cost_per_inline_post_engagement": lambda f: over(f.spend, f.clicks),
    "cost_per_unique_click": lambda f: over(f.spend, f.unique(f.clicks)),
    "cost_per_unique_inline_link_click": lambda f: over(f.spend, f.unique(f.links)),
    "cost_per_estimated_ad_recallers": lambda f: over(f.spend, f.reach // 20),
}
