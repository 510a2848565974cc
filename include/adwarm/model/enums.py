"""Enums: modes, and why a key is warmed."""

from datetime import timedelta
from enum import StrEnum
from typing import Final

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
