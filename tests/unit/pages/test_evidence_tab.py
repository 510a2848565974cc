"""The tab Evidence: calibration, reviews and drift, with data, without, and hostile."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adwarm.charts import CalibrationPoint
from adwarm.compression.statistics import add_counts
from adwarm.model import (
    CompressionCounts,
    Latencies,
    Mode,
    PlannedWarm,
    PolicyReview,
    ReportKey,
    WarmReason,
    WarmStatus,
    WarmUse,
)
from adwarm.pages.views.evidence_tab import get_calibration, get_calibration_error
from adwarm.store import read_traffic, warms, write_transaction
from adwarm.store.snapshots import save_review
from adwarm.store.warm_usage import count_marks
from tests.unit.pages.conftest import START, Page

HOSTILE = "<script>alert(1)</script>"
DAY = timedelta(days=1)


def _mark(page: Page, chances: list[float], used: list[bool | None], status: WarmStatus = WarmStatus.PLANNED) -> None:
    run = f"dag/{status}/{chances}"
    plan = [
        PlannedWarm(
            key=ReportKey(f"act_{number}", "today"),
            reason=WarmReason.PREDICTED_OPEN,
            mode=Mode.SHADOW if status is WarmStatus.SHADOW else Mode.LIVE,
            status=status,
            decided_at=START - DAY,
            confidence=chance,
        )
        for number, chance in enumerate(chances)
    ]
    warms.replace_plan(page.runtime.engine, run, plan)
    rows = warms.list_by_run(page.runtime.engine, run)
    uses = [WarmUse(row.id, mark, None, 1 if mark is None else None) for row, mark in zip(rows, used, strict=True)]
    warms.mark_uses(page.runtime.engine, uses)


def _review(page: Page, run: str, at: datetime, **figures: Any) -> None:
    review = PolicyReview(run, at, "kept", "adwarm", None, None, "/data/reports/review-x.html", figures)
    with write_transaction(page.runtime.engine) as connection:
        save_review(connection, review)


def test_calibration_is_by_stated_chance(page: Page) -> None:
    """Chances are grouped in ten ranges by the database; shadow warms count, replaced ones do not."""
    _mark(page, [0.72, 0.78, 0.74], [True, True, False])
    _mark(page, [0.76, 0.05], [True, False], WarmStatus.SHADOW)
    _mark(page, [0.9], [None])
    counts = count_marks(page.runtime.engine, START - 28 * DAY)
    assert [(round(p.x, 4), p.y, p.count) for p in get_calibration(counts)] == [(0.05, 0.0, 1), (0.75, 0.75, 4)]
    html = page.tile("evidence", "calibration")
    assert "stated 75%, came true 75% of 4" in html
    assert "fewer than 200" in html
    assert count_marks(page.runtime.engine, START) == []


def test_the_calibration_error_is_weighted_by_cases() -> None:
    """A gap of 0.2 in one of four cases is 0.05 on average."""
    assert get_calibration_error([CalibrationPoint(0.5, 0.5, 3), CalibrationPoint(0.7, 0.9, 1)]) == pytest.approx(0.05)
    assert get_calibration_error([]) is None


def test_the_newest_review_is_linked(page: Page) -> None:
    """The newest review has a link to its page; hostile text stays text; drift is the newest."""
    drift = {"stability": 0.31, "accounts": 12, "judged": 9, "moved": 2}
    _review(page, "r1", datetime(2026, 2, 23, tzinfo=UTC), why="as before", drift=drift)
    _review(page, "r2", datetime(2026, 3, 2, tzinfo=UTC), why=HOSTILE, headline={"text": "With 2 x the calls"})
    html = page.tile("evidence", "review")
    assert 'href="reviews/newest"' in html
    assert "With 2 x the calls." in html
    assert HOSTILE not in html
    assert "&lt;script&gt;" in html
    moved = page.tile("evidence", "drift")
    assert "0.310" in moved
    assert "2026-02-23" in moved


def test_compression_shows_its_times_and_the_hits_of_the_cache(page: Page) -> None:
    """By codec, median and 95th percentile, and what a cache saved; below them how long readers waited."""
    assert 'class="empty"' in page.tile("evidence", "compression")
    took = Latencies({-60: 19, 0: 2})
    counts = CompressionCounts(packed=21, raw_bytes=5_000, stored_bytes=1_000, cache_hits=1_234, pack_latencies=took)
    add_counts(page.runtime.engine, START - 6 * DAY, {"zstd": counts})
    add_counts(page.runtime.engine, START - 7 * DAY, {"gzip": counts})
    for milliseconds in (2.0, 2.0, 9.0):
        read_traffic.increment(page.runtime.engine, START, "act_1", "human", latency_ms=milliseconds, hits=1)
    text = " ".join(page.tile("evidence", "compression").split())
    assert f">{took.quantile_ms(0.5)} / {took.quantile_ms(0.95)}</td>" in text
    assert ">1,234</td>" in text
    assert ">4,000</td>" in text
    assert "gzip" not in text
    of_reads = [Latencies.of(seconds).quantile_ms(0.5) for seconds in (0.002, 0.009)]
    assert f"took at most {of_reads[0]} ms, and 95 of 100 at most {of_reads[1]} ms" in text
