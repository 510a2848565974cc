"""Operators for anybody's DAG. Importing them loads no frame library; the core is opened when a task runs."""

from adwarm_airflow.operators.admitted import AdmittedOperator
from adwarm_airflow.operators.compress import CompressEntriesOperator
from adwarm_airflow.operators.drain_requests import DrainRequestsOperator
from adwarm_airflow.operators.fatigue import ScoreFatigueOperator
from adwarm_airflow.operators.prefetch import PrefetchInsightsOperator
from adwarm_airflow.operators.recovering import RecoveringOperator
from adwarm_airflow.operators.warm_batch import WarmBatchOperator

__all__ = [
    "AdmittedOperator",
    "CompressEntriesOperator",
    "DrainRequestsOperator",
    "PrefetchInsightsOperator",
    "RecoveringOperator",
    "ScoreFatigueOperator",
    "WarmBatchOperator",
]
