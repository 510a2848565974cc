"""One budget for every worker: slots, rate, parking, breakers and priorities, shared through the database.

Callers use `acquire_grant`; `SqlAdmission` keeps the budget; `RequestQueue` keeps requests that wait for a worker.
"""

from adwarm.backpressure.admission import (
    FLEET,
    Admission,
    CallOutcome,
    CallOutcomeKind,
    CallRequest,
    Decision,
    Grant,
    GrantedCall,
    Rejected,
    Wait,
    acquire_grant,
)
from adwarm.backpressure.machine_load import MachineGuard
from adwarm.backpressure.process_admission import ProcessAdmission
from adwarm.backpressure.request_queue import ClaimedRequest, RequestQueue, Ticket
from adwarm.backpressure.shared_budget import SharedBudget
from adwarm.backpressure.sql_admission import SqlAdmission
from adwarm.backpressure.status import AdmissionStatus, ScopeStatus
from adwarm.backpressure.token_limits import TokenLimits

__all__ = [
    "FLEET",
    "Admission",
    "AdmissionStatus",
    "CallOutcome",
    "CallOutcomeKind",
    "CallRequest",
    "ClaimedRequest",
    "Decision",
    "Grant",
    "GrantedCall",
    "MachineGuard",
    "ProcessAdmission",
    "Rejected",
    "RequestQueue",
    "ScopeStatus",
    "SharedBudget",
    "SqlAdmission",
    "Ticket",
    "TokenLimits",
    "Wait",
    "acquire_grant",
]
