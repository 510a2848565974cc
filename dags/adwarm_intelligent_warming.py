"""### Warm reports just before they are opened

Every 15 minutes: plans the reports that are likely to be opened before the next run, fetches them in batches within the
shared limits, settles and scores the accounts whose day has just ended (reason `day_closed`), and marks earlier warms
as used or wasted. A backfilled run plans in shadow mode: it saves its plan and makes no call.

An event of the asset `adwarm_data_arrived` starts a run between: it warms what has arrived and is likely to be opened.

#### Inputs
A connection of type `adwarm_meta`, and the asset `adwarm_forecast` (`adwarm_access_patterns`); before a forecast is
trained, only ended days are completed. Arrived data: the asset, `adwarm notify-data`, `POST /v1/data-arrived`.
#### Outputs
The assets `adwarm_entries`, `adwarm_scores`, and `adwarm_day_complete` when the last account of a day is scored.
#### Knobs
`ADWARM_PLANNING__*`: the budget, the least probability, `ARRIVAL_ASSET`; the form's mode.
#### Failure modes
A throttled account is parked, and its batch deferred. A dead token fails its batch with the reason. What the budget
cuts is planned again by a later run. The run fails only when every report failed.
"""

from typing import Any

from airflow.sdk import Param, dag, task

from adwarm_airflow.assets import DATA_ARRIVED, ENTRIES, FORECAST
from adwarm_airflow.declarations import (
    Tag,
    connection_param,
    cron_or_arrival_schedule,
    dag_kwargs,
    score_arguments,
    timestamp_param,
    warm_arguments,
    warming_deadline,
)
from adwarm_airflow.operators import WarmBatchOperator
from adwarm_airflow.page_links import FatigueLink, RunPlanLink, with_link


@dag(
    dag_id="adwarm_intelligent_warming",
    dag_display_name="adwarm: intelligent warming",
    schedule=cron_or_arrival_schedule("*/15 * * * *"),
    params={
        "mode": Param(
            "live",
            type="string",
            enum=["live", "shadow"],
            title="Mode",
            description="shadow: save the plan, make no call.",
        ),
        "decision_time": timestamp_param("Decide as of this time; empty: now. For replays of the past."),
        "connection": connection_param(),
    },
    **dag_kwargs(__doc__, Tag.WARMING),
    **warming_deadline(),
)
def adwarm_intelligent_warming() -> None:
    """Plan, warm, score, close the run."""

    @task(inlets=[FORECAST, DATA_ARRIVED])
    def plan(**context: Any) -> list[int]:
        """Save the plan, and return the numbers of its batches."""
        from adwarm_airflow.tasks import warming

        return warming.plan(context)

    @task(multiple_outputs=False, **score_arguments())
    def score_closed_days(**context: Any) -> dict[str, Any]:
        """Score the accounts whose day this run has settled."""
        from adwarm_airflow.tasks import warming

        return warming.score_closed_days(context)

    @task(multiple_outputs=False, trigger_rule="none_failed")
    def close_run(**context: Any) -> dict[str, Any]:
        """Finish the job, mark the outcomes of earlier warms, and read some keys back."""
        from adwarm_airflow.tasks import warming

        return warming.close_run(context)

    batches = with_link(plan(), RunPlanLink())
    arguments = {"task_id": "warm", "inlets": [FORECAST], "outlets": [ENTRIES], **warm_arguments()}
    warm = WarmBatchOperator.partial(**arguments).expand(batch=batches)
    batches >> warm >> with_link(score_closed_days(), FatigueLink()) >> close_run()


intelligent_warming = adwarm_intelligent_warming()

if __name__ == "__main__":
    intelligent_warming.test()
