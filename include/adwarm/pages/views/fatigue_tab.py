"""The tab *Fatigue*: which ads wear out, how fast, and what to do; and the page of one ad."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, get_args

from adwarm.fatigue.recommendation import Projection, Recommendation, describe_flags, project_status, recommend
from adwarm.fatigue.score import HEALTHY_UP_TO, WARNING_UP_TO
from adwarm.foundation.errors import BadRequest
from adwarm.model import FatigueScore, FatigueStatus, normalize_account_id
from adwarm.pages.charts import Series
from adwarm.pages.queries import fatigue_queries as queries
from adwarm.pages.queries.fatigue_queries import AdQuery, ListedAd
from adwarm.pages.tab import Tab, Tile, TileRequest
from adwarm.settings import FatigueSettings
from adwarm.store import accounts

_STATUSES: Final[tuple[FatigueStatus, ...]] = ("critical", "warning", "healthy", "pending")
_SORTS: Final = {"total": "highest score", "change": "largest increase since the day before"}
_COLORS: Final = {"creative": "c1", "audience": "c2", "algorithm": "c4"}
_MEANINGS: Final = {
    "creative": "lost click-through rate",
    "audience": "how often one person saw the ad",
    "algorithm": "increased price",
}


@dataclass(frozen=True, slots=True)
class Component:
    """One component of a score.

    Attributes:
        name: `creative`, `audience` or `algorithm`.
        value: 0 to 100; None when there is nothing to compare.
        weight: its share of the score, 0 to 1, when every component is known.
        kind: class of its color.
        meaning: what it measures, in words.
    """

    name: str
    value: float | None
    weight: float
    kind: str
    meaning: str


@dataclass(frozen=True, slots=True)
class ShownAd:
    """A row of the list of ads."""

    ad: ListedAd
    components: list[Component]
    projection: Projection | None
    recommendation: Recommendation
    totals: list[float | None]
    link: str


def list_components(score: FatigueScore, settings: FatigueSettings) -> list[Component]:
    """Return the components of a score in the order of the settings' weights."""
    total = sum(settings.weights)
    return [
        Component(name, getattr(score, name), weight / total if total else 0.0, _COLORS[name], _MEANINGS[name])
        for name, weight in zip(_COLORS, settings.weights, strict=True)
    ]


def _load_overview(request: TileRequest) -> Mapping[str, Any]:
    overall, worst = queries.count_statuses(request.services.context.engine)
    links = {item.account_id: request.link("fatigue", text=item.account_id) for item in worst}
    return {"overall": overall, "worst": worst, "statuses": _STATUSES, "links": links}


def _load_ads(request: TileRequest) -> Mapping[str, Any]:
    context = request.services.context
    query = _read_query(request)
    ads, has_more = queries.list_ads(context.engine, query)
    totals = queries.list_totals(context.engine, ads)
    settings = context.settings.fatigue
    chosen = {"text": query.text or None, "status": query.status, "sort": query.sort}
    more = has_more and query.page < queries.MOST_PAGES
    return {
        "ads": [_shown_ad(request, ad, totals, settings) for ad in ads],
        "query": query,
        "statuses": _STATUSES,
        "sorts": _SORTS,
        "first": (query.page - 1) * queries.PAGE_SIZE + 1,
        "days": queries.SPARK_DAYS,
        "is_filtered": bool(query.text or query.status or query.page > 1),
        "previous": request.link("fatigue", **chosen, page=query.page - 1) if query.page > 1 else None,
        "next": request.link("fatigue", **chosen, page=query.page + 1) if more else None,
        "is_last_offered": has_more and not more,
    }


def _read_query(request: TileRequest) -> AdQuery:
    """Return the filter of the URL.

    Raises:
        BadRequest: a value is not one of those that the page offers.
    """
    status, sort, page = request.get("status") or None, request.get("sort") or "total", request.get("page") or "1"
    if status not in {None, *get_args(FatigueStatus)}:
        raise BadRequest(f"there is no status {str(status)[:40]!r}; choose one of {', '.join(_STATUSES)}")
    if sort not in _SORTS:
        raise BadRequest(f"ads cannot be sorted by {sort[:40]!r}; choose one of {', '.join(_SORTS)}")
    if not (page.isascii() and page.isdigit() and 1 <= int(page) <= queries.MOST_PAGES):
        raise BadRequest(f"page must be a number from 1 to {queries.MOST_PAGES}")
    return AdQuery(request.get("text").replace("\0", ""), status, sort, int(page))  # type: ignore[arg-type]


def _shown_ad(
    request: TileRequest, ad: ListedAd, totals: Mapping[queries.AdKey, list[float | None]], settings: FatigueSettings
) -> ShownAd:
    score = ad.stored.score
    return ShownAd(
        ad,
        list_components(score, settings),
        project_status(score),
        recommend(score, settings),
        totals[score.account_id, score.ad_id],
        request.link("ad", account=score.account_id, ad=score.ad_id),
    )


def _load_ad(request: TileRequest) -> Mapping[str, Any]:
    context = request.services.context
    account_id, ad_id = _read_ad(request)
    history = queries.list_history(context.engine, account_id, ad_id)
    if not history:
        return {"stored": None, "account_id": account_id, "ad_id": ad_id}
    newest, settings = history[-1], context.settings.fatigue
    score = newest.score
    account = accounts.get(context.engine, account_id)
    days = [item.score.as_of for item in history]
    before = history[-2].score if len(history) > 1 and days[-2] == score.as_of - timedelta(days=1) else None
    return {
        "stored": newest,
        "zone": account.data_zone if account else "UTC",
        "change_points": _subtract(score.total, before.total if before else None),
        "components": list_components(score, settings),
        "next_status": project_status(score),
        "recommendation": recommend(score, settings),
        "flags": describe_flags(score),
        "figures": _list_figures(score),
        "settings": settings,
    }


def _load_history(request: TileRequest) -> Mapping[str, Any]:
    history = queries.list_history(request.services.context.engine, *_read_ad(request))
    by_day = {item.score.as_of: item.score for item in history}
    days = _fill_days(list(by_day))
    scores = [by_day.get(day) for day in days]
    totals = Series("score", [score.total if score else None for score in scores], "c1")
    limits = [
        Series(f"warning above {HEALTHY_UP_TO:.0f}", [HEALTHY_UP_TO] * len(days), "c5"),
        Series(f"critical above {WARNING_UP_TO:.0f}", [WARNING_UP_TO] * len(days), "c6"),
    ]
    components = [
        Series(name, [getattr(score, name) if score else None for score in scores], kind)
        for name, kind in _COLORS.items()
    ]
    return {
        "history": history[::-1],
        "labels": [f"{day:%b %d}" for day in days],
        "total_series": [totals, *limits],
        "component_series": components,
    }


def _read_ad(request: TileRequest) -> tuple[str, str]:
    """Return the account id and the ad id of the URL.

    Raises:
        BadRequest: one is missing or not valid.
    """
    account, ad = request.get("account"), request.get("ad")
    if not account or not ad:
        raise BadRequest("no ad is chosen; open one from the tab Fatigue")
    return normalize_account_id(account), ad.replace("\0", "")


def _fill_days(days: list[date]) -> list[date]:
    """Return every day from the first to the last one, so that a missing score is a gap in the line."""
    if not days:
        return []
    return [days[0] + timedelta(days=number) for number in range((days[-1] - days[0]).days + 1)]


def _list_figures(score: FatigueScore) -> list[tuple[str, str, str]]:
    """Return the compared figures: what, in the recent days, and usually."""
    baseline = score.baseline

    def write(name: str, pattern: str) -> str:
        value = baseline.get(name)
        return "unknown" if value is None else pattern.format(value)

    return [
        ("click-through rate", write("recent_ctr", "{:.2%}"), write("ctr", "{:.2%}")),
        ("price of a thousand impressions", write("recent_cpm", "{:,.2f}"), write("cpm", "{:,.2f}")),
        ("impressions", write("recent_impressions", "{:,.0f}"), write("impressions", "{:,.0f}")),
        ("times that one person saw it, last seven days", write("frequency", "{:.1f}"), "not compared"),
    ]


def _subtract(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


TABS: Final = (
    Tab(
        "fatigue",
        "Fatigue",
        (
            Tile("overview", "Ads by status", _load_overview, is_wide=True),
            Tile("ads", "Ads", _load_ads, is_wide=True),
        ),
        summary="Which ads wear out: 0 is fresh, 100 is fatigued, each compared with its own past.",
    ),
    Tab(
        "ad",
        "One ad",
        (
            Tile("score", "Score", _load_ad, is_wide=True),
            Tile("history", "History", _load_history, is_wide=True),
        ),
        is_listed=False,
        summary="Its newest fatigue score, what it is made of, and how it came about.",
    ),
)
