"""The tab *Evidence*: whether stated chances come true, and what the reviews found."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from adwarm.charts import CalibrationPoint, calibration_chart
from adwarm.compression import get_compression_totals
from adwarm.pages.tab import Tab, Tile, TileRequest
from adwarm.store import read_traffic, read_transaction
from adwarm.store.snapshots import find_deployed_snapshot, list_reviews
from adwarm.store.warm_usage import BINS, MarkCounts, count_marks

DAYS: Final = 28
"""Days of warms that are evaluated."""
FEW_WARMS: Final = 200
"""Marked warms below which the diagram says little."""
_SHOWN_REVIEWS: Final = 6
_REVIEW_RESULTS: Final = {
    "kept": "the forecast in use stays",
    "proposed": "a better forecast is proposed and waits for approval",
    "promoted": "the proposed forecast was approved and is in use",
    "rejected": "the proposed forecast was rejected",
    "fell_back": "stated chances were too high, so a plainer forecast took over",
    "too_little_log": "the access log is too short to review",
    "nothing_live": "no forecast is in use yet",
}


def load_compression(request: TileRequest) -> Mapping[str, Any]:
    """Return what was compressed in the last 7 days, by codec, and how long readers waited in the last 24 hours."""
    engine, since = request.services.context.engine, request.now - timedelta(days=6)
    reads = read_traffic.get_day_latency(engine, request.now)
    return {"codecs": get_compression_totals(engine, since).to_dict()["codecs"], "reads": reads}


def load_calibration(request: TileRequest) -> Mapping[str, Any]:
    """Return how often reports were opened, by the chance that the forecast stated."""
    context = request.services.context
    counts = count_marks(context.engine, request.now - timedelta(days=DAYS))
    points = get_calibration(counts)
    with read_transaction(context.engine) as connection:
        live = find_deployed_snapshot(connection)
    title = "Share of warmed reports that were opened, by the chance that was stated"
    return {
        "days": DAYS,
        "points": points,
        "chart": calibration_chart({"forecast": points}, title),
        "cases": sum(point.count for point in points),
        "few": FEW_WARMS,
        "error": get_calibration_error(points),
        "live": live,
        "trained_error": None if live is None else live.metrics.get("ece"),
    }


def get_calibration(counts: Iterable[MarkCounts]) -> list[CalibrationPoint]:
    """Return, by range of stated chances, the mean chance, the share that was opened, and how many cases there are.

    Shadow warms count as if they had been fetched; warms that a newer one replaced are left out.
    """
    cases, chances, used = ([0.0] * BINS for _ in range(3))
    for item in counts:
        if item.reason == "predicted_open" and item.used is not None:
            cases[item.bin] += item.warms
            chances[item.bin] += item.warms * item.chance
            used[item.bin] += item.warms * item.used
    return [CalibrationPoint(chances[n] / cases[n], used[n] / cases[n], int(cases[n])) for n in range(BINS) if cases[n]]


def get_calibration_error(points: Sequence[CalibrationPoint]) -> float | None:
    """Return the mean gap between stated and true shares, weighted by cases; None without any."""
    cases = sum(point.count for point in points)
    return sum(abs(point.x - point.y) * point.count for point in points) / cases if cases else None


def load_review(request: TileRequest) -> Mapping[str, Any]:
    """Return the newest reviews."""
    with read_transaction(request.services.context.engine) as connection:
        reviews = list_reviews(connection, _SHOWN_REVIEWS)
    rows = [
        {
            "at": review.at,
            "result": _REVIEW_RESULTS.get(review.result, review.result),
            "headline": review.headline,
            "why": review.figures.get("why", ""),
            "has_page": review.page is not None,
        }
        for review in reviews
    ]
    return {"reviews": rows}


def load_drift(request: TileRequest) -> Mapping[str, Any]:
    """Return how many accounts changed, by the newest review that compared them."""
    with read_transaction(request.services.context.engine) as connection:
        reviews = list_reviews(connection, _SHOWN_REVIEWS)
    compared = next((review for review in reviews if review.figures.get("drift")), None)
    return {"at": compared and compared.at, "drift": compared and compared.figures["drift"]}


TABS: Final = (
    Tab(
        "evidence",
        "Evidence",
        (
            Tile("calibration", "Do stated chances come true?", load_calibration),
            Tile("drift", "Have readers changed their habits?", load_drift, is_wide=True),
            Tile("review", "Newest weekly review", load_review, is_wide=True),
            Tile("compression", "What does compression save?", load_compression, is_wide=True),
        ),
    ),
)
