"""Modes and reasons of warms, trained forecasts, the policy that deploys one, and the reviews of that policy."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

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
    """A trained and stored forecast.

    Attributes:
        id: hash of its content.
        kind: name of the model.
        version: version of the model's format.
        trained_from: first moment of the log it learned from.
        trained_until: end of that part of the log, exclusive.
        metrics: figures on the held-out week; empty when the log is too short for one.
    """

    id: str
    kind: str
    version: str
    object_hash: str
    trained_from: datetime
    trained_until: datetime
    keys: int
    features: tuple[str, ...]
    metrics: Mapping[str, float]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DeployedPolicy:
    """Which snapshot plans warms.

    Attributes:
        name: `live`.
        mode: `shadow` plans without a call.
        updated_at: when the snapshot was last replaced.
        chosen_kind: the kind of forecast that a review or a human chose; training keeps it. None: the best one wins.
    """

    name: str
    snapshot_id: str | None
    mode: Mode
    updated_at: datetime
    chosen_kind: str | None = None
    chosen_by: str | None = None
    chosen_at: datetime | None = None
    chosen_why: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyReview:
    """A review of the deployed policy.

    Attributes:
        at: the moment it looks back from.
        result: what it came to; after a decision, what was decided.
        proposed_kind: the kind it proposes; None when it proposes nothing.
        proposed_snapshot: the trained snapshot of that kind.
        page: path or URL of the HTML page; None when nothing was replayed.
        figures: JSON values: `why`, and the figures that the result rests on.
    """

    run_id: str
    at: datetime
    result: str
    live_kind: str | None
    proposed_kind: str | None
    proposed_snapshot: str | None
    page: str | None
    figures: Mapping[str, Any]
    decided_by: str | None = None
    decided_at: datetime | None = None
