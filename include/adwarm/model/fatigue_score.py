"""The fatigue score of one ad, or of all ads that share a creative, on one day."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Final, Literal

FatigueStatus = Literal["healthy", "warning", "critical", "pending"]
Component = Literal["creative", "audience", "algorithm"]
AlarmLevel = Literal["none", "watch", "alarm"]
CREATIVE_KEY: Final = "creative-"
"""Begins the `ad_id` of the score of a creative: of the sums of all ads that show it."""
LAST_RANK: Final = 1e300
"""Stands for the rank of an ad whose loss is unknown, after those of all others."""
FLAGS: Final = {
    "audience_changed": "the audience changed",
    "budget_changed": "the budget changed",
    "clicks_missing": "some days have no clicks",
    "ctr_implausible": "the click-through rate is implausibly high",
    "frequency_missing": "the frequency is unknown",
    "frequency_notable": "the frequency is unusually high",
    "history_missing": "many days of the account are not stored",
    "impressions_missing": "some days have no impressions",
    "link_clicks_used": "link clicks stand in for all clicks",
    "spend_missing": "some days have no spend",
    "suspended": "no impressions for seven days",
}
"""The flags of `FatigueScore.baseline`: what was missing, looked wrong or changed in the data of a score, in words."""


@dataclass(frozen=True, slots=True)
class FatigueScore:
    """The score of an ad, or of the ads of a creative together, as of a day: 0 is fresh, 100 is fatigued."""

    account_id: str
    ad_id: Annotated[str, 80, "Ad id; `creative-` and the id of the creative for all ads that share it."]
    as_of: Annotated[date, "Last day that it takes into account, in the account's data zone."]
    ad_name: Annotated[str, 400, "Its newest name up to that day; the title of a creative."]
    status: Annotated[
        FatigueStatus, 16, "`healthy`, `warning` (from 15 % of `loss`), `critical` (from 35 %) or `pending`."
    ]
    total: Annotated[float | None, "0 (fresh) to 100 (fatigued), the weighted mean of the available components."]
    creative: Annotated[float | None, "Lost click-through rate, 0 to 100; None without clicks to compare."]
    audience: Annotated[float | None, "Frequency, 0 to 100; None without a range summary."]
    algorithm: Annotated[float | None, "Increased price, 0 to 100; None without spend to compare."]
    data_quality: Annotated[float, "How far to trust the score, from 0 to 1."]
    trend_per_day: Annotated[float | None, "Percentage points that `loss` grows by a day."]
    days_to_critical: Annotated[float | None, "At that pace; 0 when it is, None when not within a year."]
    baseline: Annotated[Mapping[str, Any], "JSON values: rates, days with delivery, frequency, and `flags`."]
    loss: Annotated[
        float | None, "Share of its clicks for the same money that it lost against its good weeks; below 0 for a gain."
    ] = None
    driver: Annotated[Component | None, 16, "Component that raises it most; None when none is above 30."] = None
    days_to_critical_low: Annotated[float | None, "Lower end of its 80 % interval."] = None
    days_to_critical_high: Annotated[float | None, "Upper end; None when it may never be critical."] = None
    alarm: Annotated[
        AlarmLevel,
        8,
        "`none`, `watch` for evidence of a decline of this ad alone, or `alarm` when it also passes the limit on false "
        "alarms of the whole account.",
    ] = "none"
    alarm_since: Annotated[date | None, "Day of the alarm, while it lasts."] = None
    onset: Annotated[date | None, "Estimated first day of the decline, while `alarm` is not `none`."] = None
    cost_ratio: Annotated[float | None, "Recent cost per result as a multiple of the past; None without one."] = None
    recent_spend: Annotated[float | None, "Spend of the last seven days, the ad's weight in its account."] = None
    part_of: Annotated[
        str, 80, "`ad_id` of the creative whose sums this ad is in; empty for what lists name: creatives, other ads."
    ] = ""

    @property
    def is_creative(self) -> bool:
        """Whether it is of all ads that share a creative."""
        return self.ad_id.startswith(CREATIVE_KEY)

    @property
    def rank(self) -> tuple[float, float, str, str]:
        """The place in every list: most spend times loss first, then most loss; in SQL `store.scores.rank_columns`."""
        if self.loss is None:
            return LAST_RANK, LAST_RANK, self.account_id, self.ad_id
        return -self.lost_spend, -self.loss, self.account_id, self.ad_id

    @property
    def lost_spend(self) -> float:
        """Spend of seven days times the loss; below zero for one above its usual, 0 where one of both is unknown."""
        return (self.recent_spend or 0.0) * (self.loss or 0.0)
