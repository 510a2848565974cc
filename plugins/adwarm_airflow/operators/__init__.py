"""Operators for any DAG. They import pandas and the package `adwarm` only when a task runs, so that parsing is fast."""

from adwarm_airflow.operators.admitted import AdmittedOperator
from adwarm_airflow.operators.compress import CompressEntriesOperator
from adwarm_airflow.operators.drain_requests import DrainRequestsOperator
from adwarm_airflow.operators.fatigue import ScoreFatigueOperator
from adwarm_airflow.operators.keys_warm import KeysWarmSensor
from adwarm_airflow.operators.prefetch import PrefetchInsightsOperator
from adwarm_airflow.operators.recovering import RecoveringOperator
from adwarm_airflow.operators.warm_batch import WarmBatchOperator

__all__ = [
    "AdmittedOperator",
    "CompressEntriesOperator",
    "DrainRequestsOperator",
    "KeysWarmSensor",
    "PrefetchInsightsOperator",
    "RecoveringOperator",
    "ScoreFatigueOperator",
    "WarmBatchOperator",
]
