"""### Complete and score one day

One run per day: says what it will take (log and XCom `estimate` of the first task), completes the accounts' missing
days of the aligned 30-day block that holds the day, settles them, and scores ad fatigue as of the day. Accounts whose
day is still open are left to a later run. Days older than 28 days are final: running such a day again makes no call. At
the end of a scheduled run final months are brought together.

**Backfill** any range of days from the UI (Trigger, Backfill) or with `airflow backfill create`.
"""

from airflow.sdk import Param, dag, task

from adwarm_airflow.declarations import (
    Tag,
    accounts_param,
    connection_param,
    cron_schedule,
    dag_kwargs,
    day_param,
    timestamp_param,
)
from adwarm_airflow.operators import WarmBatchOperator


@dag(
    dag_id="adwarm_daily_insights",
    dag_display_name="adwarm: daily insights",
    schedule=cron_schedule("0 0 * * *"),
    params={
        "day": day_param("The day to complete; empty: the day the run is about."),
        "accounts": accounts_param("Account ids, one a line; empty: every known account."),
        "frequency": Param(
            False,
            type="boolean",
            title="Frequency",
            description="In a backfill: fetch each day's own week too, for the audience part of its score. One request "
            "more for each account and day.",
        ),
        "decision_time": timestamp_param("Act as of this moment; empty: now. For replays of the past."),
        "connection": connection_param(),
    },
    **dag_kwargs(__doc__, Tag.BACKFILLABLE),
)
def adwarm_daily_insights() -> None:
    """Plan, fetch, score, account."""

    @task
    def plan_day(**context) -> list:
        """Find what the day still lacks and return batches."""
        from adwarm_airflow.tasks import daily

        return daily.plan_day(context)

    @task(trigger_rule="all_done_min_one_success")
    def score_day(**context) -> dict:
        """Score every account whose day is complete."""
        from adwarm_airflow.tasks import warming

        return warming.score_closed_days(context)

    @task(trigger_rule="none_failed")
    def account(**context) -> dict:
        """Close the job and read some keys back."""
        from adwarm_airflow.tasks import warming

        return warming.close_run(context)

    @task(trigger_rule="none_failed")
    def compact_store(**context) -> dict:
        """Bring final months together and delete what nothing points at."""
        from adwarm_airflow.tasks import daily

        return daily.compact_store(context)

    batches = plan_day()
    warm = WarmBatchOperator.partial(task_id="warm", conn_id="{{ params.connection }}").expand(batch=batches)
    batches >> warm >> score_day() >> account() >> compact_store()


dag = adwarm_daily_insights()

if __name__ == "__main__":
    dag.test()
