"""### Work off the request queue

Woken within seconds of an `adwarm enqueue`, and every 5 minutes as a safety net: carries out the queued requests, the
most urgent class first, under the shared limits. What is throttled or fails in passing stays queued for a later run;
what is past its deadline is not done any more.
"""

from airflow.sdk import Param, dag

from adwarm_airflow.declarations import Tag, connection_param, cron_or_request_schedule, dag_kwargs
from adwarm_airflow.operators import DrainRequestsOperator


@dag(
    dag_id="adwarm_request_queue",
    dag_display_name="adwarm: request queue",
    schedule=cron_or_request_schedule("*/5 * * * *"),
    params={
        "batch_size": Param(
            10, type="integer", minimum=1, maximum=1000, title="Batch size", description="Requests taken at a time."
        ),
        "max_seconds": Param(
            240, type="number", minimum=1, maximum=3600, title="Time", description="No batch is begun after this long."
        ),
        "connection": connection_param(),
    },
    **dag_kwargs(__doc__, Tag.WARMING),
)
def adwarm_request_queue() -> None:
    """Drain."""
    sizes = {"batch_size": "{{ params.batch_size }}", "max_seconds": "{{ params.max_seconds }}"}
    DrainRequestsOperator(task_id="drain", conn_id="{{ params.connection }}", **sizes)


dag = adwarm_request_queue()

if __name__ == "__main__":
    dag.test()
