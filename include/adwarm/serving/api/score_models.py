"""The documents of the score routes: scores, changes and the summary of an account."""

from datetime import date, datetime
from typing import Literal

from pydantic import Field

from adwarm.fatigue.report import ChangeKind
from adwarm.model import AlarmLevel, Component, FatigueStatus
from adwarm.serving.api.models import Document


class Score(Document):
    """What one ad lost, and its fatigue score: 0 is fresh, 100 is fatigued."""

    ad_id: str = Field(description="The platform's id of the ad.")
    ad_name: str = Field(description="Name of the ad.")
    status: FatigueStatus = Field(
        description="Band of `loss`: warning from 0.15, critical from 0.35; `pending` while there is too little data."
    )
    loss: float | None = Field(
        description="Share of the clicks for the same money that is lost against good weeks; below 0 for a gain."
    )
    total: float | None = Field(description="Weighted mean of the available components, which orders ads.")
    creative: float | None = Field(description="Component, 0 to 100.")
    audience: float | None = Field(description="Component, 0 to 100.")
    algorithm: float | None = Field(description="Component, 0 to 100.")
    driver: Component | None = Field(description="Component that raises the score most; null when none is high.")
    data_quality: float = Field(description="0 to 1: how far the score can be trusted.")
    trend_per_day: float | None = Field(description="Percentage points that `loss` grows by a day.")
    days_to_critical: float | None = Field(description="At that pace; 0 when critical, null when not heading there.")
    days_to_critical_low: float | None = Field(description="Lower end of its 80 % interval.")
    days_to_critical_high: float | None = Field(description="Upper end; null when it may never get there.")
    alarm: AlarmLevel = Field(
        description="`watch`: evidence of a decline of this ad; `alarm`: it also passes the account's limit."
    )
    alarm_since: date | None = Field(description="Day of the alarm, while it lasts.")
    onset: date | None = Field(description="Estimated first day of the decline.")
    evidence: float | None = Field(description="Value of the change detector; more is rarer on ads that do not change.")
    cost_ratio: float | None = Field(description="Recent cost per result as a multiple of the ad's past.")
    recent_spend: float | None = Field(description="Spend of the last seven days, in the account's currency.")
    recommendation: str = Field(description="What to do, in words.")
    reasons: list[str] = Field(description="The figures behind it, in words, the strongest first.")
    note: str = Field(description="Why score and alarm differ; empty when they agree.")
    caution: str = Field(description="Why both may be wrong; empty when nothing speaks against them.")
    flags: list[str] = Field(description="Data that was missing, changed or looked wrong.")
    settled: bool = Field(description="Whether the data behind it can no longer change.")
    data_version: int = Field(description="Version of that data; grows with every restatement.")
    calculator_version: str = Field(description="Version of the calculation.")
    calculated_at: datetime = Field(description="When it was calculated.")


class ScorePage(Document):
    """One page of an account's scores of one day."""

    account: str = Field(description="Account id.")
    as_of: date | None = Field(description="Last day that the scores take into account; null when there are none.")
    scores: list[Score] = Field(description="The scores.")
    next_cursor: str | None = Field(None, description="`cursor` of the next page; null on the last one.")


class ScoreChange(Document):
    """What happened to one ad between two days."""

    kind: ChangeKind = Field(
        description="`alarm`: a new one; `worse`, `better`: another status; `recovered`: an alarm ended; `pending`, "
        "`scored`: data ran out or came back; `new`, `gone`: the ad began or ended."
    )
    ad_id: str = Field(description="The platform's id of the ad.")
    ad_name: str = Field(description="Name of the ad.")
    text: str = Field(description="The change in words.")
    status: FatigueStatus | None = Field(description="On the later day; null for an ad that is gone.")
    status_before: FatigueStatus | None = Field(description="On the earlier day; null for a new ad.")
    loss: float | None = Field(description="Share of the clicks for the same money lost on the later day.")
    loss_before: float | None = Field(description="The same on the earlier day.")
    total: float | None = Field(description="Score on the later day.")
    total_before: float | None = Field(description="Score on the earlier day.")
    alarm: AlarmLevel = Field(description="On the later day.")
    alarm_before: AlarmLevel = Field(description="On the earlier day.")
    restated: bool = Field(
        description="Whether the score of the earlier day was calculated with or after that of the later day, by a "
        "backfill or from newer data; it may not be what was shown then."
    )


class ScoreChanges(Document):
    """What happened to the ads of an account between two scored days: alarms first, then by kind."""

    account: str = Field(description="Account id.")
    since: date | None = Field(description="The earlier day; null when there are no scores to compare with.")
    as_of: date | None = Field(description="The later day; null when there are no scores.")
    changes: list[ScoreChange] = Field(description="The changes.")


class StatusCounts(Document):
    """Number of ads by status."""

    healthy: int = Field(description="Less than 15 % of the clicks for the same money lost.")
    warning: int = Field(description="From 15 % on.")
    critical: int = Field(description="From 35 % on.")
    pending: int = Field(description="Too little data.")


class ScoreSummary(Document):
    """The ads of an account on one day. An ad is fatigued when it is critical or has an alarm."""

    account: str = Field(description="Account id.")
    as_of: date | None = Field(description="Last day that the scores take into account; null when there are none.")
    currency: str | None = Field(description="Currency of the amounts.")
    ads: int = Field(description="Number of ads.")
    statuses: StatusCounts = Field(description="Ads by status.")
    alarms: int = Field(description="Ads with an alarm.")
    watches: int = Field(description="Ads with evidence that is not enough for an alarm.")
    fatigued: int = Field(description="Ads that are critical or have an alarm.")
    score: float | None = Field(description="Mean score weighted by recent spend; null without spend.")
    recent_spend: float | None = Field(description="Spend of the last seven days; null when unknown.")
    fatigued_spend: float | None = Field(description="That of the fatigued ads.")
    fatigued_share: float | None = Field(description="Its share of the spend, 0 to 1.")
    unknown_spend: int = Field(description="Ads whose recent spend is unknown.")
    settled: bool = Field(description="Whether the data behind the scores can no longer change.")


ScoreFormat = Literal["json", "csv"]
