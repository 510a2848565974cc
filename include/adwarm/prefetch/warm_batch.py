"""Carries out one batch of a stored plan, and records each warm in the transaction that publishes its account last.

| outcome of the key        | status of the warm                                             |
|---------------------------|----------------------------------------------------------------|
| `parked`                  | stays `planned`; calling again after the wait carries it out   |
| any other                 | that outcome                                                   |
| `failed`, `stale`         | `planned` again when the batch is reopened                     |
| `denied`                  | `planned` again when a human reopens the batch                 |
| not reached in the budget | `cut`; a later run plans it                                    |
| not reached, because      | `cut`; a later run plans it. Of a batch that has to complete,  |
| warming is switched off   | it stays `planned`, and the task tries again                   |
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate, groupby

from sqlalchemy import Connection, Engine

from adwarm.fetch_plan import SESSION
from adwarm.foundation import telemetry
from adwarm.foundation.clock import floor_to
from adwarm.foundation.errors import AdwarmError, Denied, Refused, TokenDead
from adwarm.foundation.redaction import log_context
from adwarm.foundation.wording import format_count
from adwarm.model import Priority, Warm, WarmReason, WarmResult, WarmStatus, find_cause
from adwarm.prefetch.batch_result import BatchResult, KeyOutcome, KeyRequest, KeyStatus
from adwarm.prefetch.engine import PrefetchEngine, Progress, Record, WarmingStopped
from adwarm.prefetch.progress_log import ProgressLog
from adwarm.store import denials, jobs, strategy_warms, warms

log = logging.getLogger(__name__)
_HOUR = timedelta(hours=1)
_RETRIED_STATUSES = frozenset({KeyStatus.PARKED})
_STOPPED_RETRY_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a batch may go.

    Attributes:
        slice_size: keys between two pauses; 0 for all at once.
        max_calls: upstream calls that the strategy of the batch may make in the hour of the clock, or its run in all
            when a form describes it; the rest of the batch is cut then. 0 for no limit.
    """

    slice_size: int = 0
    pause_seconds: float = 0.0
    max_calls: int = 0


_AT_ONCE = Pace()


def warm_batch(
    prefetch: PrefetchEngine,
    run_id: str,
    number: int,
    *,
    wait_seconds: float | None = None,
    pace: Pace = _AT_ONCE,
    must_complete: bool = False,
) -> BatchResult:
    """Fetch the planned warms of batch `number` of a run and return the outcome of each key.

    Warms that have ended are left out, so an interrupted batch continues where it stopped. When warming is switched
    off, the calls that are being made end, and no further key is taken; the result holds what was done.

    Args:
        pace: the pauses and the budget, which a strategy sets.
        must_complete: whether no later run plans what this one leaves, so that it has to be tried again.

    Raises:
        Refused: warming is switched off, and the batch has to complete.
    """
    started = prefetch.clock.now()
    planned = warms.list_planned(prefetch.engine, run_id, number)
    noted: list[KeyOutcome] = []
    with log_context(run=run_id, batch=number), ProgressLog(len(planned), log.log) as progress:

        def record(connection: Connection, outcomes: Sequence[KeyOutcome]) -> None:
            _record_outcomes(connection, run_id, outcomes)

        def note(outcomes: Sequence[KeyOutcome]) -> None:
            for status, count in Counter(str(result.status) for result in _list_results(outcomes)).items():
                telemetry.report(telemetry.WARMS, count, status=status)
            noted.extend(outcomes)
            progress.add(outcomes)

        batch = _RunningBatch(
            prefetch=prefetch,
            run_id=run_id,
            pace=pace,
            wait_seconds=wait_seconds,
            record=record,
            progress=note,
            heartbeat=prefetch.kill_switch.watch(progress.tick),
        )
        try:
            return batch.fetch(planned)
        except WarmingStopped as stop:
            _close_stopped(prefetch, run_id, number, str(stop), must_complete=must_complete)
        finally:
            telemetry.report(telemetry.BATCH_SECONDS, (prefetch.clock.now() - started).total_seconds())
    return BatchResult([outcome for outcome in noted if outcome.status is not KeyStatus.PARKED])


@dataclass(frozen=True, slots=True)
class _RunningBatch:
    prefetch: PrefetchEngine
    run_id: str
    pace: Pace
    wait_seconds: float | None
    record: Record
    progress: Progress
    heartbeat: Callable[[int], None]

    def fetch(self, planned: list[Warm]) -> BatchResult:
        prefetch, run_id, pace = self.prefetch, self.run_id, self.pace
        result = BatchResult()
        slices = list(_split_by_priority(planned, pace.slice_size))
        for index, (priority, rows) in enumerate(slices):
            if index and pace.pause_seconds:
                prefetch.clock.sleep(pace.pause_seconds)
            prefetch.kill_switch.check()
            affordable = _affordable(prefetch, run_id, rows, pace.max_calls)
            if len(affordable) < len(rows):
                rest = [*rows[len(affordable) :], *(row for _, later in slices[index + 1 :] for row in later)]
                _cut(prefetch, run_id, rest, pace.max_calls)
            if not affordable:
                break
            result.outcomes.extend(self.run([_to_request(row) for row in affordable], priority).outcomes)
            if len(affordable) < len(rows):
                break
        _retry_renewed(self, result, planned)
        return result

    def run(self, requests: Sequence[KeyRequest], priority: Priority) -> BatchResult:
        return self.prefetch.run(
            requests,
            priority,
            wait_seconds=self.wait_seconds,
            record=self.record,
            progress=self.progress,
            heartbeat=self.heartbeat,
        )


def _close_stopped(prefetch: PrefetchEngine, run_id: str, number: int, why: str, *, must_complete: bool) -> None:
    """Leave the rest of a stopped batch to a later run, or to another attempt where it must complete."""
    left = warms.list_planned(prefetch.engine, run_id, number)
    if not left:
        return
    text = f"{format_count(len(left), 'report')} of the batch not fetched: {why}"
    jobs.add_progress(prefetch.engine, run_id, errors=[text])
    if must_complete:
        message = f"{text}; what is left stays planned, and is fetched by the first attempt after it is switched on"
        raise Refused(message, retry_after=_STOPPED_RETRY_SECONDS)
    log.warning("%s; a later run plans what is still useful then", text)
    strategy_warms.cut_planned(
        prefetch.engine, run_id, left, {"rule": "stopped", "cut": f"not warmed: {why}"}, prefetch.clock.now()
    )


def _retry_renewed(batch: _RunningBatch, result: BatchResult, planned: Sequence[Warm]) -> None:
    """Try once more what an early group could not fetch because of a token that was renewed during the batch."""
    priorities = {row.id: row.priority for row in planned}
    by_priority: dict[Priority, list[int]] = {}
    for index, outcome in enumerate(result.outcomes):
        reference, error = outcome.request.reference, outcome.error
        if reference is None or not isinstance(error, TokenDead):
            continue
        if batch.prefetch.is_token_renewed(outcome.request.key.account_id, error):
            by_priority.setdefault(priorities[reference], []).append(index)
    for priority in sorted(by_priority):
        indexes = by_priority[priority]
        log.info("the token was renewed: trying %s again", format_count(len(indexes), "report"))
        requests = [result.outcomes[index].request for index in indexes]
        again = batch.run(requests, priority)
        for index, outcome in zip(indexes, again.outcomes, strict=True):
            result.outcomes[index] = outcome


def _affordable(prefetch: PrefetchEngine, run_id: str, rows: Sequence[Warm], max_calls: int) -> Sequence[Warm]:
    """Return the first of `rows` whose planned calls fit into what is left of the budget."""
    # The first one is fetched with an unused budget even when it takes more than all of it.
    if not max_calls:
        return rows
    spent = _count_calls(prefetch, run_id, rows[0].strategy)
    totals = list(accumulate(row.price for row in rows))
    fitting = sum(spent < max_calls and spent + total <= max_calls for total in totals)
    return rows[: fitting or int(spent == 0)]


def _count_calls(prefetch: PrefetchEngine, run_id: str, strategy: str | None) -> int:
    """Return the calls of a strategy in the current hour; without a strategy those of the run."""
    if strategy is None:
        return strategy_warms.get_run_calls(prefetch.engine, run_id)
    hour = floor_to(prefetch.clock.now(), _HOUR)
    return strategy_warms.get_calls(prefetch.engine, strategy, hour, hour + _HOUR)


def _cut(prefetch: PrefetchEngine, run_id: str, rows: Sequence[Warm], max_calls: int) -> None:
    why = {"rule": "budget", "cut": f"cut by the budget: its {max_calls} upstream calls were used up before its turn"}
    log.info("%d reports are left to a later run: the budget of %d upstream calls is used up", len(rows), max_calls)
    next_hour = floor_to(prefetch.clock.now(), _HOUR) + _HOUR
    strategy_warms.cut_planned(prefetch.engine, run_id, rows, why, next_hour)


def reopen_batch(engine: Engine, run_id: str, number: int, *, by_human: bool) -> int:
    """Set the failed warms of batch `number` back to planned for another attempt, and return how many.

    Args:
        by_human: whether a human started the attempt. That lifts the denials of the batch's accounts; an automatic
            attempt leaves denied keys as they are.
    """
    if by_human:
        lift_denials(engine, run_id, number)
    again = warms.reopen(engine, run_id, number, warms.FAILED | warms.DENIED if by_human else warms.FAILED)
    if again:
        log.info("%s of the batch failed before; trying again", format_count(again, "report"))
    return again


def lift_denials(engine: Engine, run_id: str, number: int | None = None) -> int:
    """Lift the denials of the accounts in a run's plan, or in one batch of it, and return how many accounts that is."""
    rows = [row for row in warms.list_by_run(engine, run_id) if number is None or row.batch == number]
    lifted = denials.lift(engine, dict.fromkeys(row.key.account_id for row in rows))
    if lifted:
        log.info("a human cleared the task: calling %s again", format_count(len(lifted), "denied account"))
    return len(lifted)


def list_earlier_outcomes(engine: Engine, run_id: str, number: int, result: BatchResult) -> list[KeyOutcome]:
    """Return the outcomes of the batch's warms that are not in `result`, because they ended in an earlier attempt."""
    references = {outcome.request.reference for outcome in result.outcomes}
    return [_outcome(row) for row in warms.list_ended(engine, run_id, number) if row.id not in references]


def _outcome(warm: Warm) -> KeyOutcome:
    status = KeyStatus(warm.status)
    error: AdwarmError | None = None
    if status is KeyStatus.DENIED:
        error = Denied(warm.error, account_id=warm.key.account_id)
    elif not status.is_served:
        error = AdwarmError(warm.error)
    return KeyOutcome(
        _to_request(warm),
        status,
        stored_at=warm.fetched_at,
        expires_at=warm.expires_at,
        reason=warm.error,
        error=error,
    )


def _split_by_priority(rows: list[Warm], size: int) -> Iterator[tuple[Priority, list[Warm]]]:
    """Yield groups of one priority each, the most urgent first, so that every call is admitted in its own class."""
    by_priority: dict[Priority, list[Warm]] = {}
    for row in rows:
        by_priority.setdefault(row.priority, []).append(row)
    for priority in sorted(by_priority):
        yield from ((priority, group) for group in _slices(by_priority[priority], size))


def _slices(rows: list[Warm], size: int) -> Iterator[list[Warm]]:
    """Yield at most `size` rows at a time; keys of an account stay together where they fit, to share its requests."""
    group: list[Warm] = []
    for _, of_account in groupby(rows, key=lambda row: row.key.account_id):
        account_rows = list(of_account)
        if size and group and len(group) + len(account_rows) > size:
            yield group
            group = []
        group += account_rows
        while size and len(group) > size:
            yield group[:size]
            group = group[size:]
    if group:
        yield group


def _to_request(warm: Warm) -> KeyRequest:
    close_day = None
    if warm.reason is WarmReason.DAY_CLOSED:
        close_day = date.fromisoformat(warm.key.date_range.partition("..")[2])
    cause = find_cause(warm.reason, warm.strategy, warm.run_id)
    until = None if warm.predicted_open is None else warm.predicted_open + SESSION
    return KeyRequest(warm.key, warm.id, close_day, until, cause=cause)


def _record_outcomes(connection: Connection, run_id: str, outcomes: Sequence[KeyOutcome]) -> None:
    errors = [f"{outcome.request.key}: {outcome.reason}" for outcome in outcomes if not outcome.status.is_served]
    warms.finish(connection, run_id, _list_results(outcomes), sum(outcome.calls for outcome in outcomes), errors)


def _list_results(outcomes: Sequence[KeyOutcome]) -> list[WarmResult]:
    return [
        _to_result(outcome, outcome.request.reference) for outcome in outcomes if outcome.request.reference is not None
    ]


def _to_result(outcome: KeyOutcome, warm_id: int) -> WarmResult:
    again = outcome.status in _RETRIED_STATUSES
    return WarmResult(
        warm_id=warm_id,
        status=WarmStatus.PLANNED if again else WarmStatus(outcome.status),
        error=outcome.reason,
        fetched_at=outcome.stored_at,
        expires_at=outcome.expires_at,
        requests=outcome.calls,
        seconds=outcome.seconds,
    )
