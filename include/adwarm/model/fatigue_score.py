"""The fatigue score of one ad on one day."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal

FatigueStatus = Literal["healthy", "warning", "critical", "pending"]
Component = Literal["creative", "audience", "algorithm"]
AlarmLevel = Literal["none", "watch", "alarm"]
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
    """One ad's score as of a day: 0 is fresh, 100 is fatigued.

    Attributes:
        account_id: `act_` and digits.
        ad_id: the platform's id of the ad.
        as_of: the last day that the score takes into account, in the account's data zone.
        ad_name: its newest name up to that day.
        status: the band of `loss`; `pending` while there is too little data, and then nothing is scored.
        total: 0 to 100, the weighted mean of the available components.
        creative: 0 to 100; None when there are no clicks of either kind to compare.
        audience: 0 to 100; None without a range summary.
        algorithm: 0 to 100; None when there is no spend to compare.
        data_quality: 0 to 1, how far the score can be trusted.
        trend_per_day: percentage points that `loss` grows by a day.
        days_to_critical: at that pace; 0 when critical already, None when it is not heading there within a year.
        baseline: JSON values: the rates compared, days with delivery, frequency, and `flags` for data that was missing
            or looked wrong.
        calculator_version: version of the calculation.
        loss: share of its clicks for the same money that the ad lost against its good weeks; below 0 for a gain.
        driver: the component that raises the score most; None when none is above 30.
        days_to_critical_low: lower end of the 80 % interval of `days_to_critical`.
        days_to_critical_high: upper end of it; None when the score may never become critical.
        alarm: `watch` when there is evidence of a decline of this ad alone, `alarm` when it also passes the limit on
            false alarms of the whole account.
        alarm_since: day of the alarm, while it lasts.
        onset: estimated first day of the decline, while `alarm` is not `none`.
        cost_ratio: recent cost per result as a multiple of the ad's past; None without results.
        recent_spend: spend of the last seven days, in the account's currency; None when unknown.
    """

    account_id: str
    ad_id: str
    as_of: date
    ad_name: str
    status: FatigueStatus
    total: float | None
    creative: float | None
    audience: float | None
    algorithm: float | None
    data_quality: float
    trend_per_day: float | None
    days_to_critical: float | None
    baseline: Mapping[str, Any]
    calculator_version: str
    loss: float | None = None
    driver: Component | None = None
    days_to_critical_low: float | None = None
    days_to_critical_high: float | None = None
    alarm: AlarmLevel = "none"
    alarm_since: date | None = None
    onset: date | None = None
    cost_ratio: float | None = None
    recent_spend: float | None = None
