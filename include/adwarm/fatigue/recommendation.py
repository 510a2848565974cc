"""What a score and an alarm mean for the person who runs the ad: one action first, then the figures behind it.

The action follows from the status, which is the band of the clicks lost for the same money, and from the component that
raises the score most; from `PAUSE_FROM` on a critical ad is to be paused. A healthy ad with an alarm gets an
action, too: a status compares the last days with the ad's good weeks, and an alarm is evidence that the click-through
rate falls by more than chance explains, so each can speak without the other. `Recommendation.note` then says why.

Cost per result is compared with the limits of Meta's delivery column: above 1 times the past the creative is limited,
from 2 times on it is fatigued.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine

from adwarm.foundation.wording import format_count
from adwarm.model import FatigueScore
from adwarm.model.fatigue_score import FLAGS
from adwarm.settings import FatigueSettings
from adwarm.store import maintenance_steps
from adwarm.store.scores import StoredScore

PAUSE_FROM: Final = 0.6
"""Share of the clicks for the same money that is lost, from which an ad is to be paused."""
MIN_QUALITY: Final = 0.5
"""A score of a lower quality is not projected, and its recommendation says so."""
SOON_DAYS: Final = 7
"""A warning that becomes critical within so many days needs a replacement now."""
MAX_DAYS_AHEAD: Final = 60
FATIGUED_FROM: Final = 2.0
"""Cost per result as a multiple of the past, from which Meta calls a creative fatigued."""
LIMITED_FROM: Final = 1.005
"""From here on the cost per result shows as above its past; Meta then calls a creative limited."""
_REASON_FROM: Final = 15.0
"""A lower component is not a reason for a warning."""
_HELD: Final = "held: a rate at least 5 % lower over the two weeks that followed"
OUTCOMES: Final = f"15 of 17 such alarms {_HELD}, on real ads of one advertiser; any day: 1 of 3"
"""How alarms turned out on 40 daily series, each account judged without it; shown until there are own outcomes."""
LEAST_OUTCOMES: Final = 20
_NAME_LENGTH: Final = 60
_PAUSES: Final = {
    "creative": "Pause and replace the creative: it has lost most of its pull.",
    "audience": "Pause it for this audience: the same people see it far too often.",
    "algorithm": "Pause it, or lower the bid: delivery has become far more expensive.",
}
_REFRESHES: Final = {
    "creative": "Replace the creative: its image, video or text no longer earns its usual clicks.",
    "audience": "Cap the frequency, or widen the audience: the same people see it too often.",
    "algorithm": "Check bid, budget and competing ads: delivery has become more expensive.",
}
_PREPARATIONS: Final = {
    "creative": "Prepare a new creative now",
    "audience": "Prepare a wider audience or a frequency cap now",
    "algorithm": "Check bid and budget now",
}
_WATCHES: Final = {
    "creative": "Plan a new creative: this one starts to lose clicks.",
    "audience": "Plan a wider audience: people start to see it too often.",
    "algorithm": "Watch the price: delivery becomes more expensive.",
}
_CHANGES: Final = ("budget_changed", "audience_changed")


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to do about an ad.

    Attributes:
        action: one sentence.
        reasons: figures behind it, the strongest first.
        caution: why score and alarm may be wrong; empty when nothing speaks against them.
        note: why score and alarm differ; empty when they agree.
        certainty: how sure it is that the ad wears out, and on what evidence; empty without a score.
    """

    action: str
    reasons: tuple[str, ...] = ()
    caution: str = ""
    note: str = ""
    certainty: str = ""


def recommend(score: FatigueScore, settings: FatigueSettings, outcomes: str = OUTCOMES) -> Recommendation:
    """Return what to do about an ad.

    Args:
        outcomes: how alarms turned out, see `find_outcomes`.
    """
    flags = list_flags(score)
    if "suspended" in flags:
        return Recommendation("Nothing to do while it is off.", (FLAGS["suspended"],))
    if score.total is None:
        return _recommend_pending(score, settings)
    figures = *_describe_figures(score), *_describe_cost(score)
    reasons = filter(None, (describe_loss(score), *figures, *describe_alarm(score, outcomes)))
    action, caution, note = _choose_action(score), _describe_caution(score), _explain_difference(score)
    return Recommendation(action, tuple(reasons), caution, note, _describe_certainty(score, caution, outcomes))


def find_days_ahead(score: FatigueScore) -> tuple[int, int | None] | None:
    """Return within how many days an ad becomes critical at its present pace, at least and at most.

    The two contain the 80 % interval; the second is None when the ad may never become critical. It is None altogether
    for an ad that is critical or does not lose more and more, whose quality is below `MIN_QUALITY`, that is expected to
    take longer than `MAX_DAYS_AHEAD`, or that is healthy and may as well stay so.
    """
    days = score.days_to_critical
    if days is None or score.status in ("critical", "pending"):
        return None
    if score.data_quality < MIN_QUALITY or days > MAX_DAYS_AHEAD:
        return None
    low, high = score.days_to_critical_low, score.days_to_critical_high
    if low is None:
        return math.floor(days), math.ceil(days)
    if high is not None and high <= MAX_DAYS_AHEAD:
        return math.floor(low), math.ceil(high)
    return None if score.status == "healthy" else (math.floor(low), None)


def describe_projection(score: FatigueScore) -> str:
    """Return when an ad becomes critical, such as `critical in 4 to 9 days`; empty when that cannot be said."""
    low, high = find_days_ahead(score) or (None, None)
    if low is None:
        return ""
    if high is None:
        return f"critical in {format_count(low, 'day')} at the earliest" if low else "critical tomorrow at the earliest"
    if low < 1:
        return f"critical within {format_count(max(1, high), 'day')}"
    return f"critical in about {format_count(low, 'day')}" if high == low else f"critical in {low} to {high} days"


def find_outcomes(engine: Engine) -> str:
    """Return how alarms turned out: those of this installation, once the step `follow_alarms` has counted enough."""
    state = maintenance_steps.find_state(engine, "follow_alarms")
    counts = (state.result or {}).get("counts", {}) if state is not None else {}
    ended, followed = counts.get("known", 0), counts.get("followed", 0)
    if ended < LEAST_OUTCOMES:
        return OUTCOMES
    return f"{followed:,} of {ended:,} such alarms here {_HELD}"


def describe_alarm(score: FatigueScore, outcomes: str = OUTCOMES) -> tuple[str, ...]:
    """Return what an alarm or a watch says about the click-through rate; nothing without one."""
    if score.alarm == "none":
        return ()
    since = f" since about {score.onset:%b} {score.onset.day}" if score.onset else ""
    if score.alarm == "watch":
        return (f"first signs of a falling click-through rate{since}",)
    return (f"click-through rate falling{since}{_describe_month(score)}", outcomes)


def _describe_certainty(score: FatigueScore, caution: str, outcomes: str) -> str:
    if caution:
        return f"not sure. {caution}"
    if score.alarm == "alarm":
        since = f" since {score.alarm_since:%b} {score.alarm_since.day}" if score.alarm_since else ""
        return f"alarm{since}; {outcomes.partition(' such')[0]} such alarms held"
    if score.alarm == "watch":
        return f"maybe: {describe_alarm(score)[0]}"
    if _find_cause(score) == "algorithm":
        return "the price rose; alarms watch clicks"
    return "maybe by chance: there is no alarm"


def _describe_month(score: FatigueScore) -> str:
    """Return how far the rate of the last week is below that of the month before; empty when it is not."""
    recent, month = score.baseline.get("recent_ctr"), score.baseline.get("month_ctr")
    if recent is None or not month or recent > 0.995 * month:
        return ""
    return f", {1 - recent / month:.0%} below the month before"


def list_flags(score: FatigueScore) -> list[str]:
    """Return the names of what was missing or changed in the data of a score."""
    return [str(name) for name in score.baseline.get("flags", ())]


def format_loss(loss: float) -> str:
    """Return the size of a loss or gain in whole percent, cut and not rounded: below a limit, it does not show it."""
    size = abs(loss)
    percent = int(100 * size)
    return f"{percent + (size >= (percent + 1) / 100)}%"  # 100 * 0.29 is less than 29


def describe_loss(score: FatigueScore) -> str:
    """Return what is lost, such as `gives 38% fewer clicks for the same money than in its good weeks`; may be empty."""
    if score.loss is None:
        return ""
    money = "" if score.baseline.get("recent_cpm") is None else " for the same money"
    percent = format_loss(score.loss)
    if percent == "0%":
        return f"gives as many clicks{money} as in its good weeks"
    return f"gives {percent} {'fewer' if score.loss > 0 else 'more'} clicks{money} than in its good weeks"


def identify(score: FatigueScore, parts: Sequence[StoredScore] = ()) -> str:
    """Return the name of an ad or creative in one line, with its id, its account, and of how many ads it is."""
    name = " ".join(score.ad_name.split()) or score.ad_id
    name = name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"
    ads = f", {format_count(len(parts), 'ad')}" if score.is_creative else ""
    return f"{name} ({score.ad_id} of {score.account_id}{ads})"


def describe_flags(score: FatigueScore) -> list[str]:
    """Return in words which data was missing, changed, or looked wrong."""
    return [FLAGS.get(name, name.replace("_", " ")) for name in list_flags(score)]


def _choose_action(score: FatigueScore) -> str:
    name = score.driver or _find_cause(score)
    if score.status == "critical":
        return _PAUSES[name] if (score.loss or 0.0) >= PAUSE_FROM else _REFRESHES[name]
    projection = describe_projection(score)
    if score.alarm == "alarm":
        return "Prepare a new creative today: the click-through rate falls by more than chance explains."
    if projection and (score.days_to_critical or 0.0) <= SOON_DAYS:
        return f"{_PREPARATIONS[name]}: at this pace it is {projection}."
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
            "It is healthy because little is lost yet against its good weeks. The alarm is evidence that the "
            "fall is more than chance."
        )
    if score.alarm != "none" or score.status != "critical":
        return ""
    if _find_cause(score) == "algorithm":
        return "There is no alarm because alarms watch clicks, and this loss comes from its price."
    return (
        "There is no alarm: it is far below its good weeks, and chance may explain part of that, or it fell "
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


def name_cost_status(score: FatigueScore) -> str:
    """Return what Meta's own rule says about the cost per result, in Meta's words; empty without results."""
    if score.cost_ratio is None:
        return ""
    if score.cost_ratio >= FATIGUED_FROM:
        return "creative fatigue"
    return "creative limited" if score.cost_ratio >= LIMITED_FROM else "not limited"


def _describe_cost(score: FatigueScore) -> tuple[str, ...]:
    """Return the cost per result beside the limits of Meta; nothing without results."""
    status = name_cost_status(score)
    if not status or score.cost_ratio is None:
        return ()
    if status == "not limited":
        return ("cost per result not above its past",)
    limit = "from 2 times on" if status == "creative fatigue" else "above 1 time"
    return (f"cost per result {score.cost_ratio:.2f} times its past (Meta: {status} {limit})",)


def _describe_caution(score: FatigueScore) -> str:
    flags = list_flags(score)
    changed = [FLAGS[name] for name in _CHANGES if name in flags]
    parts = []
    if changed and (score.status != "healthy" or score.alarm != "none"):
        parts.append(f"Look at the last days first: {' and '.join(changed)}, which can look like fatigue.")
    if score.data_quality < MIN_QUALITY:
        others = ", ".join(FLAGS.get(name, name.replace("_", " ")) for name in flags if name not in _CHANGES)
        quality = f"Check the data first: its quality is {score.data_quality:.0%}"
        parts.append(quality + (f" ({others})." if others else "."))
    return " ".join(parts)


def _recommend_pending(score: FatigueScore, settings: FatigueSettings) -> Recommendation:
    flags = list_flags(score)
    if "history_missing" in flags and "impressions_missing" not in flags:  # more days do not help
        reasons = ("too many days of the account are not stored; the run that stores them makes the score",)
        return Recommendation("Wait, or backfill the missing days with the DAG adwarm_daily_insights.", reasons)
    needs = (*describe_alarm(score), *_list_needs(score.baseline, settings))
    if score.alarm == "alarm":
        return Recommendation("Look at it today: its click-through rate falls, and there is no score yet.", needs)
    return Recommendation("Wait: there is too little data for a score.", needs)


def _list_needs(baseline: Mapping[str, Any], settings: FatigueSettings) -> tuple[str, ...]:
    """Return what a pending ad lacks."""
    if "impressions_missing" in baseline.get("flags", ()):
        return ("needs rows with impressions",)
    needs = []
    age = baseline.get("age_days") or 0
    shown = (baseline.get("impressions") or 0) + (baseline.get("recent_impressions") or 0)
    if age < settings.min_days:
        needs.append(f"needs {format_count(settings.min_days - age, 'more day', 'more days')}")
    impressions_left = math.ceil(settings.min_impressions - shown)
    if impressions_left > 0:
        needs.append(f"needs {format_count(impressions_left, 'more impression', 'more impressions')}")
    if not needs:
        needs.append("needs delivery in the recent days and before them, with clicks to compare")
    return tuple(needs)
