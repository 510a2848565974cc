"""The tab Evidence: calibration, use of warms, impact, reviews and drift, with data, without, and hostile."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from adwarm.foundation.charts import CalibrationPoint
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
from adwarm.store import compression_days, impact, read_traffic, warms, write_transaction
from adwarm.store.snapshots import save_review
from adwarm.store.warm_usage import count_marks
from tests.unit.pages.conftest import START, Page

HOSTILE = "<script>alert(1)</script>"
DAY = timedelta(days=1)
FIGURES: dict[str, Any] = {
    "weeks": 9,
    "treated": {"units": 900, "first_opens": 12_000, "first_hits": 10_200, "calls": 6_000, "hit_rate": 0.85},
    "held_out": {"units": 100, "first_opens": 1_400, "first_hits": 490, "calls": 0, "hit_rate": 0.35},
    "gain_per_call": 1.0,
    "low": 0.81,
    "high": 1.19,
    "half_width": 0.19,
    "confidence": 0.95,
    "weeks_left": 0,
    "is_useful": True,
    "why": "the interval is narrow enough to act on",
    "withheld": 1_100,
    "weeks_by_source": {"log": 2, "read_api": 7},
    "exempt": {"strategy": {"warms": 50, "calls": 80}},
}


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


def _estimate(page: Page, **changes: Any) -> None:
    design = impact.start_design(page.runtime.engine, START - 80 * DAY, 0.1)
    impact.save_estimate(page.runtime.engine, design.id, date(2026, 2, 23), START, {**FIGURES, **changes})


def _review(page: Page, run: str, at: datetime, **figures: Any) -> None:
    review = PolicyReview(run, at, "kept", "adwarm", None, None, "/data/reports/review-x.html", figures)
    with write_transaction(page.runtime.engine) as connection:
        save_review(connection, review)


def test_calibration_is_by_stated_chance(page: Page) -> None:
    """Chances are grouped in ten ranges by the database; withheld warms count, replaced ones do not."""
    _mark(page, [0.72, 0.78, 0.74], [True, True, False])
    _mark(page, [0.76, 0.05], [True, False], WarmStatus.HELD_OUT)
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


def test_impact_says_how_to_switch_it_on(page: Page) -> None:
    """Off by default: the tile names the setting, and says once that nothing is measured."""
    html = page.tile("evidence", "impact")
    assert "Not measured; ADWARM_IMPACT__ENABLED=true" in html
    assert html.lower().count("measured") == 1


def test_impact_shows_estimate_width_and_what_is_exempt(page: Page) -> None:
    """The gain, its interval and width, both groups, what is never held out, and that it is off by now."""
    _estimate(page)
    html = page.tile("evidence", "impact")
    for text in ("0.81 to 1.19", "±0.19", "85%", "35%", "strategy (50 warms, 80 calls)", "switched off"):
        assert text in html
    assert "may be chance" not in html


def test_an_interval_that_holds_zero_is_called_chance(page: Page) -> None:
    """A difference that may be chance is not sold as a gain."""
    _estimate(page, low=-0.2, gain_per_call=0.1, high=0.4, half_width=0.3, weeks_left=30, why=HOSTILE)
    html = page.tile("evidence", "impact")
    assert "may be chance" in html
    assert HOSTILE not in html


def test_an_estimate_without_an_interval(page: Page) -> None:
    """While weeks are few, the tile says what is missing."""
    _estimate(page, low=None, high=None, half_width=None, weeks_left=3, why="1 of 4 whole weeks are measured")
    html = page.tile("evidence", "impact")
    assert "1 of 4 whole weeks" in html
    assert "interval, confidence" not in html


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
    compression_days.add_counts(page.runtime.engine, START - 6 * DAY, {"zstd": counts})
    compression_days.add_counts(page.runtime.engine, START - 7 * DAY, {"gzip": counts})
    for milliseconds in (2.0, 2.0, 9.0):
        read_traffic.increment(page.runtime.engine, START, "act_1", "human", latency_ms=milliseconds, hits=1)
    text = " ".join(page.tile("evidence", "compression").split())
    assert f">{took.quantile_ms(0.5)} / {took.quantile_ms(0.95)}</td>" in text
    assert ">1,234</td>" in text
    assert ">4,000</td>" in text
    assert "gzip" not in text
    of_reads = [Latencies.of(seconds).quantile_ms(0.5) for seconds in (0.002, 0.009)]
    assert f"took at most {of_reads[0]} ms, and 95 of 100 at most {of_reads[1]} ms" in text
