"""Recovery: one pipeline that records, retries, heals, falls back, isolates, alerts, and only then raises."""

from adwarm.recovery.alerts import Alert, AlertSink, LogSink
from adwarm.recovery.call import Call, Failure
from adwarm.recovery.fallback import Fallback
from adwarm.recovery.healing import CooldownLedger, Healer
from adwarm.recovery.isolation import IsolationStateStore
from adwarm.recovery.journal import ErrorEvent, ErrorJournal
from adwarm.recovery.pipeline import Outcome, RecoveryOptions, RecoveryPipeline, RunOptions

__all__ = [
    "Alert",
    "AlertSink",
    "Call",
    "CooldownLedger",
    "ErrorEvent",
    "ErrorJournal",
    "Failure",
    "Fallback",
    "Healer",
    "IsolationStateStore",
    "LogSink",
    "Outcome",
    "RecoveryOptions",
    "RecoveryPipeline",
    "RunOptions",
]
