"""One budget for every worker: slots, rate, parking, breakers and priorities, shared through the database.

`admitted` is the way in; `SqlAdmission` is the budget behind it; `RequestQueue` keeps what waits for it.
"""

from adwarm.backpressure.admission import (
    FLEET,
    Admission,
    Decision,
    Grant,
    Granted,
    Outcome,
    OutcomeKind,
    Refused,
    Wait,
)
from adwarm.backpressure.block_admission import BlockAdmission
from adwarm.backpressure.gate import Passage, admitted
from adwarm.backpressure.local_admission import LocalAdmission
from adwarm.backpressure.memory_pressure import MemoryAwareAdmission
from adwarm.backpressure.request_queue import Claim, RequestQueue, Ticket
from adwarm.backpressure.shared_budget import Budget
from adwarm.backpressure.sql_admission import SqlAdmission
from adwarm.backpressure.status import AdmissionStatus, BreakerStatus, ScopeStatus

__all__ = [
    "FLEET",
    "Admission",
    "AdmissionStatus",
    "BlockAdmission",
    "BreakerStatus",
    "Budget",
    "Claim",
    "Decision",
    "Grant",
    "Granted",
    "LocalAdmission",
    "MemoryAwareAdmission",
    "Outcome",
    "OutcomeKind",
    "Passage",
    "Refused",
    "RequestQueue",
    "ScopeStatus",
    "SqlAdmission",
    "Ticket",
    "Wait",
    "admitted",
]
