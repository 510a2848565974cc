"""Reads a window through one connection without storing anything: the `source` step of the fallback chain."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from adwarm.foundation.clock import TimeLimit, limited
from adwarm.foundation.errors import BadRequest, Transient
from adwarm.model import Account, CallCause, CauseKind, Priority, QuerySpec, Row, Window
from adwarm.prefetch.engine import PrefetchEngine
from adwarm.prefetch.fetcher import Fetcher
from adwarm.prefetch.gap_filling import MissingData, describe_missing
from adwarm.sources.protocol import Increment
from adwarm.store import denials
from adwarm.store.read_traffic import count_calls, counting_refusals

_READER = CallCause(CauseKind.READER)


@dataclass(slots=True)
class WindowRows:
    """What a connection answered for a window.

    Attributes:
        summary: a row per object over the whole window; None for a window of one day.
        missing: what could not be read, and why; None when nothing is missing.
    """

    source: str
    api_version: str = ""
    daily: list[Row] = field(default_factory=list)
    summary: list[Row] | None = None
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class WindowQuery:
    """What is read: an account, its days, the query, and the name of the connection."""

    account: Account
    window: Window
    spec: QuerySpec
    connection: str


def read_window(
    engine: PrefetchEngine,
    query: WindowQuery,
    priority: Priority,
    *,
    seconds: float,
    is_canceled: Callable[[], bool],
) -> WindowRows:
    """Return the rows of a window, read through a connection, every call under admission.

    A result that the source would only give as an async report fails, because nothing is stored that could continue it.

    Args:
        seconds: how long the read may take, waits for admission included.
        is_canceled: checked before each result; true ends the read.

    Raises:
        BadRequest: there is no such connection.
        AdwarmError: the source failed, or the read was canceled.
    """
    if query.connection not in engine.sources.factories:
        names = ", ".join(sorted(engine.sources.factories)) or "none"
        raise BadRequest(f"there is no connection {query.connection!r}; ADWARM_CONNECTIONS has {names}")
    batch, fetchers = engine.make_batch(priority, seconds), list[Fetcher]()
    limit = TimeLimit(seconds, "the read", "timeout_seconds of the step `source`")
    try:
        counting = counting_refusals(engine.engine, engine.clock, query.account.id, _READER)
        with counting, batch.acquire_slot() as account_limit, limited(limit):
            fetcher = Fetcher(engine, batch, account_limit, query.connection)
            fetchers.append(fetcher)
            gates = denials.list_active(engine.engine, query.account.id, engine.clock.now())
            fetcher.refused.load(fetcher.source, query.account.id, gates)
            read = WindowRows(fetcher.source.name)
            read.daily, gaps = _read(fetcher, query, Increment.DAY, is_canceled)
            if len(query.window) > 1:
                read.summary, more = _read(fetcher, query, Increment.RANGE, is_canceled)
                gaps += more
            read.missing, read.api_version = describe_missing(gaps, query.window), fetcher.api_version
            return read
    finally:
        count_calls(
            engine.engine,
            engine.clock.now(),
            query.account.id,
            _READER,
            calls=sum(item.calls for item in fetchers),
        )


def _read(
    fetcher: Fetcher, query: WindowQuery, increment: Increment, is_canceled: Callable[[], bool]
) -> tuple[list[Row], list[MissingData]]:
    rows: list[Row] = []
    gaps: list[MissingData] = []
    windows: Sequence[Window] = [query.window]
    fetcher.start()
    for unit in fetcher.source.plan(query.account, windows, increment, query.spec):
        for result in fetcher.iter_results(unit):
            if is_canceled():
                raise Transient("the read was canceled, because nobody waits for it any more")
            for window in result.rows.windows():
                if window.since in query.window and window.until in query.window:
                    rows.extend(result.rows.take(window))
            gaps.extend(result.missing)
    return rows, gaps
