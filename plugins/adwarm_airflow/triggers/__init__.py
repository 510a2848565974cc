"""Triggers: what wakes a DAG, or a task that gave its worker slot back."""

from adwarm_airflow.triggers.capacity import CapacityTrigger
from adwarm_airflow.triggers.requests import PendingRequestsTrigger

__all__ = ["CapacityTrigger", "PendingRequestsTrigger"]
