"""Follows one id from the plan to the entry and its reads: what the rows of each step say.

An id is a run (`adwarm_intelligent_warming/scheduled__...`), a planned warm (`warm-12`) or a reader's request
(`request-7`). Log lines carry the same ids.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from adwarm.foundation.errors import AdwarmError, BadRequest, NotFound
from adwarm.model import EntryKey, ReportKey, Warm
from adwarm.model.keys import resolve_window
from adwarm.store import Context, accounts, entries, jobs, read_transaction, requests, warms
from adwarm.store.error_events import ErrorFilter, ErrorLog
from adwarm.store.requests import QueuedRequest, to_datetime

_ID: Final = re.compile(r"(warm|request)-(\d{1,18})")
_MAX_WARMS: Final = 20
"""Warms of a run that are followed; the job counts all."""
_MAX_ERRORS: Final = 5
_SLACK: Final = timedelta(seconds=1)
_MOMENTS: Final = ("fetched_at", "expires_at")


@dataclass(frozen=True, slots=True)
class TraceStep:
    """What one step did.

    Attributes:
        at: when; None when it did not happen yet.
        step: `run`, `planned`, `requested`, `error`, `fetched`, `stored` or `read`.
    """

    at: datetime | None
    step: str
    id: str
    detail: str


def trace(context: Context, text: str) -> list[TraceStep]:
    """Return the steps of an id, in their order.

    Raises:
        BadRequest: it is not an id.
        NotFound: nothing has it; rows are deleted after their retention.
    """
    match = _ID.fullmatch(text)
    if match is None and "/" not in text:
        raise BadRequest(f"{text[:60]!r} is not an id; write a run such as DAG/RUN, warm-12 or request-7")
    if match is None:
        steps = list(_trace_run(context, text))
    elif match[1] == "warm":
        warm = warms.find(context.engine, int(match[2]))
        steps = [] if warm is None else list(_trace_warm(context, warm))
    else:
        with read_transaction(context.engine) as connection:
            request = requests.find(connection, int(match[2]))
        steps = [] if request is None else list(_trace_request(context, request))
    if not steps:
        raise NotFound(f"nothing has the id {text[:60]!r}; `adwarm status --all` lists the latest runs")
    return steps


def _trace_run(context: Context, run_id: str) -> Iterator[TraceStep]:
    job = next((item for item in jobs.list_latest(context.engine, 1_000) if item.run_id == run_id), None)
    if job is not None:
        counts = f"{job.done:,} of {job.total:,} done, {job.failed:,} failed, {job.requests:,} calls; {job.status}"
        yield TraceStep(job.started_at, "run", run_id, counts)
    for warm in warms.list_by_run(context.engine, run_id)[:_MAX_WARMS]:
        yield from _trace_warm(context, warm)


def _trace_warm(context: Context, warm: Warm) -> Iterator[TraceStep]:
    name = f"warm-{warm.id}"
    due = "" if warm.warm_at is None else f", to be warm at {warm.warm_at:%Y-%m-%d %H:%M} UTC"
    detail = f"{warm.key}: {warm.reason} in batch {warm.batch} of {warm.run_id}{due}; {warm.mode}"
    yield TraceStep(warm.decided_at, "planned", name, detail)
    yield from _list_errors(context, name, warm.key.account_id, warm.decided_at, warm.fetched_at)
    ended = f"{warm.status}, {warm.requests:,} calls" + ("" if warm.seconds is None else f", {warm.seconds:.2f} s")
    yield TraceStep(warm.fetched_at, "fetched", name, ended + (f": {warm.error}" if warm.error else ""))
    yield from _trace_entry(context, name, warm.key, warm.fetched_at, warm.expires_at)


def _trace_request(context: Context, request: QueuedRequest) -> Iterator[TraceStep]:
    name, since = f"request-{request.id}", to_datetime(request.enqueued_at)
    until = None if request.finished_at is None else to_datetime(request.finished_at)
    priority = request.priority.name.lower()
    yield TraceStep(since, "requested", name, f"{request.key}, {priority}, {request.attempts:,} attempts")
    yield from _list_errors(context, name, request.key.account_id, since, until)
    yield TraceStep(until, "fetched", name, str(request.status) + (f": {request.error}" if request.error else ""))
    result = request.result or {}
    fetched, expires = (datetime.fromisoformat(text) if (text := result.get(field)) else None for field in _MOMENTS)
    yield from _trace_entry(context, name, request.key, fetched, expires)


def _list_errors(
    context: Context, name: str, account_id: str, since: datetime, until: datetime | None
) -> Iterator[TraceStep]:
    """Yield the errors of the account between the decision and the end."""
    error_filter = ErrorFilter(account_id=account_id, since=since, until=None if until is None else until + _SLACK)
    for event in reversed(
        list(ErrorLog(context.engine, context.settings.retention).list_recent(_MAX_ERRORS, error_filter))
    ):
        yield TraceStep(event.at, "error", name, f"{event.kind} of {event.source}: {event.message}")


def _trace_entry(
    context: Context, name: str, key: ReportKey, fetched_at: datetime | None, expires_at: datetime | None
) -> Iterator[TraceStep]:
    """Yield what is stored for the report as it was requested, and who read it."""
    account = accounts.get(context.engine, key.account_id)
    if fetched_at is None or account is None:
        return
    try:
        window = resolve_window(key.date_range, account.data_zone, fetched_at)
        spec = context.settings.spec(key.report)
    except AdwarmError as error:
        yield TraceStep(None, "stored", name, str(error))
        return
    entry_key = EntryKey(key.account_id, window, spec.hash)
    entry, _zone = entries.find_with_zones(context.engine, [entry_key])[entry_key]
    if entry is None:
        yield TraceStep(None, "stored", name, f"the entry of {window} is gone: evicted, or replaced by another query")
        return
    is_same = entry.expires_at == expires_at or abs(entry.fetched_at - fetched_at) < _SLACK
    which = "this fetch" if is_same else "a later or earlier fetch"
    until = "final" if entry.expires_at is None else f"fresh until {entry.expires_at:%Y-%m-%d %H:%M} UTC"
    size = f"{entry.stored_bytes:,} bytes, version {entry.data_version}"
    at = max(entry.fetched_at, fetched_at) if is_same else entry.fetched_at
    yield TraceStep(at, "stored", name, f"{window} by {which}: {size}, {until}")
    if entry.reads:
        last = entry.last_read_at or datetime.fromtimestamp(0, UTC)
        yield TraceStep(last, "read", name, f"{entry.reads:,} reads, the last one then")
