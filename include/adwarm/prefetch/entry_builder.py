"""Builds the entry of a report key from a range summary and daily partitions, and reads stored summaries back.

A range summary is fetched once per day of the account, and again when a day of its window was restated since. The sum
of the days' data versions tells: it grows with each restatement and each new day.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from adwarm.compression.document import pack_document, unpack_document
from adwarm.fetch_plan import RefetchSchedule, find_expiry
from adwarm.foundation.errors import Corrupt, TooMuchData
from adwarm.model import Account, ColumnTable, EntryKey, QuerySpec, ReportKey, Row, Window
from adwarm.model.keys import name_report
from adwarm.prefetch.gap_filling import join_unique, name_short_days
from adwarm.prefetch.group_sums import find_difference
from adwarm.store import Context, entries
from adwarm.store.entries import Entry
from adwarm.store.partition_rows import in_order
from adwarm.store.partitions import PartitionState
from adwarm_client.document import Document, Header, QueryFields, Summary


@dataclass(frozen=True, slots=True)
class RangeSummary:
    """One row per object over a window.

    Attributes:
        versions: sum of the data versions of the window's days when the rows were fetched.
    """

    rows: list[Row]
    fetched_at: datetime
    versions: int
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class EntryQuery:
    """What an entry is for."""

    key: ReportKey
    entry_key: EntryKey
    spec: QuerySpec
    account: Account


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the data of an entry comes from, and when the entry is built (UTC); rows that are not stored are as new."""

    source: str
    api_version: str
    built_at: datetime


def build_entry(
    context: Context,
    query: EntryQuery,
    states: Mapping[date, PartitionState],
    summary: RangeSummary | None,
    provenance: Provenance,
    daily: ColumnTable,
) -> tuple[Entry, bytes]:
    """Return the entry of a key and its compressed bytes.

    Its data is as old as its newest day, whenever it is built, and it expires when the first of its days does.

    Args:
        states: stored days; those outside the window are ignored.
        summary: the range summary; None for a window of one day, whose daily rows are its summary.
        daily: the rows of the window, as `daily_table` returns them.
    """
    window, account, settings = query.entry_key.window, query.account, context.settings
    states = {day: states[day] for day in window.days() if day in states}
    missing = _describe_missing(states, summary, find_difference(query.spec, daily, summary.rows) if summary else None)
    complete = len(states) == len(window) and all(state.complete for state in states.values()) and missing is None
    settled = complete and all(state.settled for state in states.values())
    schedule = RefetchSchedule.for_account(account, settings.freshness_rules)
    facts: dict[str, Any] = {
        "fetched_at": find_fetch_time(states),
        "complete": complete,
        "settled": settled,
        "data_version": max((state.data_version for state in states.values()), default=1),
        "source": provenance.source,
        "api_version": provenance.api_version or max((state.api_version for state in states.values()), default=""),
    }
    days_fetched_at = min((state.fetched_at for state in states.values()), default=None)
    header = Header(**_query_fields(query), missing=missing, days_fetched_at=days_fetched_at, **facts)
    document = Document(header, _to_summary(summary), daily)
    return _pack(context, query, document, find_expiry(window, states, schedule, provenance.built_at))


def find_fetch_time(states: Mapping[date, PartitionState]) -> datetime:
    """Return when the data of an entry was fetched that is built of stored days: the newest of them."""
    return states[max(states)].fetched_at


def build_entry_of_rows(
    context: Context, query: EntryQuery, rows: Sequence[Row], summary: RangeSummary | None, provenance: Provenance
) -> tuple[Entry, bytes]:
    """Return an entry of daily rows that are not stored, and its compressed bytes; it expires when it was fetched.

    Args:
        summary: the range summary; None for a window of one day.
    """
    missing = summary.missing if summary else None
    header = Header(
        **_query_fields(query),
        missing=missing,
        days_fetched_at=provenance.built_at,
        fetched_at=provenance.built_at,
        complete=missing is None,
        settled=False,
        data_version=1,
        source=provenance.source,
        api_version=provenance.api_version,
    )
    document = Document(header, _to_summary(summary), ColumnTable.from_rows(in_order(rows)))
    return _pack(context, query, document, provenance.built_at)


def describe_entry(query: EntryQuery, source: str, fetched_at: datetime, missing: str | None) -> Entry:
    """Return the entry of a document that is not built: without codec and bytes, and expired when it was fetched."""
    return Entry(
        key=query.entry_key,
        date_range=query.key.date_range,
        report=name_report(query.key.report),
        codec="identity",
        raw_bytes=0,
        stored_bytes=0,
        fetched_at=fetched_at,
        expires_at=fetched_at,
        source=source,
        complete=missing is None,
        degraded_reason=missing,
    )


def _pack(context: Context, query: EntryQuery, document: Document, fresh_until: datetime | None) -> tuple[Entry, bytes]:
    """Return the entry of a document, and its compressed bytes."""
    packed, content_hash = pack_document(document, context.settings.compression)
    header = document.header
    entry = Entry(
        key=query.entry_key,
        date_range=query.key.date_range,
        report=name_report(query.key.report),
        codec=packed.codec,
        raw_bytes=packed.raw_bytes,
        stored_bytes=packed.stored_bytes,
        fetched_at=header.fetched_at,
        expires_at=fresh_until,
        source=header.source,
        complete=header.complete,
        settled=header.settled,
        degraded_reason=header.missing,
        data_version=header.data_version,
        api_version=header.api_version,
        content_hash=content_hash,
    )
    return entry, packed.blob


def load_summaries(context: Context, keys: Iterable[EntryKey]) -> dict[Window, RangeSummary]:
    """Return the summaries stored in the entries of `keys`, by window; corrupt and degraded entries have none."""
    stored = entries.find_each(context.engine, (key for key in keys if len(key.window) > 1))
    summaries = ((entry.key.window, _read_summary(context, entry, sealed)) for entry, sealed in stored)
    return {window: summary for window, summary in summaries if summary is not None}


def load_summary_rows(context: Context, keys: Iterable[EntryKey]) -> list[Row]:
    """Return the rows stored in the entries of `keys`, degraded ones included; corrupt entries have none."""
    rows: list[Row] = []
    for _, sealed in entries.find_each(context.engine, keys):
        try:
            rows += unpack_document(sealed, context.settings.compression).window_table.to_rows()
        except (Corrupt, TooMuchData):
            continue  # treated as absent
    return rows


def find_due_summaries(
    windows: Sequence[Window],
    stored: Mapping[Window, RangeSummary],
    states: Mapping[date, PartitionState],
    schedule: RefetchSchedule,
    now: datetime,
) -> list[Window]:
    """Return the windows whose summary has to be fetched, given the days as they are stored now."""
    return [
        window
        for window in windows
        if window not in stored
        or stored[window].versions != version_sum(states, window)
        or schedule.is_summary_due(window, stored[window].fetched_at, now)
    ]


def version_sum(states: Mapping[date, PartitionState], window: Window) -> int:
    """Return the sum of the data versions of a window's days."""
    return sum(states[day].data_version for day in window.days() if day in states)


def _read_summary(context: Context, entry: Entry, sealed: bytes) -> RangeSummary | None:
    if entry.degraded:
        return None
    try:
        summary = unpack_document(sealed, context.settings.compression).summary
    except (Corrupt, TooMuchData):
        return None  # treated as absent, so it is fetched again
    if summary is None:
        return None
    return RangeSummary(summary.table.to_rows(), summary.fetched_at, summary.versions, summary.missing)


def _to_summary(summary: RangeSummary | None) -> Summary | None:
    if summary is None:
        return None
    table = ColumnTable.from_rows(in_order(summary.rows))
    return Summary(table, summary.fetched_at, summary.versions, summary.missing)


def _query_fields(query: EntryQuery) -> dict[str, Any]:
    """Return what an entry says about its key, window and account."""
    return {
        "account_id": query.key.account_id,
        "date_range": query.key.date_range,
        "report": name_report(query.key.report),
        "since": query.entry_key.window.since,
        "until": query.entry_key.window.until,
        "time_zone": query.account.data_zone,
        "currency": query.account.currency,
        "query": QueryFields(
            hash=query.entry_key.spec_hash,
            level=query.spec.level,
            fields=query.spec.fields + query.spec.breakdowns,
            attribution=query.spec.attribution,
            attribution_windows=query.spec.attribution_windows,
        ),
    }


def _describe_missing(
    states: Mapping[date, PartitionState], summary: RangeSummary | None, difference: str | None
) -> str | None:
    """Return what is missing from the days and the summary of a window, each thing once."""
    texts = [*(state.missing for state in states.values()), summary.missing if summary else None, difference]
    missing = join_unique(text for text in texts if text)
    short = sorted(day for day, state in states.items() if state.is_short)
    return name_short_days(missing, short) if missing else None
