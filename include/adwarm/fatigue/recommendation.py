"""What a score means for the person who runs the ad: what to do, why, and when the next status is reached.

The projection follows the trend in a straight line. With total `T`, trend `s` in points a day and the upper limit `L`
of the current status, the status changes on the first day `n` with `T + n * s > L`, so `n = floor((L - T) / s) + 1`.
There is no projection for critical and pending ads, for a trend below `MIN_TREND`, for scores of a quality below
`MIN_QUALITY`, and for days beyond `MAX_DAYS_AHEAD`, because a line through four days says nothing about them.
"""

import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from adwarm.fatigue.score import HEALTHY_UP_TO, WARNING_UP_TO, status_of
from adwarm.foundation.wording import format_count
from adwarm.model import FatigueScore, FatigueStatus
from adwarm.settings import FatigueSettings

MIN_TREND: Final = 0.25
"""Points a day; a slower increase counts as flat."""
MIN_QUALITY: Final = 0.5
"""A score of a lower quality is not projected, and its recommendation says so."""
MAX_DAYS_AHEAD: Final = 30
SOON_DAYS: Final = 7
_LIMITS: Final[dict[FatigueStatus, float]] = {"healthy": HEALTHY_UP_TO, "warning": WARNING_UP_TO}
_ACTIONS: Final = {
    "creative": "Replace the creative: its image, video or text no longer earns its usual clicks.",
    "audience": "Widen the audience or cap the frequency: the same people see the ad too often.",
    "algorithm": "Check bid, budget and competing ads: delivery has become more expensive.",
}
_FLAGS: Final = {
    "clicks_missing": "some days have no clicks",
    "ctr_implausible": "the click-through rate is implausibly high",
    "frequency_missing": "the frequency is unknown",
    "frequency_notable": "the frequency is unusually high",
    "impressions_missing": "some days have no impressions",
    "link_clicks_used": "link clicks stand in for all clicks",
    "spend_missing": "some days have no spend",
}


@dataclass(frozen=True, slots=True)
class Projection:
    """The next status, and the first day on which the score is in it at the present trend."""

    status: FatigueStatus
    day: date


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to do about an ad.

    Attributes:
        action: one or two sentences.
        reasons: figures behind it, the strongest first.
        caution: why the score may be wrong; empty when nothing speaks against it.
    """

    action: str
    reasons: tuple[str, ...] = ()
    caution: str = ""


def project_status(score: FatigueScore) -> Projection | None:
    """Return when the score reaches the next status; None when that cannot be said, see the module."""
    limit, trend = _LIMITS.get(score.status), score.trend_per_day
    if score.total is None or limit is None or trend is None or trend < MIN_TREND or score.data_quality < MIN_QUALITY:
        return None
    days = math.floor((limit - score.total) / trend) + 1
    if days > MAX_DAYS_AHEAD:
        return None
    return Projection(status_of(score.total + days * trend), score.as_of + timedelta(days=days))


def recommend(score: FatigueScore, settings: FatigueSettings) -> Recommendation:
    """Return what to do about an ad.

    Args:
        score: its newest score.
        settings: the weights of the components and the minimums of a score.
    """
    if score.total is None:
        return Recommendation("Wait: there is too little data for a score.", _list_needs(score.baseline, settings))
    caution = _describe_caution(score)
    if score.status == "healthy":
        return Recommendation(_describe_healthy(score), _describe_figures(score), caution)
    names = rank_components(score, settings)
    actions = [_ACTIONS[name] for name in names[: 2 if score.status == "critical" else 1]]
    if score.status == "critical":
        actions.append("Pause the ad if that is not possible soon.")
    reasons = _describe_figures(score)
    return Recommendation(" ".join(actions), reasons, caution)


def rank_components(score: FatigueScore, settings: FatigueSettings) -> list[str]:
    """Return the components that raise the score, the largest contribution (weight times value) first.

    Those within the healthy band are left out, unless none is above it.
    """
    values = {name: getattr(score, name) for name in _ACTIONS}
    weighted = {
        name: weight * values[name]
        for name, weight in zip(_ACTIONS, settings.weights, strict=True)
        if values[name] is not None and weight
    }
    ranked = sorted(weighted, key=lambda name: -weighted[name])
    return [name for name in ranked if values[name] > HEALTHY_UP_TO] or ranked[:1]


def describe_flags(score: FatigueScore) -> list[str]:
    """Return in words which data was missing or looked wrong."""
    return [_FLAGS.get(name, str(name).replace("_", " ")) for name in score.baseline.get("flags", ())]


def _describe_healthy(score: FatigueScore) -> str:
    projection = project_status(score)
    if projection is not None and (projection.day - score.as_of).days <= SOON_DAYS:
        return f"Prepare a new creative: at this pace the ad reaches {projection.status} on {projection.day}."
    return "Nothing to do."


def _describe_figures(score: FatigueScore) -> tuple[str, ...]:
    """Return the measured change behind each component, those with the highest value first."""
    baseline = score.baseline
    texts = {
        "creative": _describe_change("click-through rate", baseline.get("recent_ctr"), baseline.get("ctr")),
        "audience": _describe_frequency(baseline.get("frequency")),
        "algorithm": _describe_change(
            "price of a thousand impressions", baseline.get("recent_cpm"), baseline.get("cpm")
        ),
    }
    known = [name for name in texts if getattr(score, name) is not None and texts[name]]
    return tuple(texts[name] for name in sorted(known, key=lambda name: -getattr(score, name)))


def _describe_change(what: str, recent: Any, usual: Any) -> str:
    if not usual or recent is None:
        return ""
    change = recent / usual - 1
    if abs(change) < 0.005:
        return f"{what} as usual"
    return f"{what} {abs(change):.0%} {'above' if change > 0 else 'below'} its usual level"


def _describe_frequency(frequency: Any) -> str:
    return "" if frequency is None else f"one person saw it {frequency:.1f} times in seven days"


def _describe_caution(score: FatigueScore) -> str:
    flags = ", ".join(describe_flags(score))
    if score.data_quality >= MIN_QUALITY:
        return ""
    return f"Check the data first: its quality is {score.data_quality:.0%}" + (f" ({flags})." if flags else ".")


def _list_needs(baseline: Any, settings: FatigueSettings) -> tuple[str, ...]:
    """Return what a pending ad lacks; the minimums when its figures do not say."""
    if "impressions_missing" in baseline.get("flags", ()):
        return ("needs rows with impressions",)
    needs = []
    age, past = baseline.get("age_days"), baseline.get("impressions")
    if age is None or past is None:
        days, impressions = format_count(settings.min_days, "day"), format_count(settings.min_impressions, "impression")
        return (f"needs {days} with delivery and {impressions}",)
    if age < settings.min_days:
        needs.append(f"needs {format_count(settings.min_days - age, 'more day', 'more days')}")
    impressions_left = math.ceil(settings.min_impressions - past - (baseline.get("recent_impressions") or 0))
    if impressions_left > 0:
        needs.append(f"needs {format_count(impressions_left, 'more impression', 'more impressions')}")
    if not needs:
        needs.append("needs delivery in the recent days and before them, with clicks, spend or a frequency to compare")
    return tuple(needs)
