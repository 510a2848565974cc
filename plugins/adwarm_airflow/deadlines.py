"""An alert when warming is not done by the morning (`ADWARM_WARM_BY`).

Each scheduled run of a warming DAG that is due in the eight hours before that time, and not in the last half hour, must
be finished by it. The last half hour is left out because such a run warms what is opened later. When a run is late or
has failed, the alert is raised unless a later run of the DAG has finished its warming: then the reports are warm.

Scheduler, DAG processor and triggerer import this module, so it must be importable there: PYTHONPATH holds `plugins/`
and `include/`, or the wheel is installed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert

from adwarm.foundation.local_time import local_day, zone

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

EARLIEST = timedelta(hours=8)
LATEST = timedelta(minutes=30)
KIND = "WarmingLate"
log = logging.getLogger(__name__)


def find_deadline(run_after: datetime, warm_by: time, zone_name: str) -> datetime | None:
    """Return by when a run must be finished, UTC; None for a run that does not warm for the morning.

    Args:
        warm_by: local time of the morning. One that a change of the clocks skips counts as the time after it.
    """
    day = local_day(run_after, zone_name)
    for number in (0, 1):
        local = datetime.combine(day + timedelta(days=number), warm_by, zone(zone_name))
        deadline = local.astimezone(UTC)
        if deadline >= run_after:
            return deadline if LATEST <= deadline - run_after <= EARLIEST else None
    return None


@dataclass
class WarmByDeadline(BaseDeadlineReference):
    """The next `warm_by` after a scheduled run was due, for runs of the night.

    The fields are part of the serialized DAG, so that the scheduler needs no setting of adwarm.
    """

    warm_by: str = "07:30"
    zone: str = "UTC"
    required_kwargs = frozenset({"dag_id", "run_id"})

    __hash__ = BaseDeadlineReference.__hash__

    def serialize_reference(self) -> dict[str, Any]:
        """Return the fields with the name of the class."""
        return {"reference_type": self.reference_name, "warm_by": self.warm_by, "zone": self.zone}

    @classmethod
    def deserialize_reference(cls, reference_data: dict[str, Any]) -> WarmByDeadline:
        """Return the reference of a serialized DAG."""
        return cls(reference_data["warm_by"], reference_data["zone"])

    def _evaluate_with(self, *, session: Session, dag_id: str, run_id: str) -> datetime | None:
        """Return the deadline of a run; None for backfills, manual runs and runs of the day.

        There is none either where Airflow has not this model, which it does not promise.
        """
        from sqlalchemy import select

        try:
            from airflow.models import DagRun
        except ImportError as error:
            log.warning("runs have no deadline, because their table cannot be read: %s", error)
            return None
        query = select(DagRun.run_after, DagRun.run_type).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        row = session.execute(query).one_or_none()
        if row is None or row.run_type != "scheduled":
            return None
        return find_deadline(row.run_after, time.fromisoformat(self.warm_by), self.zone)


def warm_by_alert(warm_by: time, zone_name: str) -> DeadlineAlert:
    """Return the deadline of a warming DAG."""
    return DeadlineAlert(
        reference=WarmByDeadline(warm_by.isoformat("minutes"), zone_name),
        interval=timedelta(0),
        callback=AsyncCallback("adwarm_airflow.deadlines.raise_warming_late"),
        name="adwarm: warm by the morning",
    )


async def raise_warming_late(context: Mapping[str, Any]) -> str:
    """Raise the alert about a run that missed its deadline, and return what was done. Runs in the triggerer."""
    return await asyncio.to_thread(_raise_warming_late, dict(context))


def _raise_warming_late(context: Mapping[str, Any]) -> str:
    """Raise the alert, and send it through the channels that need no task of Airflow.

    The triggerer serves connections to its event loop only, so notifiers are left to `adwarm_maintenance`.
    """
    from adwarm.recovery.alert_delivery import flush_notices
    from adwarm.runtime import Runtime
    from adwarm.store import jobs
    from adwarm.store.error_events import ErrorEvent

    run, runtime = context["dag_run"], Runtime()
    dag_id, run_id = str(run["dag_id"]), str(run["dag_run_id"])
    due, deadline = _moment(run["run_after"]), _moment(context["deadline"]["deadline_time"])
    later = jobs.find_completed(runtime.engine, dag_id, due)
    if later is not None:
        return f"{run_id} missed its deadline, but {later.run_id} has warmed what was due"
    message = (
        f"warming was not done by {deadline:%Y-%m-%d %H:%M} UTC: the run {run_id} of {dag_id} is {run['state']}, and "
        "no later run has finished"
    )
    now = runtime.clock.now()
    runtime.alerts.raise_once(ErrorEvent(now, dag_id, KIND, message, subject=run_id))
    flush_notices()
    return message


def _moment(value: object) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
