"""What stored scores say about an account: its summary, what changed since an earlier day, and an ad in words.

An ad is fatigued when its status is `critical` or it has an alarm. The score of an account is the mean total of its ads
weighted by their spend of the last seven days; ads without a total or with unknown spend have no weight.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final, Literal

from adwarm.fatigue.recommendation import (
    OUTCOMES,
    describe_alarm,
    describe_flags,
    describe_loss,
    describe_projection,
    recommend,
)
from adwarm.foundation.wording import format_count, format_csv
from adwarm.model import FatigueScore, FatigueStatus
from adwarm.settings import FatigueSettings
from adwarm.store.scores import STATUSES, StoredScore

ChangeKind = Literal["alarm", "worse", "pending", "new", "better", "recovered", "scored", "gone"]
"""What happened to an ad, in the order in which changes are listed."""
CHANGE_WORDS: Final[Mapping[ChangeKind, str]] = {
    "alarm": "new alarm",
    "worse": "worse status",
    "pending": "newly pending",
    "new": "new ad",
    "better": "better status",
    "recovered": "alarm ended",
    "scored": "scored again",
    "gone": "no longer delivers",
}
_KIND_ORDER: Final = tuple(CHANGE_WORDS)
_BANDS: Final[Mapping[FatigueStatus, int]] = {"healthy": 0, "warning": 1, "critical": 2}
DRIVER_WORDS: Final[Mapping[str, str]] = {
    "creative": "lost click-through rate",
    "audience": "high frequency",
    "algorithm": "increased price",
}


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """The ads of an account on one day.

    Attributes:
        ads: ads with a row.
        statuses: number of ads by status; every status is there.
        watches: ads with evidence that is not enough for an alarm.
        fatigued: critical ads and ads with an alarm.
        score: mean total, weighted by recent spend; None when no scored ad has known spend.
        recent_spend: spend of the last seven days, in the account's currency; None when unknown for every ad.
        fatigued_share: share of `fatigued_spend` in all recent spend, 0 to 1; None without known spend.
        unknown_spend: ads whose recent spend is unknown, which no weighted figure counts.
        settled: whether no data behind the scores can change any more.
    """

    account_id: str
    as_of: date
    ads: int
    statuses: dict[str, int]
    alarms: int
    watches: int
    fatigued: int
    score: float | None
    recent_spend: float | None
    fatigued_spend: float | None
    fatigued_share: float | None
    unknown_spend: int
    settled: bool

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "as_of": self.as_of.isoformat()}

    def describe(self, currency: str = "") -> str:
        """Return the summary as one line."""
        statuses = ", ".join(
            f"{self.statuses[name]:,} {name}" for name in ("critical", "warning", "healthy", "pending")
        )
        parts = [f"{format_count(self.ads, 'ad')} ({statuses})", format_count(self.alarms, "alarm")]
        if self.score is not None:
            parts.append(f"score {self.score:.0f} weighted by spend")
        if self.fatigued_share is not None and self.recent_spend is not None:
            amount = f"{self.recent_spend:,.0f} {currency}".strip()
            parts.append(f"{self.fatigued_share:.0%} of the last seven days' spend ({amount}) is in fatigued ads")
        if self.unknown_spend:
            parts.append(f"spend of {format_count(self.unknown_spend, 'ad')} unknown")
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class AdChange:
    """What happened to one ad between two days.

    Attributes:
        kind: what happened; an ad with a new alarm may have changed its status too.
        score: its score of the later day; that of the earlier day for an ad that is gone.
        before: its score of the earlier day; None for a new ad.
        restated: whether the score of the earlier day was calculated with or after that of the later day, by a
            backfill or from newer data, so that it may not be what was shown on the day itself.
    """

    kind: ChangeKind
    score: FatigueScore
    before: FatigueScore | None
    restated: bool

    @property
    def text(self) -> str:
        """The change in words."""
        score, before = self.score, self.before
        if self.kind == "alarm":
            return f"new alarm{_moved(before, score)}"
        if before is None:
            return f"new ad, {_state(score)}"
        if self.kind == "gone":
            return f"no delivery any more; it was {_state(before)}"
        if self.kind == "recovered":
            return f"alarm ended{_moved(before, score)}"
        return f"{_state(before)} → {_state(score)}"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        score, before = self.score, self.before
        return {
            "kind": self.kind,
            "ad_id": score.ad_id,
            "ad_name": score.ad_name,
            "text": self.text,
            "status": None if self.kind == "gone" else score.status,
            "status_before": None if before is None else before.status,
            "loss": None if self.kind == "gone" else score.loss,
            "loss_before": None if before is None else before.loss,
            "total": None if self.kind == "gone" else score.total,
            "total_before": None if before is None else before.total,
            "alarm": "none" if self.kind == "gone" else score.alarm,
            "alarm_before": "none" if before is None else before.alarm,
            "restated": self.restated,
        }


def summarize(scores: Sequence[StoredScore]) -> AccountSummary:
    """Return the summary of the scores of one account and day, at least one."""
    listed = [item.score for item in scores]
    statuses = Counter(score.status for score in listed)
    spends = [(score, score.recent_spend) for score in listed if score.recent_spend is not None]
    spend = sum(amount for _, amount in spends) if spends else None
    scored = [(score.total, amount) for score, amount in spends if score.total is not None]
    weight = sum(amount for _, amount in scored)
    fatigued_spend = sum(amount for score, amount in spends if is_fatigued(score)) if spends else None
    return AccountSummary(
        account_id=listed[0].account_id,
        as_of=listed[0].as_of,
        ads=len(listed),
        statuses={name: statuses[name] for name in STATUSES},
        alarms=sum(score.alarm == "alarm" for score in listed),
        watches=sum(score.alarm == "watch" for score in listed),
        fatigued=sum(map(is_fatigued, listed)),
        score=round(sum(total * amount for total, amount in scored) / weight, 4) if weight else None,
        recent_spend=None if spend is None else round(spend, 2),
        fatigued_spend=None if fatigued_spend is None else round(fatigued_spend, 2),
        fatigued_share=None if not spend or fatigued_spend is None else round(fatigued_spend / spend, 6),
        unknown_spend=len(listed) - len(spends),
        settled=all(item.settled for item in scores),
    )


def is_fatigued(score: FatigueScore) -> bool:
    """Return whether an ad counts as fatigued."""
    return score.status == "critical" or score.alarm == "alarm"


def list_changes(before: Sequence[StoredScore], after: Sequence[StoredScore]) -> list[AdChange]:
    """Return what happened between two days of an account: alarms first, then by kind and the highest total."""
    old = {item.score.ad_id: item for item in before}
    changes = [_compare(old.pop(item.score.ad_id, None), item) for item in after]
    changes += [AdChange("gone", item.score, item.score, restated=False) for item in old.values()]
    differing = [change for change in changes if change is not None]
    return sorted(differing, key=lambda c: (_KIND_ORDER.index(c.kind), -(c.score.total or -1.0), c.score.ad_id))


def _compare(before: StoredScore | None, after: StoredScore) -> AdChange | None:
    now = after.score
    if before is None:
        return AdChange("alarm" if now.alarm == "alarm" else "new", now, None, restated=False)
    kind = _kind_of_change(before.score, now)
    restated = before.calculated_at >= after.calculated_at
    return None if kind is None else AdChange(kind, now, before.score, restated)


def _kind_of_change(old: FatigueScore, new: FatigueScore) -> ChangeKind | None:
    if new.alarm == "alarm" and old.alarm != "alarm":
        return "alarm"
    if "pending" in {old.status, new.status}:
        if old.status == new.status:
            return None
        return "pending" if new.status == "pending" else "scored"
    step = _BANDS[new.status] - _BANDS[old.status]
    if step > 0:
        return "worse"
    if old.alarm == "alarm" and new.alarm != "alarm":
        return "recovered"
    return "better" if step < 0 else None


def _state(score: FatigueScore) -> str:
    if score.loss is None:
        return score.status
    return f"{score.status} ({abs(score.loss):.0%} {'lost' if score.loss > -0.005 else 'gained'})"


def _moved(before: FatigueScore | None, score: FatigueScore) -> str:
    return f", {_state(score)}" if before is None else f", {_state(before)} → {_state(score)}"


def describe_time_to_critical(score: FatigueScore) -> str:
    """Return when an ad that is not critical becomes so at its present pace; `now` when it is, empty when unknown."""
    return "now" if score.status == "critical" else describe_projection(score).removeprefix("critical ")


CSV_COLUMNS: Final = (
    "account_id",
    "ad_id",
    "ad_name",
    "as_of",
    "status",
    "loss",
    "total",
    "creative",
    "audience",
    "algorithm",
    "driver",
    "data_quality",
    "trend_per_day",
    "days_to_critical",
    "days_to_critical_low",
    "days_to_critical_high",
    "alarm",
    "alarm_since",
    "onset",
    "evidence",
    "cost_ratio",
    "recent_spend",
    "recommendation",
    "flags",
    "settled",
    "data_version",
    "calculator_version",
    "calculated_at",
)
"""Columns of an export: those of the table `fatigue_score`, with the recommendation and the flags in words."""


def format_scores_csv(scores: Iterable[StoredScore], settings: FatigueSettings) -> str:
    """Return scores as CSV; see `adwarm.foundation.wording` for texts that look like formulas."""
    return format_csv(CSV_COLUMNS, (list_csv_cells(item, settings) for item in scores))


def list_csv_cells(item: StoredScore, settings: FatigueSettings) -> list[Any]:
    """Return the values of a score in the order of `CSV_COLUMNS`."""
    values = item.to_dict()
    values["recommendation"] = recommend(item.score, settings).action
    values["flags"] = "; ".join(describe_flags(item.score))
    return [values[name] for name in CSV_COLUMNS]


def describe_document(item: StoredScore, settings: FatigueSettings, outcomes: str = OUTCOMES) -> dict[str, Any]:
    """Return a score with its recommendation as JSON values, without the figures it was compared with.

    Args:
        outcomes: how alarms turned out, in words.
    """
    advice = recommend(item.score, settings, outcomes)
    values = {name: value for name, value in item.to_dict().items() if name not in {"baseline", "input_hash"}}
    words = {
        "recommendation": advice.action,
        "reasons": list(advice.reasons),
        "note": advice.note,
        "caution": advice.caution,
        "flags": list(item.score.baseline.get("flags", ())),
    }
    return {**values, **words}


def describe_ad(item: StoredScore, settings: FatigueSettings, outcomes: str = OUTCOMES) -> dict[str, str]:
    """Return everything that is known about an ad in words, by name; what is unknown is left out.

    Args:
        outcomes: how alarms turned out, in words.
    """
    score = item.score
    advice = recommend(score, settings, outcomes)
    figures = score.baseline
    lines = {
        "what to do": advice.action,
        "because": "; ".join(advice.reasons),
        "note": advice.note,
        "caution": advice.caution,
        "status": ", ".join(filter(None, [score.status, describe_loss(score)])),
        "score": "" if score.total is None else f"{score.total:.0f} of 100",
        "alarm": _alarm(score, outcomes),
        "critical": describe_time_to_critical(score),
        "trend": "" if score.trend_per_day is None else f"{score.trend_per_day:+z.1f} points a day",
        "creative": _component(score.creative, figures, "ctr", "{:.2%}", "click-through rate"),
        "audience": _component(score.audience, figures, "frequency", "{:.1f}", "views by one person in seven days"),
        "algorithm": _component(score.algorithm, figures, "cpm", "{:,.2f}", "price of a thousand impressions"),
        "spend, last seven days": "" if score.recent_spend is None else f"{score.recent_spend:,.2f}",
        "data quality": f"{score.data_quality:.0%}",
        "data problems": ", ".join(describe_flags(score)),
        "made": f"{item.calculated_at:%Y-%m-%d %H:%M} UTC, {'final' if item.settled else 'may still change'}",
        "calculator": f"{score.calculator_version}, data version {item.data_version}",
    }
    return {name: text for name, text in lines.items() if text}


def _alarm(score: FatigueScore, outcomes: str) -> str:
    """Return the level and day of an alarm, and what it says."""
    since = f" since {score.alarm_since}" if score.alarm_since else ""
    return ": ".join([f"{score.alarm}{since}", *describe_alarm(score, outcomes)]) if score.alarm != "none" else ""


def _component(value: float | None, figures: Mapping[str, Any], name: str, pattern: str, meaning: str) -> str:
    """Return a component with the figures it compares: recent ones, and usual ones where there are any."""
    if value is None:
        return ""
    weeks = "usual weeks" if name == "cpm" else "good weeks"
    recent, usual = figures.get(f"recent_{name}", figures.get(name)), figures.get(name)
    if recent is None:
        return f"{value:.0f}"
    compared = f", {pattern.format(usual)} in its {weeks}" if usual is not None and f"recent_{name}" in figures else ""
    return f"{value:.0f}: {meaning} {pattern.format(recent)}{compared}"
