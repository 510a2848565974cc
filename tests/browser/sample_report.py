"""A report of many ads and days, and fatigue scores for them, the same for equal arguments."""

import math
import random
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

ADS = 60
_THEMES = ("Spring sale", "New arrivals", "Free shipping", "Loyalty offer", "Back in stock", "City guide")
_FORMS = ("video 15 s", "carousel", "static", "story", "collection")


def ad_name(number: int) -> str:
    """Return the name of an ad."""
    return f"{_THEMES[number % len(_THEMES)]}, {_FORMS[number % len(_FORMS)]} {1 + number // len(_THEMES)}"


def make_document(
    account: str, date_range: str, days: Sequence[date], fetched_at: datetime, revision: int = 1
) -> dict[str, Any]:
    """Return a columnar document of `days`; rows are sorted by day, then by ad.

    Another revision restates the last day and leaves the others as they are.
    """
    columns: dict[str, list[str]] = {
        name: [] for name in ("ad_id", "ad_name", "clicks", "date_start", "impressions", "spend")
    }
    links: list[str] = []
    for day in days:
        dice = random.Random(f"{account} {day} {revision if day == days[-1] else 0}")
        weekend = 0.72 if day.weekday() >= 5 else 1.0
        for number in range(ADS):
            weight = weekend * (1 + 0.25 * math.sin(day.toordinal() / 9 + number)) / (1 + number / 8)
            impressions = int(26_000 * weight * dice.uniform(0.85, 1.15))
            clicks = int(impressions * (0.006 + 0.011 * ((number * 7) % 13) / 13) * dice.uniform(0.9, 1.1))
            columns["ad_id"].append(f"2384{number:09d}")
            columns["ad_name"].append(ad_name(number))
            columns["date_start"].append(day.isoformat())
            columns["impressions"].append(str(impressions))
            columns["clicks"].append(str(clicks))
            columns["spend"].append(f"{impressions * dice.uniform(0.006, 0.011):.2f}")
            links.append(str(int(clicks * 0.8)))
    actions = {"by": "action_type", "items": {"link_click": {"value": links}}}
    return {
        "format_version": 2,
        "account_id": account,
        "date_range": date_range,
        "report": "default",
        "since": days[0].isoformat(),
        "until": days[-1].isoformat(),
        "time_zone": "Europe/Berlin",
        "currency": "EUR",
        "query": {"hash": "0123456789ab", "level": "ad", "fields": ["spend", "impressions", "clicks", "actions"]},
        "source": "meta",
        "api_version": "v26.0",
        "fetched_at": fetched_at.isoformat(),
        "days_fetched_at": fetched_at.isoformat(),
        "complete": True,
        "settled": False,
        "data_version": revision,
        "missing": None,
        "summary": None,
        "daily": {"rows": len(links), "columns": {**columns, "actions": actions}},
    }


def make_scores(at: datetime) -> list[dict[str, Any]]:
    """Return the scores of every ad, the most fatigued one first and those without a score last."""
    scores = []
    for number in range(ADS):
        total = None if number % 17 == 16 else round(12 + 76 * ((number * 29) % 61) / 61, 1)
        trend = None if total is None else round(((number * 11) % 9 - 3) / 2, 2)
        is_critical = total is not None and total > 60
        scores.append({
            "ad_id": f"2384{number:09d}",
            "ad_name": ad_name(number),
            "status": _band(total),
            "total": total,
            "creative": total,
            "audience": total,
            "algorithm": None,
            "data_quality": 0.9,
            "trend_per_day": trend,
            "days_to_critical": 0 if is_critical else None if not trend or trend < 0 else (60 - (total or 0)) / trend,
            "flags": [],
            "settled": False,
            "calculated_at": at.isoformat(),
        })
    return sorted(scores, key=lambda score: -(score["total"] or -1))


def _band(total: float | None) -> str:
    if total is None:
        return "pending"
    return "healthy" if total <= 30 else "warning" if total <= 60 else "critical"
