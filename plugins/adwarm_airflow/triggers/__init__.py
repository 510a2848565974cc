"""Triggers that start a DAG run, or resume a deferred task."""

from adwarm_airflow.triggers.capacity import CapacityTrigger
from adwarm_airflow.triggers.requests import PendingRequestsTrigger

__all__ = ["CapacityTrigger", "PendingRequestsTrigger"]
