"""The page of one ad or creative: what to do and why, its daily figures, and its score over time."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final

from adwarm.charts import Mark, Series
from adwarm.fatigue.ad_days import AdDay, list_ad_days
from adwarm.fatigue.recommendation import (
    describe_flags,
    describe_loss,
    describe_projection,
    find_outcomes,
    name_cost_status,
    recommend,
)
from adwarm.fatigue.score import CRITICAL_FROM, WARNING_FROM
from adwarm.fatigue.score_block import RECENT_DAYS
from adwarm.foundation.errors import AdwarmError, BadRequest
from adwarm.model import FatigueScore, Window
from adwarm.pages.tab import Tab, Tile, TileRequest
from adwarm.pages.views.fatigue_tab import COLORS, MEANINGS, describe_driver, link_ad, list_components
from adwarm.store import accounts, creatives
from adwarm.store.scores import StoredScore, list_ad_history, list_parts

HISTORY_DAYS: Final = 90
DAILY_DAYS: Final = 60
"""Days of daily figures: each stored object of them is read, so the number limits what the tile costs."""
SMOOTH_DAYS: Final = 3


def _load_score(request: TileRequest) -> Mapping[str, Any]:
    context = request.services.context
    account_id, ad_id = _read_ad(request)
    history = list_ad_history(context.engine, account_id, ad_id, HISTORY_DAYS)
    if not history:
        return {"stored": None, "account_id": account_id, "ad_id": ad_id}
    newest, settings = history[-1], context.settings.fatigue
    score = newest.score
    account = accounts.get(context.engine, account_id)
    before, parts = _find_before(history), list_parts(context.engine, [score])
    return {
        "stored": newest,
        "zone": account.data_zone if account else "UTC",
        "account_name": account.name if account else None,
        "currency": account.currency if account else "",
        "change_points": _subtract(score.total, before.total if before else None),
        "components": list_components(score, settings),
        "loss": describe_loss(score),
        "projection": describe_projection(score),
        "driver": describe_driver(score),
        "recommendation": recommend(score, settings, find_outcomes(context.engine)),
        "flags": describe_flags(score),
        "cost_status": name_cost_status(score),
        "figures": _list_figures(score),
        "recent_days": RECENT_DAYS,
        "creative": creatives.get_many(context.engine, [newest.key]).get(newest.key),
        "parts": [(item.score, link_ad(request, item.score)) for item in parts.get(newest.key, ())],
        "whole": request.link("ad", account=account_id, ad=score.part_of) if score.part_of else None,
    }


def _load_daily(request: TileRequest) -> Mapping[str, Any]:
    """Return the daily figures from the first day with delivery on."""
    context = request.services.context
    account_id, ad_id = _read_ad(request)
    history = list_ad_history(context.engine, account_id, ad_id, HISTORY_DAYS)
    if not history:
        return {"days": [], "problem": ""}
    score = history[-1].score
    window = Window(score.as_of - timedelta(days=DAILY_DAYS - 1), score.as_of)
    try:
        stored = {item.day: item for item in list_ad_days(context, account_id, ad_id, window)}
    except AdwarmError as error:
        return {"days": [], "problem": str(error)}
    first = min((day for day, item in stored.items() if item.impressions), default=None)
    if first is None:
        return {"days": [], "problem": ""}
    days = [stored.get(day, AdDay(day, None, None, None)) for day in window.days() if day >= first]
    by_day = {item.score.as_of: item.score for item in history}
    scores = [by_day.get(item.day) for item in days]
    return {
        "days": days[::-1],
        "stored": stored.keys(),
        "problem": "",
        "labels": [f"{item.day:%b} {item.day.day}" for item in days],
        "ctr": _list_ctr_series(days, score),
        "marks": _list_marks(days, score),
        "price": [
            Series("price of a thousand impressions", [item.cpm for item in days], "c4"),
            *_level("usual weeks", score.baseline.get("cpm"), len(days)),
        ],
        "frequency": [
            Series("times one person saw it in seven days", [_frequency(item) for item in scores], "c2"),
        ],
        "has_frequency": any(_frequency(item) is not None for item in scores),
    }


def _load_history(request: TileRequest) -> Mapping[str, Any]:
    history = list_ad_history(request.services.context.engine, *_read_ad(request), HISTORY_DAYS)
    by_day = {item.score.as_of: item.score for item in history}
    days = _fill_days(list(by_day))
    scores = [by_day.get(day) for day in days]
    lost = Series("clicks lost, %", [_lost(score) for score in scores], "c1")
    limits = [
        Series(f"{name} from {limit:.0%}", [100 * limit] * len(days), kind)
        for name, limit, kind in (("warning", WARNING_FROM, "c5 dashed"), ("critical", CRITICAL_FROM, "c6 dashed"))
    ]
    components = [Series("score", [score.total if score else None for score in scores], "c5")] + [
        Series(f"{name}: {MEANINGS[name]}", [getattr(score, name) if score else None for score in scores], kind)
        for name, kind in COLORS.items()
    ]
    return {
        "history": history[::-1],
        "labels": [f"{day:%b} {day.day}" for day in days],
        "loss_series": [lost, *limits],
        "component_series": components,
    }


def _list_ctr_series(days: Sequence[AdDay], score: FatigueScore) -> list[Series]:
    """Return the click-through rate in percent: by day, over some days, and that of good weeks."""
    usual = score.baseline.get("ctr")
    return [
        Series("each day, %", [_percent(item.ctr) for item in days], "c6 dots"),
        Series(f"mean of {SMOOTH_DAYS} days, %", _smooth(days), "c1"),
        *_level("good weeks, %", _percent(usual), len(days)),
    ]


def _smooth(days: Sequence[AdDay]) -> list[float | None]:
    """Return the rate of all impressions of the last `SMOOTH_DAYS` days, in percent, for each day with one."""
    rates: list[float | None] = []
    for place, item in enumerate(days):
        delivered = [day for day in days[max(0, place - SMOOTH_DAYS + 1) : place + 1] if day.ctr is not None]
        shown = sum(day.impressions or 0.0 for day in delivered)
        clicked = sum(day.clicks or 0.0 for day in delivered)
        rates.append(100 * clicked / shown if shown and item.ctr is not None else None)
    return rates


def _list_marks(days: Sequence[AdDay], score: FatigueScore) -> list[Mark]:
    """Return the estimated start of a decline and the day of the alarm, where the chart has them."""
    places = {item.day: place for place, item in enumerate(days)}
    marks = []
    if score.alarm != "none" and score.onset in places:
        marks.append(Mark(places[score.onset], f"decline began about {_short(score.onset)}", "c5"))
    if score.alarm == "alarm" and score.alarm_since in places:
        marks.append(Mark(places[score.alarm_since], f"alarm {_short(score.alarm_since)}", "bad"))
    return marks


def _level(name: str, value: float | None, places: int) -> list[Series]:
    return [] if value is None else [Series(name, [value] * places, "c3 dashed")]


def _short(day: date) -> str:
    return f"{day:%b} {day.day}"


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _lost(score: FatigueScore | None) -> float | None:
    return None if score is None or score.loss is None else max(0.0, 100 * score.loss)


def _frequency(score: FatigueScore | None) -> float | None:
    return None if score is None else score.baseline.get("frequency")


def _find_before(history: Sequence[StoredScore]) -> FatigueScore | None:
    """Return the score of the day before the newest one."""
    day = history[-1].score.as_of - timedelta(days=1)
    return next((item.score for item in history[-2:-1] if item.score.as_of == day), None)


def _read_ad(request: TileRequest) -> tuple[str, str]:
    """Return the account id and the ad id of the URL."""
    account, ad = request.get("account"), request.get("ad")
    if not account or not ad:
        raise BadRequest("no ad is chosen; open one from the tab Fatigue")
    return accounts.find_id(request.services.context, account), ad.replace("\0", "")


def _fill_days(days: list[date]) -> list[date]:
    """Return every day from the first to the last one, so that a missing score is a gap in the line."""
    if not days:
        return []
    return [days[0] + timedelta(days=number) for number in range((days[-1] - days[0]).days + 1)]


def _list_figures(score: FatigueScore) -> list[tuple[str, str, str, str]]:
    """Return the compared figures: of which component, what, in the recent days, and in the weeks before."""
    baseline = score.baseline

    def write(name: str, pattern: str) -> str:
        value = baseline.get(name)
        return "unknown" if value is None else pattern.format(value)

    frequency = write("frequency", "{:.1f}")
    return [
        ("creative", "click-through rate", write("recent_ctr", "{:.2%}"), write("ctr", "{:.2%}")),
        ("audience", "times that one person saw it in seven days", frequency, "not compared"),
        ("algorithm", "price of a thousand impressions", write("recent_cpm", "{:,.2f}"), write("cpm", "{:,.2f}")),
        ("all", "impressions", write("recent_impressions", "{:,.0f}"), write("impressions", "{:,.0f}")),
    ]


def _subtract(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


TABS: Final = (
    Tab(
        "ad",
        "One ad or creative",
        (
            Tile("score", "What to do", _load_score, is_wide=True),
            Tile("daily", "Day by day", _load_daily, is_wide=True),
            Tile("history", "Score over time", _load_history, is_wide=True, is_folded=True),
        ),
        is_listed=False,
    ),
)
