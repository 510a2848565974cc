"""What the actions work with."""

from dataclasses import dataclass

from adwarm.backpressure import RequestQueue, SqlAdmission
from adwarm.foundation.clock import Clock
from adwarm.recovery import IsolationTracker
from adwarm.store import Context


@dataclass(frozen=True, slots=True)
class ActionServices:
    """The objects of the process that acts.

    Attributes:
        context: database, objects and settings.
        clock: the time of the actions.
        queue: the request queue.
        admission: the shared budget.
        isolation: what is isolated.
        owner: names this process in leases.
    """

    context: Context
    clock: Clock
    queue: RequestQueue
    admission: SqlAdmission
    isolation: IsolationTracker
    owner: str
