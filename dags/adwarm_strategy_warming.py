"""### Keep chosen reports ready

Every 15 minutes: warms the reports of the strategies that are due (`adwarm strategy list`), each with its own schedule,
hourly budget, batch size, delay and parallel batches, and scores the warmed accounts. What is fresh at a due time is
warmed once it expires, and what the budget cuts in the next hours. When there is nothing to do, every task is skipped.

From the trigger form or the REST API: warms the accounts you name, in the date ranges, pace and budget of the form; the
strategies you name, each in its own; or every enabled strategy when you name neither. *First day* and *Last day* add a
date range of your own for the accounts. *Dry run* saves the plan and makes no call.

#### Inputs
A connection of type `adwarm_meta`, and strategies or the form.
#### Outputs
The assets `adwarm_entries` and `adwarm_scores`, and `adwarm_day_complete` for a day that this run completes.
#### Knobs
`adwarm strategy set --file`, the form.
#### Failure modes
A throttled account is parked, and its batch deferred. What a strategy's budget cuts is warmed in the next hours.
"""

from typing import Any

from airflow.sdk import Param, dag, task

from adwarm_airflow.assets import ENTRIES
from adwarm_airflow.declarations import (
    Tag,
    accounts_param,
    connection_param,
    cron_schedule,
    dag_kwargs,
    date_ranges_param,
    day_param,
    priority_param,
    score_arguments,
    timestamp_param,
    warm_arguments,
    warming_deadline,
)
from adwarm_airflow.operators import WarmBatchOperator
from adwarm_airflow.page_links import FatigueLink, RunPlanLink, with_link


@dag(
    dag_id="adwarm_strategy_warming",
    dag_display_name="adwarm: strategy warming",
    schedule=cron_schedule("*/15 * * * *"),
    params={
        "accounts": accounts_param("Account ids, one per line, warmed as the rest of the form says."),
        "strategies": Param(
            None,
            type=["null", "array"],
            items={"type": "string"},
            title="Strategies",
            description="Names, one per line, each at its own pace; no names and no accounts: all enabled ones. An "
            "unknown name fails the task plan, whose log says which names there are.",
        ),
        "date_ranges": date_ranges_param(["yesterday", "last_7d", "last_30d"]),
        "first_day": day_param("With the last day: one more date range for the accounts; both or none.", "First day"),
        "last_day": day_param("Included; not before the first day.", "Last day"),
        "priority": priority_param(),
        "batch_size": Param(
            5, type="integer", minimum=1, maximum=1000, title="Batch size", description="Reports between two pauses."
        ),
        "delay_seconds": Param(
            5, type="number", minimum=0, maximum=30, title="Delay", description="Seconds between two batches."
        ),
        "max_calls": Param(
            100,
            type="integer",
            minimum=1,
            maximum=100_000,
            title="Budget",
            description="Maximum number of upstream calls.",
        ),
        "dry_run": Param(False, type="boolean", title="Dry run", description="Save the plan, make no call."),
        "decision_time": timestamp_param("Act as of this time; empty: now. For replays of the past."),
        "connection": connection_param(),
    },
    **dag_kwargs(__doc__, Tag.WARMING, max_active_runs=4),
    **warming_deadline(),
)
def adwarm_strategy_warming() -> None:
    """Plan, warm, score, close the run."""

    @task
    def plan(**context: Any) -> list[dict[str, Any]]:
        """Select strategies, save the plan, and return the arguments of each batch; skip when nothing is due."""
        from adwarm_airflow.tasks import warming

        return warming.plan_strategies(context)

    @task(multiple_outputs=False, **score_arguments())
    def score(**context: Any) -> dict[str, Any]:
        """Score each warmed account as of its newest complete day."""
        from adwarm_airflow.tasks import warming

        return warming.score_warmed_accounts(context)

    @task(multiple_outputs=False, trigger_rule="none_failed_min_one_success")
    def close_run(**context: Any) -> dict[str, Any]:
        """Finish the job, mark the outcomes of earlier warms, and read some keys back."""
        from adwarm_airflow.tasks import warming

        return warming.close_run(context)

    batches = with_link(plan(), RunPlanLink())
    arguments = {"task_id": "warm", "outlets": [ENTRIES], **warm_arguments()}
    warm = WarmBatchOperator.partial(**arguments).expand_kwargs(batches)
    warm >> with_link(score(), FatigueLink())
    [batches, warm] >> close_run()


strategy_warming = adwarm_strategy_warming()

if __name__ == "__main__":
    strategy_warming.test()
