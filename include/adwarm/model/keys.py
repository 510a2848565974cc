"""Queries and entry keys, and the only function that resolves report keys to entry keys."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from adwarm.model.accounts import Account
from adwarm.model.windows import resolve_window
from adwarm_client.date_ranges import Window
from adwarm_client.keys import ReportKey

_NEXT = "@next"
MAX_NEXT_NAME = 40
"""Most characters of a report's name in the database."""
DEFAULT_FIELDS = (
    "account_id",
    "campaign_id",
    "adset_id",
    "ad_id",
    "ad_name",
    "impressions",
    "reach",
    "frequency",
    "clicks",
    "inline_link_clicks",
    "ctr",
    "cpm",
    "cpc",
    "spend",
    "actions",
    "cost_per_action_type",
)


def name_next(report: str) -> str:
    """Return the internal name of the query that a report is switched to; no external name can contain its mark."""
    return f"{report}{_NEXT}"


def name_report(name: str) -> str:
    """Return the report of a name, whether it is that of the current query or of the next one."""
    return name.removesuffix(_NEXT)


@dataclass(frozen=True, slots=True)
class QuerySpec:
    """The query of a report. Its hash is part of every partition, entry and lease key."""

    level: str = "ad"
    fields: tuple[str, ...] = DEFAULT_FIELDS
    attribution_windows: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """Twelve hex digits, different for every query."""
        text = json.dumps([self.level, sorted(self.fields), sorted(self.attribution_windows)])
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True, order=True)
class EntryKey:
    """The key of an entry. Its days are absolute, so that no entry serves yesterday's window after midnight."""

    account_id: str
    window: Window
    spec_hash: str


def resolve_key(key: ReportKey, account: Account, spec: QuerySpec, at: datetime) -> EntryKey:
    """Return the entry key of `key` at `at`. Warmer and reader both resolve keys with this function only."""
    return EntryKey(key.account_id, resolve_window(key.date_range, account.data_zone, at), spec.hash)


def matches_key(entry: EntryKey, key: ReportKey, account: Account, spec: QuerySpec, fetched_at: datetime) -> bool:
    """Whether `key` resolved to `entry` at `fetched_at`, whatever date range the entry was stored for."""
    return resolve_key(key, account, spec, fetched_at) == entry
