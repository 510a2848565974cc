"""The platform's own view of an ad's fatigue, beside the score.

The platform names two states by the cost per result as a multiple of the advertiser's past ads: above 1x and below 2x
is "creative limited", 2x or more is "creative fatigue". It computes that multiple from figures of its own, over all
ads of the account; `FatigueScore.cost_ratio` compares an ad with its own past. So the state here is an estimate by the
platform's definition, and the level in a notice is what the platform itself said.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from adwarm.foundation.wording import format_count
from adwarm.model import FatigueScore, PlatformLevel, PlatformNotice

CostState = Literal["normal", "creative limited", "creative fatigue"]
Agreement = Literal["agrees", "only the platform", "only adwarm", "unknown"]
FATIGUE_RATIO: Final = 2.0
"""Cost per result, as a multiple of the past, from which the platform speaks of creative fatigue."""
LIMITED_RATIO: Final = 1.0
"""The same above which it speaks of a limited creative."""
STALE_DAYS: Final = 28
"""A notice older than this many days says nothing about today; the platform repeats none that still holds."""


@dataclass(frozen=True, slots=True)
class PlatformView:
    """What the platform says, or would say, about an ad.

    Attributes:
        cost_ratio: recent cost per result as a multiple of the ad's past; None without results.
        cost_state: the platform's word for that multiple; None when it is unknown.
        level: level of its newest notice; None without a notice.
        noticed_at: when the platform noticed it.
        days_old: days from that to the score's day; None without a notice.
        message: the platform's text.
        agreement: whether the newest notice and the score say the same. Both speak of fatigue when the level is
            `medium` or `high`, and when the status is `warning` or `critical` or an alarm is raised. `unknown` without
            a notice, with one that is older than 28 days, and while the score is pending.
        text: all of it in words.
    """

    cost_ratio: float | None
    cost_state: CostState | None
    level: PlatformLevel | None
    noticed_at: datetime | None
    days_old: int | None
    message: str | None
    agreement: Agreement
    text: str


def find_cost_state(cost_ratio: float | None) -> CostState | None:
    """Return the platform's word for a cost per result of so many times the past; None when it is unknown."""
    if cost_ratio is None:
        return None
    if cost_ratio >= FATIGUE_RATIO:
        return "creative fatigue"
    return "creative limited" if cost_ratio > LIMITED_RATIO else "normal"


def platform_view(score: FatigueScore, notice: PlatformNotice | None) -> PlatformView:
    """Return the platform's view of the ad of a score.

    Args:
        score: the score; its day is the day of the view.
        notice: the ad's newest notice by then; None without one.
    """
    state = find_cost_state(score.cost_ratio)
    days_old = None if notice is None else max(0, (score.as_of - notice.noticed_at.date()).days)
    agreement = _compare(score, notice, days_old)
    return PlatformView(
        cost_ratio=score.cost_ratio,
        cost_state=state,
        level=None if notice is None else notice.level,
        noticed_at=None if notice is None else notice.noticed_at,
        days_old=days_old,
        message=None if notice is None else notice.message,
        agreement=agreement,
        text=" ".join([_describe_cost(score.cost_ratio, state), _describe_notice(notice, days_old, agreement)]),
    )


def speaks_of_fatigue(score: FatigueScore) -> bool:
    """Return whether a score says that the ad is fatigued: its band, or an alarm."""
    return score.status in {"warning", "critical"} or score.alarm == "alarm"


def _compare(score: FatigueScore, notice: PlatformNotice | None, days_old: int | None) -> Agreement:
    if notice is None or score.status == "pending" or (days_old or 0) > STALE_DAYS:
        return "unknown"
    is_noticed, is_scored = notice.level != "low", speaks_of_fatigue(score)
    if is_noticed == is_scored:
        return "agrees"
    return "only the platform" if is_noticed else "only adwarm"


def _describe_cost(ratio: float | None, state: CostState | None) -> str:
    if ratio is None or state is None:
        return "Cost per result: unknown, there are too few results."
    words = {
        "normal": "not above it",
        "creative limited": "what Meta calls creative limited (above 1x, below 2x)",
        "creative fatigue": "what Meta calls creative fatigue (2x or more)",
    }
    return f"Cost per result: {ratio:.2f}x of the ad's past, {words[state]}."


def _describe_notice(notice: PlatformNotice | None, days_old: int | None, agreement: Agreement) -> str:
    if notice is None:
        return "Meta has sent no notice about this ad."
    age = "on this day" if not days_old else f"{format_count(days_old, 'day')} before this day"
    words = {
        "agrees": "the score says the same",
        "only the platform": "the score does not show fatigue",
        "only adwarm": "the score shows fatigue, Meta does not",
        "unknown": "too old to compare" if (days_old or 0) > STALE_DAYS else "there is no score to compare",
    }
    return f"Meta's notice: fatigue level {notice.level}, {age}; {words[agreement]}."
