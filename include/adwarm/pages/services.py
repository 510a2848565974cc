"""What the tabs read and act with."""

from dataclasses import dataclass

from adwarm.actions.services import ActionServices
from adwarm.backpressure import RequestQueue
from adwarm.foundation.clock import Clock
from adwarm.planning.key_facts import KeyExplainer
from adwarm.recovery import IsolationTracker, StoredAlerts
from adwarm.serving.read_chain import ReadChain
from adwarm.serving.services import AdmissionState
from adwarm.store import Context
from adwarm.store.error_events import ErrorLog


@dataclass(frozen=True, slots=True)
class PageServices:
    """The objects of the process that shows the page.

    Attributes:
        context: database, objects and settings.
        clock: the time that the page shows.
        admission: reads the shared budget.
        queue: the request queue.
        chain: reads reports.
        isolation: what is isolated.
        alerts: raised alerts.
        errors: the error history.
        actions: carries out actions.
        explainer: explains why keys were or were not warm.
        noun: what an account of the source is called.
    """

    context: Context
    clock: Clock
    admission: AdmissionState
    queue: RequestQueue
    chain: ReadChain
    isolation: IsolationTracker
    alerts: StoredAlerts
    errors: ErrorLog
    actions: ActionServices
    explainer: KeyExplainer
    noun: str = "account"
