"""The fatigue score of one ad on one day."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

FatigueStatus = Literal["healthy", "warning", "critical", "pending"]


@dataclass(frozen=True, slots=True)
class FatigueScore:
    """One ad's score as of a day: 0 is fresh, 100 is fatigued.

    Attributes:
        account_id: `act_` and digits.
        ad_id: the platform's id of the ad.
        as_of: the last day that the score takes into account, in the account's data zone.
        ad_name: name of the ad.
        status: the band of `total`; `pending` while there is too little data, and then nothing is scored.
        total: 0 to 100, the weighted mean of the available components.
        creative: 0 to 100; None when there are no clicks of either kind to compare.
        audience: 0 to 100; None without a range summary.
        algorithm: 0 to 100; None when there is no spend to compare.
        data_quality: 0 to 1, how far the score can be trusted.
        trend_per_day: points a day over the last four days, at constant frequency.
        days_to_critical: at that pace; 0 when critical already, None when the score is not heading there.
        baseline: JSON values: the rates compared, the clicks they count, days, frequency, and `flags` for data that was
            missing or looked wrong.
        calculator_version: version of the calculation.
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
