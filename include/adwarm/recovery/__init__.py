"""Recovery: one pipeline that records, retries, heals, falls back, isolates, alerts, and only then raises."""

from adwarm.recovery.alerts import Alerts, StoredAlerts
from adwarm.recovery.call import Call, ErrorEvent, ErrorJournal, Failure
from adwarm.recovery.fallback import Fallback
from adwarm.recovery.healing import CooldownLedger, Healer
from adwarm.recovery.isolation import Gates, IsolationTracker
from adwarm.recovery.pipeline import Outcome, RecoveryOptions, RecoveryPipeline, RunOptions

__all__ = [
    "Alerts",
    "Call",
    "CooldownLedger",
    "ErrorEvent",
    "ErrorJournal",
    "Failure",
    "Fallback",
    "Gates",
    "Healer",
    "IsolationTracker",
    "Outcome",
    "RecoveryOptions",
    "RecoveryPipeline",
    "RunOptions",
    "StoredAlerts",
]
