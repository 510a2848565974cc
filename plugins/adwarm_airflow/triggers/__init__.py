"""Triggers: what wakes a DAG, or a task that gave its worker slot back."""

from adwarm_airflow.triggers.requests import PendingRequestsTrigger

__all__ = ["PendingRequestsTrigger"]
