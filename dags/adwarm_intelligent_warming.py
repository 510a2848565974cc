"""### Warm what is about to be opened

Every 15 minutes: plans the reports that are likely to be opened before the next run, fetches them in batches under the
shared budget, closes the accounts whose day has just ended (reason `day_closed`: settle, then score), and accounts for
what earlier warms were used for. A backfilled run plans in shadow: it writes its plan down and makes no call.

**Needs** a trained forecast (`adwarm_access_patterns`) and a connection of type `facebook_social`.
"""

from airflow.sdk import Param, dag, task

from adwarm_airflow.declarations import Tag, connection_param, cron_schedule, dag_kwargs, timestamp_param
from adwarm_airflow.operators import WarmBatchOperator


@dag(
    dag_id="adwarm_intelligent_warming",
    dag_display_name="adwarm: intelligent warming",
    schedule=cron_schedule("*/15 * * * *"),
    params={
        "mode": Param(
            "live", enum=["live", "shadow"], title="Mode", description="shadow: plan and write down, make no call."
        ),
        "decision_time": timestamp_param("Decide as of this moment; empty: now. For replays of the past."),
        "connection": connection_param(),
    },
    **dag_kwargs(__doc__, Tag.WARMING),
)
def adwarm_intelligent_warming() -> None:
    """Plan, warm, score, account."""

    @task
    def plan(**context) -> list:
        """Write the plan down and return its batches."""
        from adwarm_airflow.tasks import warming

        return warming.plan(context)

    @task(trigger_rule="all_done_min_one_success")
    def score_closed_days(**context) -> dict:
        """Score the accounts whose day this run has closed."""
        from adwarm_airflow.tasks import warming

        return warming.score_closed_days(context)

    @task(trigger_rule="none_failed")
    def account(**context) -> dict:
        """Close the job, judge earlier warms, read some keys back."""
        from adwarm_airflow.tasks import warming

        return warming.close_run(context)

    batches = plan()
    warm = WarmBatchOperator.partial(task_id="warm", conn_id="{{ params.connection }}").expand(batch=batches)
    batches >> warm >> score_closed_days() >> account()


dag = adwarm_intelligent_warming()

if __name__ == "__main__":
    dag.test()
