"""Modes and reasons of warms, trained forecasts, the policy that deploys one, and the reviews of that policy."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

FIRST_OPEN_QUIET: Final = timedelta(minutes=30)
"""An open is a first open when nobody opened the key for this long before it."""


class Mode(StrEnum):
    """`live` plans and fetches; `shadow` plans and scores without any call to the platform."""

    LIVE = "live"
    SHADOW = "shadow"


class WarmReason(StrEnum):
    """Why a key is in a plan."""

    PREDICTED_OPEN = "predicted_open"
    DAY_CLOSED = "day_closed"
    STRATEGY = "strategy"
    REQUEST = "request"
    DATA_ARRIVAL = "data_arrival"
    SPEC_CHANGED = "spec_changed"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A trained forecast, with what it was trained on and how it did."""

    id: Annotated[str, 64, "Hash of its content."]
    kind: Annotated[str, 40, "Kind of forecast, such as `hour-of-week` or `adwarm`."]
    version: Annotated[str, 24, "Version of the model's format."]
    object_hash: Annotated[str, 64, "Object that holds the model."]
    trained_from: Annotated[datetime, "First moment of the log that it learned from."]
    trained_until: Annotated[datetime, "End of that part of the log, exclusive."]
    keys: Annotated[int, "Report keys it knows."]
    features: Annotated[tuple[str, ...], "Names of the features it uses."]
    metrics: Annotated[
        Mapping[str, float], "Its figures on the held-out week; empty when the log is too short for one."
    ]
    created_at: Annotated[datetime, "When it was trained."]


@dataclass(frozen=True, slots=True)
class DeployedPolicy:
    """Which snapshot plans warms, who chose its kind, and what the newest plan expects."""

    name: Annotated[str, 40, "`live`."]
    snapshot_id: str | None
    mode: Annotated[Mode, "What plans as `shadow` makes no call."]
    updated_at: Annotated[datetime, "When the snapshot was last replaced."]
    chosen_kind: Annotated[str | None, 40, "Kind that training keeps; None when it takes the best one."] = None
    chosen_by: Annotated[str | None, 250, "Who chose it: the user who approved, or the review that fell back."] = None
    chosen_at: Annotated[datetime | None, "When it was chosen."] = None
    chosen_why: Annotated[str | None, "Why it was chosen."] = None


@dataclass(frozen=True, slots=True)
class PolicyReview:
    """What a review of the deployed policy found and proposed, and how it ended."""

    run_id: Annotated[str, 250, "Airflow run of the review."]
    at: Annotated[datetime, "Moment it looks back from."]
    result: Annotated[str, 24, "What it came to, such as `kept` or `proposed`; after a decision, what was decided."]
    live_kind: Annotated[str | None, 40, "Kind that was live."]
    proposed_kind: Annotated[str | None, 40, "Kind that it proposes; None when it proposes nothing."]
    proposed_snapshot: Annotated[str | None, "Snapshot that goes live on approval."]
    page: Annotated[str | None, "Path or URL of the HTML page; None when nothing was replayed."]
    figures: Annotated[
        Mapping[str, Any],
        "`why`, and the figures of each kind that it rests on: hit ratio, calls, calibration.",
    ]
    decided_by: Annotated[str | None, 250, "Who approved or rejected."] = None
    decided_at: Annotated[datetime | None, "When that was."] = None

    @property
    def headline(self) -> str | None:
        """What the live forecast achieved, in one sentence; None when nothing was replayed."""
        headline = self.figures.get("headline")
        return None if headline is None else str(headline["text"])
