"""What a score and an alarm mean for the person who runs the ad: one action first, then the figures behind it.

The action follows from the status, which is the band of the clicks lost for the same money, and from the component that
raises the score most; from `PAUSE_FROM` on a critical ad is to be paused. A healthy ad with an alarm gets an
action, too: a status compares the last days with the ad's good weeks, and an alarm is evidence that the click-through
rate falls by more than chance explains, so each can speak without the other. `Recommendation.note` then says why.

Cost per result is compared with the limits of Meta's delivery column: above 1 times the past the creative is limited,
from 2 times on it is fatigued.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import Engine

from adwarm.fatigue.score import NOTABLE_COMPONENT
from adwarm.foundation.wording import format_count
from adwarm.model import FatigueScore
from adwarm.settings import FatigueSettings
from adwarm.store import maintenance_steps

PAUSE_FROM: Final = 0.6
"""Share of the clicks for the same money that is lost, from which an ad is to be paused."""
MIN_QUALITY: Final = 0.5
"""A score of a lower quality is not projected, and its recommendation says so."""
SOON_DAYS: Final = 7
"""A warning that becomes critical within so many days needs a replacement now."""
MAX_DAYS_AHEAD: Final = 60
FATIGUED_FROM: Final = 2.0
"""Cost per result as a multiple of the past, from which Meta calls a creative fatigued."""
_NOTABLE_COST: Final = 1.05
_REASON_FROM: Final = 15.0
"""A lower component is no reason for a warning."""
OUTCOMES: Final = (
    "on real ads about 9 of 10 such alarms still had a rate at least 5 % lower over the two weeks that followed; "
    "any day: 1 of 3"
)
"""How alarms turned out on 40 real daily series of an advertiser; shown until there are own outcomes."""
LEAST_OUTCOMES: Final = 20
_COMPONENTS: Final = ("creative", "audience", "algorithm")
_PAUSES: Final = {
    "creative": "Pause the ad and replace its creative: it has lost most of its pull.",
    "audience": "Pause the ad for this audience: the same people see it far too often.",
    "algorithm": "Pause the ad, or lower its bid: delivery has become far more expensive.",
}
_REFRESHES: Final = {
    "creative": "Replace the creative: its image, video or text no longer earns its usual clicks.",
    "audience": "Cap the frequency, or widen the audience: the same people see the ad too often.",
    "algorithm": "Check bid, budget and competing ads: delivery has become more expensive.",
}
_PREPARATIONS: Final = {
    "creative": "Prepare a replacement of the creative now",
    "audience": "Prepare a wider audience or a frequency cap now",
    "algorithm": "Check bid and budget now",
}
_WATCHES: Final = {
    "creative": "Plan a new creative: this one starts to lose clicks.",
    "audience": "Plan a wider audience: people start to see the ad too often.",
    "algorithm": "Watch the price: delivery becomes more expensive.",
}
_FLAGS: Final = {
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
_CHANGES: Final = ("budget_changed", "audience_changed")


@dataclass(frozen=True, slots=True)
class Projection:
    """When an ad becomes critical at its present pace.

    Attributes:
        first: the start of the 80 % interval.
        last: its end; None when it may never become critical.
    """

    first: date
    last: date | None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to do about an ad.

    Attributes:
        action: one sentence.
        reasons: figures behind it, the strongest first.
        caution: why score and alarm may be wrong; empty when nothing speaks against them.
        note: why score and alarm differ; empty when they agree.
    """

    action: str
    reasons: tuple[str, ...] = ()
    caution: str = ""
    note: str = ""


def recommend(score: FatigueScore, settings: FatigueSettings, outcomes: str = OUTCOMES) -> Recommendation:
    """Return what to do about an ad.

    Args:
        score: its newest score.
        settings: the weights of the components and the minimums of a score.
        outcomes: how alarms turned out, see `find_outcomes`.
    """
    flags = list_flags(score)
    if "suspended" in flags:
        return Recommendation("Nothing to do while the ad is off.", (_FLAGS["suspended"],))
    if score.total is None:
        return _recommend_pending(score, settings)
    driver = find_driver(score, settings)
    figures = *_describe_figures(score), *_describe_cost(score)
    reasons = filter(None, (describe_loss(score), *figures, *describe_alarm(score, outcomes)))
    action, note = _choose_action(score, driver), _explain_difference(score)
    return Recommendation(action, tuple(reasons), _describe_caution(score), note)


def find_driver(score: FatigueScore, settings: FatigueSettings) -> str | None:
    """Return the component that raises a score most; None when none is above 30.

    Scores that were stored before the driver was get the one with the largest weight times value.
    """
    if score.driver is not None or score.status not in ("warning", "critical"):
        return score.driver
    weighted = {
        name: weight * getattr(score, name)
        for name, weight in zip(_COMPONENTS, settings.weights, strict=True)
        if weight and (getattr(score, name) or 0.0) > NOTABLE_COMPONENT
    }
    return max(weighted, key=lambda name: weighted[name], default=None)


def is_critical_soon(score: FatigueScore) -> bool:
    """Return whether an ad is not critical and becomes so within `SOON_DAYS` at its present pace."""
    return project_critical(score) is not None and (score.days_to_critical or 0.0) <= SOON_DAYS


def project_critical(score: FatigueScore) -> Projection | None:
    """Return when an ad that is not critical becomes critical; None when that cannot be said.

    It cannot for an ad that does not lose more and more, whose quality is below `MIN_QUALITY`, that is expected to take
    longer than `MAX_DAYS_AHEAD`, or that is healthy and may as well stay so.
    """
    days = score.days_to_critical
    if days is None or score.status in ("critical", "pending"):
        return None
    if score.data_quality < MIN_QUALITY or days > MAX_DAYS_AHEAD:
        return None
    low, high = score.days_to_critical_low, score.days_to_critical_high
    first = score.as_of + timedelta(days=math.floor(days if low is None else low))
    if low is None:
        return Projection(first, score.as_of + timedelta(days=math.ceil(days)))
    is_open = high is None or high > MAX_DAYS_AHEAD
    if is_open and score.status == "healthy":
        return None
    return Projection(first, None if is_open else score.as_of + timedelta(days=math.ceil(high or 0.0)))


def describe_projection(score: FatigueScore) -> str:
    """Return when an ad becomes critical, such as `critical in 4 to 9 days`; empty when that cannot be said."""
    projection = project_critical(score)
    if projection is None:
        return ""
    low = (projection.first - score.as_of).days
    if projection.last is None:
        return f"critical in {format_count(low, 'day')} or later" if low else "critical from tomorrow on, or later"
    high = (projection.last - score.as_of).days
    if low < 1:
        return f"critical within {format_count(max(1, high), 'day')}"
    return f"critical in about {format_count(low, 'day')}" if high == low else f"critical in {low} to {high} days"


def find_outcomes(engine: Engine) -> str:
    """Return how alarms turned out: those of this installation, once the step `follow_alarms` has counted enough."""
    state = maintenance_steps.find_state(engine, "follow_alarms")
    counts = (state.result or {}).get("counts", {}) if state is not None else {}
    alarms, followed = counts.get("known", 0), counts.get("followed", 0)
    if alarms < LEAST_OUTCOMES:
        return OUTCOMES
    lower = "had a rate at least 5 % lower over the two weeks that followed"
    return f"of {alarms:,} such alarms here {followed:,} still {lower}"


def describe_alarm(score: FatigueScore, outcomes: str = OUTCOMES) -> tuple[str, ...]:
    """Return what an alarm or a watch says about the click-through rate; nothing without one."""
    if score.alarm == "none":
        return ()
    since = f" since about {score.onset:%b} {score.onset.day}" if score.onset else ""
    if score.alarm == "watch":
        return (f"first signs of a falling click-through rate{since}",)
    return (f"click-through rate falling{since}{_describe_month(score)}", outcomes)


def _describe_month(score: FatigueScore) -> str:
    """Return how far the rate of the last week is below that of the month before; empty when it is not."""
    recent, month = score.baseline.get("recent_ctr"), score.baseline.get("month_ctr")
    if recent is None or not month or recent > 0.995 * month:
        return ""
    return f", {1 - recent / month:.0%} below the month before"


def list_flags(score: FatigueScore) -> list[str]:
    """Return the names of what was missing or changed in the data of a score."""
    return [str(name) for name in score.baseline.get("flags", ())]


def describe_loss(score: FatigueScore) -> str:
    """Return what is lost, such as `gives 38% fewer clicks for the same money than in its good weeks`; may be empty."""
    if score.loss is None:
        return ""
    money = "" if score.baseline.get("recent_cpm") is None else " for the same money"
    percent = f"{abs(score.loss):.0%}"
    if percent == "0%":
        return f"gives as many clicks{money} as in its good weeks"
    return f"gives {percent} {'fewer' if score.loss > 0 else 'more'} clicks{money} than in its good weeks"


def describe_flags(score: FatigueScore) -> list[str]:
    """Return in words which data was missing, changed, or looked wrong."""
    return [_FLAGS.get(name, name.replace("_", " ")) for name in list_flags(score)]


def _choose_action(score: FatigueScore, driver: str | None) -> str:
    name = driver or _find_cause(score)
    if score.status == "critical":
        return _PAUSES[name] if (score.loss or 0.0) >= PAUSE_FROM else _REFRESHES[name]
    projection = describe_projection(score)
    if score.alarm == "alarm":
        return "Prepare a new creative today: the click-through rate falls by more than chance explains."
    if is_critical_soon(score):
        return f"{_PREPARATIONS[name]}: at this pace the ad is {projection}."
    if score.status == "warning":
        return _WATCHES[name]
    if score.alarm == "watch":
        return "Look again tomorrow: the click-through rate may have started to fall."
    return "Nothing to do."


def _find_cause(score: FatigueScore) -> str:
    """Return whether more is lost by the click-through rate or by the price."""
    return "algorithm" if (score.algorithm or 0.0) > (score.creative or 0.0) else "creative"


def _explain_difference(score: FatigueScore) -> str:
    """Return why status and alarm do not say the same."""
    if score.alarm == "alarm" and score.status == "healthy":
        return (
            "The ad is healthy because little is lost yet against its good weeks. The alarm is evidence that the "
            "fall is more than chance."
        )
    if score.alarm != "none" or score.status != "critical":
        return ""
    if _find_cause(score) == "algorithm":
        return "There is no alarm because alarms watch clicks, and this loss comes from its price."
    return (
        "There is no alarm: the ad is far below its good weeks, and chance may explain part of that, or it fell "
        "before the days that the alarm watches."
    )


def _describe_figures(score: FatigueScore) -> tuple[str, ...]:
    """Return the measured change behind each component, those with the highest value first."""
    baseline = score.baseline
    texts = {
        "creative": _describe_change(
            "click-through rate", "good weeks", (baseline.get("recent_ctr"), baseline.get("ctr")), "{:.2%}"
        ),
        "audience": _describe_frequency(baseline.get("frequency")),
        "algorithm": _describe_change(
            "price of a thousand impressions",
            "usual weeks",
            (baseline.get("recent_cpm"), baseline.get("cpm")),
            "{:,.2f}",
        ),
    }
    lowest = 0.0 if score.status == "healthy" else _REASON_FROM
    names = [name for name in texts if texts[name] and (value := getattr(score, name)) is not None and value >= lowest]
    return tuple(texts[name] for name in sorted(names, key=lambda name: -getattr(score, name)))


def _describe_change(what: str, weeks: str, figures: tuple[Any, Any], pattern: str) -> str:
    recent, usual = figures
    if not usual or recent is None:
        return ""
    change = recent / usual - 1
    if abs(change) < 0.005:
        return f"{what} {pattern.format(recent)}, as in its {weeks}"
    side = "above" if change > 0 else "below"
    return f"{what} {pattern.format(recent)}, {abs(change):.0%} {side} its {weeks}"


def _describe_frequency(frequency: Any) -> str:
    return "" if frequency is None else f"one person saw it {frequency:.1f} times in seven days"


def _describe_cost(score: FatigueScore) -> tuple[str, ...]:
    """Return the cost per result beside the limits of Meta; nothing without results."""
    ratio = score.cost_ratio
    if ratio is None:
        return ()
    if ratio >= FATIGUED_FROM:
        return (f"cost per result {ratio:.1f} times its past (Meta calls a creative fatigued from 2 times on)",)
    if ratio >= _NOTABLE_COST:
        return (f"cost per result {ratio:.1f} times its past (Meta calls a creative limited above 1 time)",)
    return ("cost per result not above its past",)


def _describe_caution(score: FatigueScore) -> str:
    flags = list_flags(score)
    changed = [_FLAGS[name] for name in _CHANGES if name in flags]
    parts = []
    if changed and (score.status != "healthy" or score.alarm != "none"):
        parts.append(f"Look at the last days first: {' and '.join(changed)}, which can look like fatigue.")
    if score.data_quality < MIN_QUALITY:
        others = ", ".join(_FLAGS.get(name, name.replace("_", " ")) for name in flags if name not in _CHANGES)
        quality = f"Check the data first: its quality is {score.data_quality:.0%}"
        parts.append(quality + (f" ({others})." if others else "."))
    return " ".join(parts)


def _recommend_pending(score: FatigueScore, settings: FatigueSettings) -> Recommendation:
    if "history_missing" in list_flags(score):
        reasons = ("too many days of the account are not stored; the run that stores them makes the score",)
        return Recommendation("Wait, or backfill the missing days with the DAG adwarm_daily_insights.", reasons)
    needs = (*describe_alarm(score), *_list_needs(score.baseline, settings))
    if score.alarm == "alarm":
        return Recommendation("Look at the ad today: its click-through rate falls, and there is no score yet.", needs)
    return Recommendation("Wait: there is too little data for a score.", needs)


def _list_needs(baseline: Mapping[str, Any], settings: FatigueSettings) -> tuple[str, ...]:
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
        needs.append("needs delivery in the recent days and before them, with clicks to compare")
    return tuple(needs)
