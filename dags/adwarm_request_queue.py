"""### Drain the request queue

Starts within seconds of an `adwarm warm --queue`, and every 5 minutes as a safety net: processes the queued requests
within the shared limits, the most urgent class first. Requests that are throttled or fail temporarily stay queued for a
later run; requests past their deadline expire. When no request is ready, the task is skipped.

#### Inputs
The asset `adwarm_requests`: its watcher looks at the queue, which `adwarm warm --queue`, the read API and healing fill.
#### Outputs
The asset `adwarm_entries`.
#### Knobs
`ADWARM_BACKPRESSURE__*`: the length of the queue, deadlines, shares by class; the form's batch size and time.
#### Failure modes
A request that fails stays queued until its deadline. The task fails only when none completed and the token is dead.
"""

from typing import Any

from airflow.sdk import Param, dag

from adwarm_airflow.assets import ENTRIES
from adwarm_airflow.declarations import DRAIN_DOC, Tag, connection_param, cron_or_request_schedule, dag_kwargs
from adwarm_airflow.operators import DrainRequestsOperator
from adwarm_airflow.retry_policy import DrainRetryPolicy


@dag(
    dag_id="adwarm_request_queue",
    dag_display_name="adwarm: request queue",
    schedule=cron_or_request_schedule("*/5 * * * *"),
    params={
        "batch_size": Param(
            10, type="integer", minimum=1, maximum=1000, title="Batch size", description="Requests per batch."
        ),
        "max_seconds": Param(
            240,
            type="number",
            minimum=1,
            maximum=3600,
            title="Time",
            description="Seconds after which no batch is started.",
        ),
        "connection": connection_param(),
    },
    **dag_kwargs(__doc__, Tag.WARMING),
)
def adwarm_request_queue() -> None:
    """Drain the queue in one task."""
    limits = {"batch_size": "{{ params.batch_size }}", "max_seconds": "{{ params.max_seconds }}"}
    own: dict[str, Any] = {"doc_md": DRAIN_DOC, "retry_policy": DrainRetryPolicy()}
    DrainRequestsOperator(task_id="drain", conn_id="{{ params.connection }}", outlets=[ENTRIES], **limits, **own)


request_queue = adwarm_request_queue()

if __name__ == "__main__":
    request_queue.test()
