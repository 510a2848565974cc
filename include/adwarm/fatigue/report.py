"""What stored scores say about the ads of an account: what changed since an earlier day, and a score as a document."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Engine

from adwarm.fatigue.recommendation import (
    OUTCOMES,
    describe_projection,
    find_outcomes,
    format_loss,
    recommend,
)
from adwarm.foundation.wording import format_csv
from adwarm.model import FatigueScore, FatigueStatus
from adwarm.settings import FatigueSettings
from adwarm.store.scores import SCORE_FIELDS, STAMP_FIELDS, StoredScore, list_parts

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
_INTERNAL: Final = frozenset({"baseline", "input_hash"})
CSV_COLUMNS: Final = (
    *(name for name in (*SCORE_FIELDS, *STAMP_FIELDS) if name not in _INTERNAL),
    *("recommendation", "certainty", "reasons", "note", "caution", "flags"),
)
"""Columns of an export: the fields of a document, lists as texts."""


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


def list_changes(before: Sequence[StoredScore], after: Sequence[StoredScore]) -> list[AdChange]:
    """Return what happened between two days of an account: alarms first, then by kind."""
    old = {item.score.ad_id: item for item in before}
    changes = [_compare(old.pop(item.score.ad_id, None), item) for item in after]
    changes += [AdChange("gone", item.score, item.score, restated=False) for item in old.values()]
    differing = [change for change in changes if change is not None]
    return sorted(differing, key=lambda change: (_KIND_ORDER.index(change.kind), change.score.rank))


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
    is_scored = "pending" not in {old.status, new.status}
    step = _BANDS[new.status] - _BANDS[old.status] if is_scored else 0
    if step > 0:
        return "worse"
    if old.alarm == "alarm" and new.alarm != "alarm":
        return "recovered"
    if is_scored or old.status == new.status:
        return "better" if step < 0 else None
    return "pending" if new.status == "pending" else "scored"


def _state(score: FatigueScore) -> str:
    if score.loss is None:
        return score.status
    return f"{score.status} ({format_loss(score.loss)} {'lost' if score.loss > -0.01 else 'gained'})"


def _moved(before: FatigueScore | None, score: FatigueScore) -> str:
    return f", {_state(score)}" if before is None else f", {_state(before)} → {_state(score)}"


def describe_time_to_critical(score: FatigueScore) -> str:
    """Return when an ad that is not critical becomes so at its present pace; `now` when it is, empty when unknown."""
    return "now" if score.status == "critical" else describe_projection(score).removeprefix("critical ")


def describe_document(item: StoredScore, settings: FatigueSettings, outcomes: str = OUTCOMES) -> dict[str, Any]:
    """Return a score with its recommendation as JSON values, without the figures it was compared with.

    Args:
        outcomes: how alarms turned out, in words.
    """
    advice = recommend(item.score, settings, outcomes)
    values = {name: value for name, value in item.to_dict().items() if name not in _INTERNAL}
    words = {
        "recommendation": advice.action,
        "certainty": advice.certainty,
        "reasons": list(advice.reasons),
        "note": advice.note,
        "caution": advice.caution,
        "flags": list(item.score.baseline.get("flags", ())),
    }
    return {**values, **words}


def describe_documents(engine: Engine, items: Sequence[StoredScore], settings: FatigueSettings) -> list[dict[str, Any]]:
    """Return scores as `describe_document` does, each with those of its `ads`: none for an ad itself."""
    outcomes, parts = find_outcomes(engine), list_parts(engine, [item.score for item in items])
    return [
        describe_document(item, settings, outcomes)
        | {"ads": [describe_document(each, settings, outcomes) for each in parts.get(item.key, ())]}
        for item in items
    ]


def format_scores_csv(scores: Iterable[StoredScore], settings: FatigueSettings) -> str:
    """Return scores as CSV; see `adwarm.foundation.wording` for texts that look like formulas."""
    return format_csv(CSV_COLUMNS, (list_csv_cells(item, settings) for item in scores))


def list_csv_cells(item: StoredScore, settings: FatigueSettings) -> list[Any]:
    """Return the values of a score in the order of `CSV_COLUMNS`."""
    values = describe_document(item, settings)
    return ["; ".join(values[name]) if isinstance(values[name], list) else values[name] for name in CSV_COLUMNS]
