"""Enums: who opened a report, priorities, modes, and why a key is warmed."""

from datetime import timedelta
from enum import IntEnum, StrEnum
from typing import Final

FIRST_OPEN_QUIET: Final = timedelta(minutes=30)
"""An open is a first open when nobody opened the key for this long before it."""


class Actor(StrEnum):
    """Who opened a report. Only `human` and `embedded` opens train the forecast and count in scores."""

    HUMAN = "human"
    EMBEDDED = "embedded"
    API = "api"
    WARMER = "warmer"

    @property
    def is_human(self) -> bool:
        """Whether a human was waiting for the answer."""
        return self in {Actor.HUMAN, Actor.EMBEDDED}


class Priority(IntEnum):
    """Priority class of a call to the platform; the smaller number goes first."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3

    @classmethod
    def parse(cls, text: str) -> "Priority":
        """Return the priority named `text`, ignoring case.

        Raises:
            ValueError: no priority has that name; the message lists them.
        """
        try:
            return cls[text.strip().upper()]
        except KeyError:
            names = ", ".join(p.name.lower() for p in cls)
            raise ValueError(f"priority {text!r} is not one of {names}") from None


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
