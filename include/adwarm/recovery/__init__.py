"""Recovery: one pipeline that records, retries, heals, falls back, isolates, alerts, and only then raises."""

from adwarm.recovery.alerts import StoredAlerts
from adwarm.recovery.call import Call, ErrorEvent, Failure
from adwarm.recovery.fallback import Fallback
from adwarm.recovery.healing import Healer
from adwarm.recovery.isolation import IsolationTracker
from adwarm.recovery.pipeline import RecoveryPipeline, RunOptions

__all__ = [
    "Call",
    "ErrorEvent",
    "Failure",
    "Fallback",
    "Healer",
    "IsolationTracker",
    "RecoveryPipeline",
    "RunOptions",
    "StoredAlerts",
]
