"""The words of the house as values: keys, windows, freshness, accounts, events, priorities.

Everything here is immutable and does no I/O. Warmer and reader resolve keys through `resolve_key`, and only there.
"""

from adwarm.model.account import Account
from adwarm.model.capacity import Scope, ScopeKind, UsageSample
from adwarm.model.enums import Actor, Mode, Priority, WarmReason
from adwarm.model.freshness import FreshnessRules, expires_at, is_settled
from adwarm.model.keys import EntryKey, QuerySpec, ReportKey, matches_key, normalize_account_id, resolve_key
from adwarm.model.row import Row
from adwarm.model.windows import PRESETS, Window, resolve_window

__all__ = [
    "PRESETS",
    "Account",
    "Actor",
    "EntryKey",
    "FreshnessRules",
    "Mode",
    "Priority",
    "QuerySpec",
    "ReportKey",
    "Row",
    "Scope",
    "ScopeKind",
    "UsageSample",
    "WarmReason",
    "Window",
    "expires_at",
    "is_settled",
    "matches_key",
    "normalize_account_id",
    "resolve_key",
    "resolve_window",
]
