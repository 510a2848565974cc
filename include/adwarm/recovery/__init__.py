"""Recovery: one pipeline that records, retries, heals, falls back, isolates, alerts, and only then raises."""

from adwarm.foundation.redaction import redact
from adwarm.recovery.alerts import Alert, AlertSink, LogSink
from adwarm.recovery.fallback import Fallback
from adwarm.recovery.healing import CooldownLedger, Healer
from adwarm.recovery.isolation import IsolationStore
from adwarm.recovery.journal import ErrorEvent, ErrorJournal, MemoryJournal
from adwarm.recovery.pipeline import Answer, RecoveryPipeline

__all__ = [
    "Alert",
    "AlertSink",
    "Answer",
    "CooldownLedger",
    "ErrorEvent",
    "ErrorJournal",
    "Fallback",
    "Healer",
    "IsolationStore",
    "LogSink",
    "MemoryJournal",
    "RecoveryPipeline",
    "redact",
]
