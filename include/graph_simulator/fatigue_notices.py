"""The platform's notices of creative fatigue: which ones there are, and the body of a webhook.

A notice is due when the planted cost of a click crosses a multiple of what it was before the onset. It is dated nine in
the morning after that day, in the account's time zone. Ads without planted fatigue have none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import orjson

from graph_simulator.ads import Ad, planted_cost_ratio
from graph_simulator.dataset import Dataset
from graph_simulator.date_ranges import local_time

LEVELS: Final = ("LOW", "MEDIUM", "HIGH")
THRESHOLDS: Final = (1.25, 1.5, 2.0)
"""Cost of a click, as a multiple of that before the onset, from which each level holds."""
_HOUR = time(9)


@dataclass(frozen=True, slots=True)
class FatigueNotice:
    """A notice: the ad, its new level, and when the platform sends it (UTC)."""

    account: str
    ad_id: str
    level: str
    at: datetime


def list_notices(dataset: Dataset, account: str, after: datetime, until: datetime) -> list[FatigueNotice]:
    """Return the notices of an account that are due after one moment and by another, the oldest first."""
    zone = ZoneInfo(dataset.zone_of(account))
    first = local_time(after, zone.key).date() - timedelta(days=1)
    last = local_time(until, zone.key).date()
    notices = [
        FatigueNotice(account, ad.truth.ad_id, level, datetime.combine(day + timedelta(days=1), _HOUR, zone))
        for ad in dataset.ads_between(account, first, last)
        for day, level in _changes(ad)
    ]
    due = [
        FatigueNotice(item.account, item.ad_id, item.level, item.at.astimezone(UTC))
        for item in notices
        if after < item.at <= until
    ]
    return sorted(due, key=lambda item: (item.at, item.ad_id))


def _changes(ad: Ad) -> list[tuple[date, str]]:
    """Return the days on which an ad reaches another level."""
    reached = np.searchsorted(THRESHOLDS, planted_cost_ratio(ad), side="right")
    days = np.flatnonzero(np.diff(reached, prepend=0) > 0).tolist()
    return [(ad.truth.started + timedelta(days=day), LEVELS[int(reached[day]) - 1]) for day in days]


def webhook_body(notices: Sequence[FatigueNotice]) -> bytes:
    """Return the body of a webhook with notices, as the platform writes it."""
    entries: list[dict[str, Any]] = [
        {
            "id": notice.account.removeprefix("act_"),
            "time": int(notice.at.timestamp()),
            "changes": [
                {
                    "field": "creative_fatigue",
                    "value": {
                        "ad_account_id": notice.account.removeprefix("act_"),
                        "adgroup_id": notice.ad_id,
                        "creative_fatigue_level": notice.level,
                        "creative_fatigue_message": f"The fatigue of this simulated ad is now {notice.level.lower()}.",
                    },
                }
            ],
        }
        for notice in notices
    ]
    return orjson.dumps({"object": "ad_account", "entry": entries})
