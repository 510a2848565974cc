"""Report keys, and the only function that resolves them to entry keys."""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime

from adwarm.foundation.errors import BadRequest
from adwarm.model.account import Account
from adwarm.model.windows import Window, resolve_window, validate_date_range

ACCOUNT_ID_PATTERN = r"(act_)?([0-9]{1,20})"
"""What every surface accepts as an account id, without the spaces around it."""
_ACCOUNT = re.compile(ACCOUNT_ID_PATTERN)
_REPORT = re.compile(r"[a-z][a-z0-9_]{0,39}")
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


def normalize_account_id(text: str) -> str:
    """Return the canonical account id, `act_` and digits.

    Raises:
        BadRequest: `text` is not a valid account id.
    """
    match = _ACCOUNT.fullmatch(text.strip())
    if not match:
        raise BadRequest(f"account id {text[:60]!r} is not valid; write act_ and up to 20 digits, such as act_1234")
    return f"act_{match[2]}"


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
class ReportKey:
    """What a dashboard opens: an account, a date range and a report.

    Attributes:
        account_id: `act_` and digits.
        date_range: a preset such as `last_7d`, or `YYYY-MM-DD..YYYY-MM-DD`.
        report: name of the query in the settings.
    """

    account_id: str
    date_range: str
    report: str = "default"

    @classmethod
    def parse(cls, account: str, date_range: str, report: str = "default") -> "ReportKey":
        """Return the key of external input.

        Raises:
            BadRequest: a part is not valid; the message says which one and what to write.
        """
        if not _REPORT.fullmatch(report):
            raise BadRequest(f"report {report[:60]!r} is not a valid name; use lower-case letters, digits and _")
        return cls(normalize_account_id(account), validate_date_range(date_range.strip()), report)

    def __str__(self) -> str:
        suffix = "" if self.report == "default" else f" [{self.report}]"
        return f"{self.account_id} {self.date_range}{suffix}"


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
