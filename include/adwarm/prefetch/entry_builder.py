"""Builds the answer for a key out of range rows and daily partitions, and seals it as an entry."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import orjson

from adwarm.compression import compress
from adwarm.model import Account, EntryKey, FreshnessRules, QuerySpec, ReportKey, Row, expires_at
from adwarm.prefetch.gap_filling import join_unique
from adwarm.prefetch.range_summaries import RangeSummary
from adwarm.settings import CompressionSettings
from adwarm.store.entries import Entry
from adwarm.store.objects import ObjectStore
from adwarm.store.partition_rows import daily_rows
from adwarm.store.partitions import PartitionState


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an answer comes from."""

    source: str
    api_version: str
    fetched_at: datetime


def build_entry(
    key: ReportKey,
    entry_key: EntryKey,
    spec: QuerySpec,
    account: Account,
    summary: RangeSummary | None,
    objects: ObjectStore,
    states: dict[date, PartitionState],
    provenance: Provenance,
    rules: FreshnessRules,
    compression: CompressionSettings,
) -> tuple[Entry, bytes]:
    """Return the entry of a key and its sealed bytes.

    `summary` is None for a window of one day, whose daily rows are its summary. An old window with days that were last
    read before they were final is not final itself, and is looked at again after a week.
    """
    window = entry_key.window
    states = {day: states[day] for day in window.days() if day in states}
    missing = _missing(states.values(), summary)
    complete = len(states) == len(window) and all(state.complete for state in states.values()) and missing is None
    settled = complete and all(state.settled for state in states.values())
    fresh_until = expires_at(window, account.data_zone, provenance.fetched_at, rules)
    if fresh_until is None and not settled:
        fresh_until = provenance.fetched_at + rules.settling
    facts: dict[str, Any] = {
        "fetched_at": provenance.fetched_at,
        "complete": complete,
        "settled": settled,
        "data_version": max((state.data_version for state in states.values()), default=1),
        "source": provenance.source,
        "api_version": provenance.api_version or max((state.api_version for state in states.values()), default=""),
    }
    body = {
        "account_id": key.account_id,
        "date_range": key.date_range,
        "report": key.report,
        "since": window.since,
        "until": window.until,
        "time_zone": account.data_zone,
        "currency": account.currency,
        "missing": missing,
        **facts,
        "query": {"hash": entry_key.spec_hash, "level": spec.level, "fields": spec.fields},
        "days_fetched_at": min((state.fetched_at for state in states.values()), default=None),
        **_row_fields(daily_rows(objects, states, window), summary),
    }
    packed = compress(orjson.dumps(body), compression)
    entry = Entry(
        key=entry_key,
        date_range=key.date_range,
        report=key.report,
        codec=packed.codec,
        raw_bytes=packed.raw_bytes,
        stored_bytes=packed.stored_bytes,
        expires_at=fresh_until,
        degraded_reason=missing,
        **facts,
    )
    return entry, packed.blob


def _row_fields(daily: list[Row], summary: RangeSummary | None) -> dict[str, Any]:
    """Return the rows of an answer: the summary's with the days beside them, or the days alone."""
    if summary is None:
        return {"summary": None, "rows": daily, "daily": []}
    return {"summary": summary.metadata(), "rows": summary.rows, "daily": daily}


def _missing(states: Iterable[PartitionState], summary: RangeSummary | None) -> str | None:
    """Return what cannot be read of a window, by its days and by its summary, each thing once."""
    texts = [*(state.missing for state in states), summary.missing if summary else None]
    return join_unique(text for text in texts if text)
