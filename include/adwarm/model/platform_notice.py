"""A notice of the ad platform that an ad is fatigued."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args

PlatformLevel = Literal["low", "medium", "high"]
NoticeOrigin = Literal["webhook", "file", "rows"]
PLATFORM_LEVELS: Final[tuple[PlatformLevel, ...]] = get_args(PlatformLevel)
"""The platform's levels of creative fatigue, the mildest first."""


@dataclass(frozen=True, slots=True)
class PlatformNotice:
    """What the platform said about the fatigue of one ad at one moment.

    Attributes:
        account_id: `act_` and digits.
        ad_id: the platform's id of the ad.
        noticed_at: when the platform noticed it, UTC.
        level: its level of creative fatigue from then on.
        message: its text for people; None without one.
        origin: how the notice came.
    """

    account_id: str
    ad_id: str
    noticed_at: datetime
    level: PlatformLevel
    message: str | None = None
    origin: NoticeOrigin = "webhook"
