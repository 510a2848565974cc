"""The tab *Fatigue*: what needs action today, what changed, sums by account, and every creative with its ads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from adwarm.fatigue.recommendation import (
    describe_projection,
    find_outcomes,
    recommend,
)
from adwarm.fatigue.report import CSV_COLUMNS, DRIVER_WORDS, list_csv_cells
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.wording import format_csv
from adwarm.model import AlarmLevel, FatigueScore, FatigueStatus
from adwarm.pages.tab import Download, Tab, Tile, TileRequest
from adwarm.queries import fatigue_ads, fatigue_overview
from adwarm.queries.fatigue_ads import AccountFilter, AdQuery, ListedAd, get_first_fresh_day
from adwarm.queries.fatigue_overview import ChangedAd, ChangeKind
from adwarm.settings import FatigueSettings
from adwarm.store.accounts import find_id
from adwarm.store.scores import StoredScore, list_parts

STATUSES: Final[tuple[FatigueStatus, ...]] = ("critical", "warning", "healthy", "pending")
ALARMS: Final[dict[AlarmLevel, str]] = {"alarm": "alarm", "watch": "watch", "none": "no alarm"}
MOST_ROWS: Final = 10_000
"""Ads of a download."""
COLORS: Final = {"creative": "c1", "audience": "c2", "algorithm": "c4"}
MEANINGS: Final = {
    "creative": "lost click-through rate",
    "audience": "how often one person saw the ad",
    "algorithm": "increased price",
}
_CHANGES: Final[dict[ChangeKind, str]] = {
    "alarm": "New alarms",
    "worse": "Worse status",
    "better": "Better status",
    "ended": "Alarms that ended",
}


@dataclass(frozen=True, slots=True)
class Component:
    """One component of a score.

    Attributes:
        name: `creative`, `audience` or `algorithm`.
        value: 0 to 100; None when there is nothing to compare.
        weight: its share of the score, 0 to 1, when every component is known.
        kind: class of its color.
    """

    name: str
    value: float | None
    weight: float
    kind: str
    meaning: str


def list_components(score: FatigueScore, settings: FatigueSettings) -> list[Component]:
    """Return the components of a score in the order of the settings' weights."""
    total = sum(settings.weights)
    return [
        Component(name, getattr(score, name), weight / total if total else 0.0, COLORS[name], MEANINGS[name])
        for name, weight in zip(COLORS, settings.weights, strict=True)
    ]


def describe_driver(score: FatigueScore) -> str:
    """Return the component that raises a score most, in words; that of an alarm is the click-through rate."""
    if score.driver is None:
        return "falling click-through rate" if score.alarm == "alarm" else ""
    return DRIVER_WORDS[score.driver]


def _load_today(request: TileRequest) -> Mapping[str, Any]:
    engine, accounts = request.services.context.engine, _read_accounts(request)
    counts = fatigue_overview.count_due(engine, accounts)
    due = fatigue_overview.list_due(engine, accounts) if counts.total else []
    return {
        "counts": counts,
        "due": _show_ads(request, due),
        "spend": " and ".join(f"{amount:,.0f} {currency}" for currency, amount in counts.spend.items()),
        "is_filtered": bool(_accounts_query(accounts)),
        "all_link": request.link("fatigue"),
    }


def _load_overview(request: TileRequest) -> Mapping[str, Any]:
    engine = request.services.context.engine
    overall, worst = fatigue_overview.sum_accounts(engine, _read_accounts(request))
    ids = [item.account_id for item in worst if item.account_id is not None]
    return {
        "overall": overall,
        "worst": worst,
        "statuses": STATUSES,
        "links": {account_id: request.link("fatigue", account=account_id) for account_id in ids},
    }


def _load_changes(request: TileRequest) -> Mapping[str, Any]:
    changes = fatigue_overview.list_changes(request.services.context.engine, _read_accounts(request))
    groups: dict[ChangeKind, list[tuple[ChangedAd, str]]] = {}
    for item in changes:
        groups.setdefault(item.kind, []).append((item, link_ad(request, item.ad.stored.score)))
    return {"groups": groups, "titles": _CHANGES}


def _load_ads(request: TileRequest) -> Mapping[str, Any]:
    context = request.services.context
    query = _read_query(request)
    ads, has_more = fatigue_ads.list_ads(context.engine, query)
    filters = {"status": query.status, "alarm": query.alarm}
    chosen = {**_accounts_query(query.accounts), **filters}
    more = has_more and query.page < fatigue_ads.MOST_PAGES
    return {
        "ads": _show_ads(request, ads),
        "query": query,
        "statuses": STATUSES,
        "alarms": ALARMS,
        "first": (query.page - 1) * fatigue_ads.PAGE_SIZE + 1,
        "days": fatigue_ads.SPARK_DAYS,
        "is_filtered": bool(_accounts_query(query.accounts) or query.status or query.alarm or query.page > 1),
        "previous": request.link("fatigue", **chosen, page=query.page - 1) + "#ads" if query.page > 1 else None,
        "next": request.link("fatigue", **chosen, page=query.page + 1) + "#ads" if more else None,
        "is_last_offered": has_more and not more,
        "download": request.link("downloads/fatigue/ads", **chosen),
    }


def _load_csv(request: TileRequest) -> str:
    """Return the creatives of the filter of the URL as CSV, at most `MOST_ROWS`, each before its ads."""
    context = request.services.context
    ads, _ = fatigue_ads.list_ads(context.engine, _read_query(request, page="1"), MOST_ROWS)
    settings = context.settings.fatigue
    parts = list_parts(context.engine, [ad.stored.score for ad in ads])
    rows = (
        [ad.account_name, ad.currency, ad.change if item is ad.stored else None, *list_csv_cells(item, settings)]
        for ad in ads
        for item in (ad.stored, *parts.get(ad.key, ()))
    )
    return format_csv(("account_name", "currency", "change", *CSV_COLUMNS), rows)


def _read_accounts(request: TileRequest) -> AccountFilter:
    account, text = (request.get(name).replace("\0", "") for name in ("account", "text"))
    since = get_first_fresh_day(request.now)
    try:
        return AccountFilter(text, find_id(request.services.context, account) if account else None, since)
    except BadRequest:
        return AccountFilter(account, since=since)  # a part of its name or id


def _accounts_query(accounts: AccountFilter) -> dict[str, str]:
    """Return the part of a URL that chooses these accounts."""
    values = {"account": accounts.account_id, "text": accounts.text}
    return {name: value for name, value in values.items() if value}


def _read_query(request: TileRequest, page: str | None = None) -> AdQuery:
    """Return the filter of the URL."""
    status, alarm = request.get("status") or None, request.get("alarm") or None
    page = page or request.get("page") or "1"
    if status not in {None, *get_args(FatigueStatus)}:
        raise BadRequest(f"there is no status {str(status)[:40]!r}; choose one of {', '.join(STATUSES)}")
    if alarm not in {None, *ALARMS}:
        raise BadRequest(f"there is no alarm level {str(alarm)[:40]!r}; choose one of {', '.join(ALARMS)}")
    if not (page.isascii() and page.isdigit() and 1 <= int(page) <= fatigue_ads.MOST_PAGES):
        raise BadRequest(f"page must be a number from 1 to {fatigue_ads.MOST_PAGES}")
    return AdQuery(_read_accounts(request), status, alarm, int(page))  # type: ignore[arg-type]


def _show_ads(request: TileRequest, ads: Sequence[ListedAd]) -> list[Mapping[str, Any]]:
    """Return what is shown of the ads of a list."""
    engine = request.services.context.engine
    losses, outcomes = fatigue_ads.list_losses(engine, ads), find_outcomes(engine)
    parts = list_parts(engine, [ad.stored.score for ad in ads])
    return [_show_ad(request, ad, parts.get(ad.key, ()), losses[ad.key], outcomes=outcomes) for ad in ads]


def link_ad(request: TileRequest, score: FatigueScore) -> str:
    """Return the link of the page of an ad or creative."""
    return request.link("ad", account=score.account_id, ad=score.ad_id)


def _show_ad(
    request: TileRequest,
    ad: ListedAd,
    parts: Sequence[StoredScore],
    losses: Sequence[float | None],
    *,
    outcomes: str,
) -> Mapping[str, Any]:
    """Return an ad of a list, with its score in words and the percentages of clicks that it lost, oldest first."""
    score, settings = ad.stored.score, request.services.context.settings.fatigue
    return {
        "ad": ad,
        "parts": [(item.score, link_ad(request, item.score)) for item in parts],
        "components": list_components(score, settings),
        "projection": describe_projection(score),
        "recommendation": recommend(score, settings, outcomes),
        "driver": describe_driver(score),
        "lost": [None if loss is None else max(0.0, 100 * loss) for loss in losses],
        "link": link_ad(request, score),
    }


TABS: Final = (
    Tab(
        "fatigue",
        "Fatigue",
        (
            Tile("today", "What needs action today", _load_today, is_wide=True),
            Tile("changes", "Changed since the scored day before", _load_changes, is_wide=True, is_folded=True),
            Tile("overview", "Accounts", _load_overview, is_wide=True, is_folded=True),
            Tile("ads", "All creatives", _load_ads, is_wide=True, is_folded=True),
        ),
        downloads=(Download("ads", "fatigue-ads.csv", "text/csv; charset=utf-8", _load_csv),),
    ),
)
