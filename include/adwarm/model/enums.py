"""The small vocabularies: who opened, how urgent, in which mode, and why a key is warmed."""

from enum import IntEnum, StrEnum


class Actor(StrEnum):
    """Who opened a report. Only `human` and `embedded` opens train the forecast and are scored."""

    HUMAN = "human"
    EMBEDDED = "embedded"
    API = "api"
    WARMER = "warmer"

    @property
    def is_human(self) -> bool:
        """Whether somebody was waiting for the answer."""
        return self in {Actor.HUMAN, Actor.EMBEDDED}


class Priority(IntEnum):
    """Urgency of a call to the platform; a smaller number goes first."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3

    @classmethod
    def parse(cls, text: str) -> "Priority":
        """Return the priority named `text`, in any case.

        Raises:
            ValueError: `text` names none; the message lists the four.
        """
        try:
            return cls[text.strip().upper()]
        except KeyError:
            names = ", ".join(p.name.lower() for p in cls)
            raise ValueError(f"priority {text!r} is not one of {names}") from None


class Mode(StrEnum):
    """`live` plans and fetches; `shadow` plans and scores without one call to the platform."""

    LIVE = "live"
    SHADOW = "shadow"


class WarmReason(StrEnum):
    """Why a key is in a plan."""

    PREDICTED_OPEN = "predicted_open"
    DAY_CLOSED = "day_closed"
    STRATEGY = "strategy"
    REQUEST = "request"
