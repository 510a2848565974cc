"""Carries out one batch of a stored plan, and writes down what became of each warm as it happens."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from adwarm.model import Priority, ReportKey, WarmReason
from adwarm.prefetch.engine import PrefetchEngine
from adwarm.prefetch.outcome import BatchReport, KeyOutcome, KeyStatus, Wanted
from adwarm.store import jobs, warms

_TO_BE_TRIED_AGAIN = frozenset({KeyStatus.PARKED})


def warm_batch(
    prefetch: PrefetchEngine,
    run_id: str,
    number: int,
    *,
    wait_seconds: float | None = None,
    pause_seconds: float = 0.0,
    slice_size: int | None = None,
) -> BatchReport:
    """Warm batch `number` of the run's plan and return the outcome of each key.

    Warms that are done already are left out, so a batch that was cut off goes on where it stopped. Parked keys stay
    planned: calling again after the park carries them out.

    Args:
        prefetch: the engine.
        run_id: names the plan.
        number: the batch.
        wait_seconds: how long a call may wait for admission.
        pause_seconds: pause between slices, as a strategy may ask for.
        slice_size: keys between two pauses; all at once by default.
    """
    report = BatchReport()
    for turn, (priority, rows) in enumerate(_slices(warms.batch(prefetch.engine, run_id, number), slice_size)):
        if turn and pause_seconds:
            prefetch.clock.sleep(pause_seconds)
        done = prefetch.run(
            [_wanted(row) for row in rows],
            priority,
            wait_seconds=wait_seconds,
            progress=lambda outcomes: _write_down(prefetch, run_id, outcomes),
        )
        report.outcomes.extend(done.outcomes)
    return report


def _slices(rows: list[dict[str, Any]], size: int | None) -> Iterator[tuple[Priority, list[dict[str, Any]]]]:
    """Yield slices of one priority each, the most urgent first, so that nothing is admitted in another's class."""
    by_priority: dict[Priority, list[dict[str, Any]]] = {}
    for row in rows:
        by_priority.setdefault(Priority.parse(str(row["priority"])), []).append(row)
    for priority in sorted(by_priority):
        group = by_priority[priority]
        for start in range(0, len(group), size or len(group)):
            yield priority, group[start : start + (size or len(group))]


def _wanted(row: dict[str, Any]) -> Wanted:
    key = ReportKey(row["account_id"], row["date_range"], row["report"])
    close_day = None
    if row["reason"] == WarmReason.DAY_CLOSED:
        close_day = date.fromisoformat(str(row["date_range"]).partition("..")[2])
    return Wanted(key, reference=row["id"], close_day=close_day, fresh_until=row["predicted_open"])


def _write_down(prefetch: PrefetchEngine, run_id: str, outcomes: Sequence[KeyOutcome]) -> None:
    warms.record(prefetch.engine, [_record(outcome) for outcome in outcomes if outcome.wanted.reference is not None])
    served = sum(outcome.status.is_served for outcome in outcomes)
    failed = sum(not outcome.status.is_served and outcome.status not in _TO_BE_TRIED_AGAIN for outcome in outcomes)
    errors = [f"{outcome.wanted.key}: {outcome.reason}" for outcome in outcomes if not outcome.status.is_served]
    requests = sum(outcome.requests for outcome in outcomes)
    jobs.advance(prefetch.engine, run_id, done=served, failed=failed, requests=requests, errors=errors)


def _record(outcome: KeyOutcome) -> dict[str, Any]:
    again = outcome.status in _TO_BE_TRIED_AGAIN
    return {
        "id": outcome.wanted.reference,
        "status": "planned" if again else str(outcome.status),
        "error": outcome.reason,
        "fetched_at": outcome.fetched_at,
        "expires_at": outcome.expires_at,
        "requests": outcome.requests,
        "seconds": outcome.seconds,
    }
