"""Values that several packages share: keys, windows, freshness, accounts, and the rows of the store.

Everything here is immutable and does no I/O. Warmer and reader resolve keys through `resolve_key` only.
"""

from adwarm.model.accounts import (
    ALL_ACCOUNTS,
    NO_CURRENCY,
    WEEKDAYS,
    AccessToken,
    Account,
    AccountRecord,
    TokenScope,
)
from adwarm.model.fatigue_score import AlarmLevel, Component, FatigueScore, FatigueStatus
from adwarm.model.figures import (
    CompressionCounts,
    Latencies,
    Scope,
    ScopeKind,
    UsageSample,
)
from adwarm.model.keys import (
    EntryKey,
    FreshnessRules,
    QuerySpec,
    expires_at,
    is_settled,
    matches_key,
    resolve_key,
    resolve_window,
)
from adwarm.model.policy import FIRST_OPEN_QUIET, DeployedPolicy, Mode, PolicyReview, Snapshot, WarmReason
from adwarm.model.strategy import StoredStrategy, Strategy, StrategyState
from adwarm.model.warm import (
    MANUAL_CAUSE,
    CallCause,
    CauseKind,
    Job,
    PlannedWarm,
    Warm,
    WarmResult,
    WarmStatus,
    WarmUse,
    find_cause,
)
from adwarm_client.column_table import ColumnTable, Row
from adwarm_client.date_ranges import PRESETS, Window
from adwarm_client.keys import (
    Actor,
    Priority,
    ReportKey,
    check_account_id,
    find_account_id,
    normalize_account_id,
    spell_account_id,
)

__all__ = [
    "ALL_ACCOUNTS",
    "FIRST_OPEN_QUIET",
    "MANUAL_CAUSE",
    "NO_CURRENCY",
    "PRESETS",
    "WEEKDAYS",
    "AccessToken",
    "Account",
    "AccountRecord",
    "Actor",
    "AlarmLevel",
    "CallCause",
    "CauseKind",
    "ColumnTable",
    "Component",
    "CompressionCounts",
    "DeployedPolicy",
    "EntryKey",
    "FatigueScore",
    "FatigueStatus",
    "FreshnessRules",
    "Job",
    "Latencies",
    "Mode",
    "PlannedWarm",
    "PolicyReview",
    "Priority",
    "QuerySpec",
    "ReportKey",
    "Row",
    "Scope",
    "ScopeKind",
    "Snapshot",
    "StoredStrategy",
    "Strategy",
    "StrategyState",
    "TokenScope",
    "UsageSample",
    "Warm",
    "WarmReason",
    "WarmResult",
    "WarmStatus",
    "WarmUse",
    "Window",
    "check_account_id",
    "expires_at",
    "find_account_id",
    "find_cause",
    "is_settled",
    "matches_key",
    "normalize_account_id",
    "resolve_key",
    "resolve_window",
    "spell_account_id",
]
