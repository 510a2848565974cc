"""Keeps good data where new data has gaps: what could not be read this time is taken from what was read before."""

import re
from collections.abc import Iterable, Sequence
from datetime import date

import orjson
from sqlalchemy import Engine

from adwarm.compression import decompress
from adwarm.foundation.errors import Corrupt
from adwarm.model import EntryKey, Row, Window
from adwarm.prefetch.splitting import MissingData
from adwarm.settings import CompressionSettings
from adwarm.store import entries
from adwarm.store.partition_rows import row_key

_BETWEEN = re.compile(r"; (?=(?:campaign|adset|ad|field) \w+: )")


def fill_gaps(rows: Sequence[Row], missing: Sequence[MissingData], older: Iterable[Row], level: str) -> list[Row]:
    """Return `rows`, completed by older rows of objects, and older values of fields, that fell into gaps."""
    if not missing:
        return list(rows)
    found = {row_key(row, level): row for row in rows}
    for row in older:
        key = row_key(row, level)
        for gap in missing:
            if not _is_affected(row, gap):
                continue
            if gap.level != "field":
                found.setdefault(key, row)
            elif gap.id in row and gap.id not in found.get(key, row):
                found[key] = {**found[key], gap.id: row[gap.id]}
    return list(found.values())


def load_older_summaries(engine: Engine, keys: Iterable[EntryKey], compression: CompressionSettings) -> list[Row]:
    """Return the summary rows stored under `keys`; an entry that is damaged has none."""
    rows: list[Row] = []
    for key in keys:
        found = entries.find(engine, key)
        try:
            rows += orjson.loads(decompress(found[1], compression))["rows"] if found else []
        except Corrupt:
            continue  # as if it were not there
    return rows


def describe_missing(missing: Iterable[MissingData], window: Window) -> str | None:
    """Return what is missing in `window`, and why; None when nothing is."""
    return join_unique(str(gap) for gap in missing if any(_overlap(window, other) for other in gap.windows))


def join_unique(texts: Iterable[str]) -> str | None:
    """Return texts of gaps as one, each thing that is missing once, with the first of its reasons."""
    named: dict[str, str] = {}
    for part in (part for text in texts for part in _BETWEEN.split(text)):
        named.setdefault(part.partition(": ")[0], part)
    return "; ".join(named[name] for name in sorted(named)) or None


def _is_affected(row: Row, gap: MissingData) -> bool:
    since, until = date.fromisoformat(str(row["date_start"])), date.fromisoformat(str(row["date_stop"]))
    inside = any(window.since <= since and until <= window.until for window in gap.windows)
    return inside and (gap.level == "field" or str(row.get(f"{gap.level}_id")) == gap.id)


def _overlap(one: Window, other: Window) -> bool:
    return one.since <= other.until and other.since <= one.until
