"""Waits for "the day is complete and scored", and lists its most fatigued ads.

A run starts for each day as soon as every active account is complete and scored for it; its partition key is the day.
"""

from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, task

from adwarm_airflow.assets import DAY_COMPLETE


@dag(schedule=PartitionedAssetTimetable(assets=DAY_COMPLETE), catchup=False, tags=["example"])
def fatigued_ads() -> None:
    """List the ads whose score is critical."""

    @task
    def list_critical(**context: Any) -> list[str]:
        """Return account and name of each ad whose fatigue is critical as of the day of the run."""
        from datetime import date

        from adwarm.store import accounts, scores
        from adwarm_airflow.task_context import open_runtime

        day, engine = date.fromisoformat(context["partition_key"]), open_runtime().engine
        listed = [item.score for name in accounts.get_many(engine) for item in scores.list_day(engine, name, day)]
        critical = [item for item in listed if item.status == "critical"]
        return [f"{item.account_id} {item.ad_name}" for item in critical]

    list_critical()


fatigued_ads()
