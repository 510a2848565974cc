"""Builds the answer for a key out of range rows and daily partitions, and seals it as an entry."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import orjson

from adwarm.compression import pack
from adwarm.model import Account, EntryKey, FreshnessRules, ReportKey, Window, expires_at, is_settled
from adwarm.prefetch.dividing import Gap
from adwarm.prefetch.keeping import each_once, missing_text
from adwarm.prefetch.rows import unpack_rows
from adwarm.settings import CompressionSettings
from adwarm.sources.protocol import Row
from adwarm.store.entries import Entry
from adwarm.store.objects import ObjectStore
from adwarm.store.partitions import PartitionState


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an answer comes from.

    Attributes:
        gaps: what its range rows lack; what its days lack is kept with them.
    """

    source: str
    api_version: str
    fetched_at: datetime
    gaps: tuple[Gap, ...] = ()


def daily_rows(objects: ObjectStore, states: dict[date, PartitionState], window: Window) -> list[Row]:
    """Return the daily rows of a window from its partitions, oldest day first."""
    wanted: dict[str, list[date]] = {}
    for day in window.days():
        if day in states and states[day].rows:
            wanted.setdefault(states[day].object_hash, []).append(day)
    rows = [row for digest, days in wanted.items() for row in unpack_rows(objects.get(digest), days)]
    return sorted(rows, key=lambda row: (str(row["date_start"]), str(row.get("ad_id", ""))))


def build_entry(
    key: ReportKey,
    entry_key: EntryKey,
    account: Account,
    range_rows: Sequence[Row] | None,
    objects: ObjectStore,
    states: dict[date, PartitionState],
    origin: Provenance,
    rules: FreshnessRules,
    compression: CompressionSettings,
) -> tuple[Entry, bytes]:
    """Return the entry of a key and its sealed bytes.

    `range_rows` is None for a window of one day, whose daily rows are its summary.
    """
    window = entry_key.window
    daily = daily_rows(objects, states, window)
    days = [states.get(day) for day in window.days()]
    known = [state for state in days if state is not None]
    missing = _missing(known, origin.gaps, window)
    complete = len(known) == len(days) and all(state.complete for state in known) and missing is None
    settled = complete and all(is_settled(day, account.data_zone, origin.fetched_at, rules) for day in window.days())
    version = max((state.data_version for state in known), default=1)
    body = orjson.dumps({
        "account_id": key.account_id,
        "date_range": key.date_range,
        "report": key.report,
        "since": window.since,
        "until": window.until,
        "time_zone": account.data_zone,
        "currency": account.currency,
        "fetched_at": origin.fetched_at,
        "complete": complete,
        "missing": missing,
        "settled": settled,
        "data_version": version,
        "source": origin.source,
        "api_version": origin.api_version,
        "rows": daily if range_rows is None else list(range_rows),
        "daily": [] if range_rows is None else daily,
    })
    packed = pack(body, compression)
    entry = Entry(
        key=entry_key,
        date_range=key.date_range,
        report=key.report,
        codec=packed.codec,
        raw_bytes=packed.raw_bytes,
        stored_bytes=packed.stored_bytes,
        fetched_at=origin.fetched_at,
        expires_at=expires_at(window, account.data_zone, origin.fetched_at, rules),
        source=origin.source,
        complete=complete,
        settled=settled,
        degraded_reason=missing,
        data_version=version,
        api_version=origin.api_version,
    )
    return entry, packed.blob


def _missing(states: Sequence[PartitionState], gaps: Sequence[Gap], window: Window) -> str | None:
    """Return what cannot be read of a window, by its days and by its summary, each thing once."""
    texts = [*(state.missing for state in states), missing_text(gaps, window)]
    return each_once(text for text in texts if text)
