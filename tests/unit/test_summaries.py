"""The sentences in which runs sum up what they did: one for each kind of result."""

from datetime import UTC, datetime
from typing import Any

from adwarm.fatigue.account_scores import ScoringResult
from adwarm.maintenance.entry_compression import describe_compression
from adwarm.model import Mode
from adwarm.model.warm import Job
from adwarm.patterns.ingest.run import IngestResult
from adwarm.planning.decide import PlanSummary
from adwarm.planning.strategies import StrategyPlanSummary
from adwarm.planning.warm_outcomes import WarmOutcomes
from adwarm.prefetch.backfill import Estimate
from adwarm.prefetch.queue_worker import DrainResult

AT = datetime(2026, 11, 26, tzinfo=UTC)


def _job(total: int, done: int, failed: int, requests: int) -> Job:
    return Job("dag/1", "dag", "completed", total, done, failed, requests, AT, AT, ())


def _plan(mode: Mode = Mode.LIVE, **figures: Any) -> PlanSummary:
    counts = dict.fromkeys(("considered", "planned", "closing", "cut", "fresh", "batches"), 0)
    return PlanSummary(**{"run_id": "dag/1", "decided_at": AT, "mode": mode, **counts, **figures})


def _ingest(rejected: dict[str, int], keys: int | None = 312, ignored: int = 0) -> IngestResult:
    return IngestResult(12_345, sum(rejected.values()), rejected, [], 48, keys, AT, AT, None, 900, ignored)


_COUNTS = {"planned": 0, "fresh": 4, "cut": 0, "in_flight": 0, "tried": 2, "tasks": 0}
CASES: list[tuple[Any, str]] = [
    (
        _plan(considered=400, planned=12, closing=2, cut=8, fresh=380, batches=3),
        (
            "planned 12 of 400 reports that may be opened soon, and 2 accounts whose day has ended in 3 batches; "
            "380 fresh already, 8 cut by the hourly budget"
        ),
    ),
    (
        _plan(considered=9, cut=2, stopped="off", expiring=3, stopped_warms=4),
        (
            "planned 0 of 9 reports that may be opened soon; 0 fresh already, 2 cut by the hourly budget, "
            "3 that would expire before the session ends, 4 left out while it is stopped; nothing is fetched: off"
        ),
    ),
    (
        StrategyPlanSummary("dag/1", {"morning": {**_COUNTS, "stopped": 5}}, stopped="off"),
        (
            "strategy morning: planned 0 of 11 reports; 4 fresh already, 0 cut by the hourly budget, "
            "5 left out while it is stopped, 2 tried since the due time; nothing is fetched: off"
        ),
    ),
    (
        _plan(Mode.SHADOW, considered=1, planned=1),
        (
            "planned 1 of 1 report that may be opened soon (shadow mode: no call is made); "
            "0 fresh already, 0 cut by the hourly budget"
        ),
    ),
    (
        StrategyPlanSummary(
            "dag/1",
            {"morning": {"planned": 2, "fresh": 1, "cut": 3, "in_flight": 1, "tried": 0, "tasks": 2}, "late": _COUNTS},
        ),
        (
            "strategy morning: planned 2 of 7 reports in 2 tasks; 1 fresh already, 3 cut by the hourly budget, "
            "1 being fetched by another run; "
            "strategy late: planned 0 of 6 reports; 4 fresh already, 0 cut by the hourly budget, "
            "2 tried since the due time"
        ),
    ),
    (
        StrategyPlanSummary("dag/1"),
        "nothing is planned",
    ),
    (_job(16, 15, 1, 20), "15 of 16 reports fresh, 1 failed; 20 requests"),
    (_job(0, 0, 0, 0), "nothing was planned, so nothing was fetched"),
    (
        WarmOutcomes(3, 1, 5),
        "3 were opened while fresh, 1 expired unopened; 5 have not expired yet, or the log is not read that far",
    ),
    (WarmOutcomes(3, 1, 0), "3 were opened while fresh, 1 expired unopened"),
    (WarmOutcomes(0, 0, 0), "none to evaluate"),
    (
        ScoringResult(2, 1, 1, errors=["x"], bands={"healthy": 5, "critical": 1}, creatives=6),
        (
            "scored 6 creatives of 2 accounts (1 critical, 5 healthy); 1 account unchanged since the last score; "
            "1 account without a stored day; 1 could not be scored"
        ),
    ),
    (ScoringResult(unchanged=2, rescored_days=0), "2 accounts unchanged since the last score"),
    (ScoringResult(), "no account to score"),
    (
        DrainResult(10, 1, 1, 0, 7),
        ("12 requests: 10 completed, 1 failed, 1 back in the queue for a later try; 7 upstream calls"),
    ),
    (DrainResult(), "no request was ready"),
    (
        _ingest({"not JSON": 3, "no timestamp": 2}),
        "read 12,345 events of 312 reports; 900 opens in 48 hours; 5 lines rejected (3 not JSON, 2 no timestamp)",
    ),
    (_ingest({}, None, 7), "read 12,345 events; 900 opens in 48 hours; 7 other requests ignored"),
    (
        Estimate(2, 60, 2, 6, 50.0, "assumed", 1.0, 0.001, 1.5),
        (
            "2 accounts lack 60 days in all; fetching them takes about 6 requests, which is 3.6 s if nothing else runs "
            "and 1.5 h beside a full load of other work (at 50 rows a day, an assumption)"
        ),
    ),
    (
        Estimate(1, 1, 1, 1, 10.0, "stored days", 1.0, 0.001, 0.01),
        (
            "1 account lacks 1 day in all; fetching them takes about 1 request, which is 3.6 s if nothing else runs "
            "and 36 s beside a full load of other work (at 10 rows a day, as in the stored days)"
        ),
    ),
    (
        Estimate(1, 30, 1, 52, 720.0, "other reports", 1.0, 0.001, 0.01, 1),
        (
            "1 account lacks 30 days in all; fetching them takes about 52 requests, 1 async report among them, "
            "which is 3.6 s if nothing else runs and 36 s beside a full load of other work (at 720 rows a day, "
            "by the stored days of other reports, the level and the breakdowns)"
        ),
    ),
    (Estimate(0, 0, 0, 2, 50.0, "assumed", 1.0, 0.1, 0.1), "no day is missing; range summaries take about 2 requests"),
    (Estimate(0, 0, 0, 0, 50.0, "assumed", 1.0, 0.0, 0.0), "nothing is missing, so no request is needed"),
]


def test_a_result_is_a_sentence() -> None:
    """Counts in words, without empty parts."""
    assert [str(result) for result, _ in CASES] == [sentence for _, sentence in CASES]


def test_compression_of_entries_is_a_sentence() -> None:
    """What became smaller, by how much, and what was damaged."""
    counts = {"entries": 9, "repacked": 4, "corrupt": 1, "bytes_before": 90_000, "bytes_after": 70_000}

    assert describe_compression(counts, "brotli") == (
        "4 of 9 stored entries are smaller by brotli and were replaced: 90,000 bytes became 70,000; "
        "1 are damaged and will be fetched again"
    )
