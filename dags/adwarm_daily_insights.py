"""### Complete and score one day

One run per day: estimates its requests (log and XCom `estimate` of the first task), fetches the accounts' missing
days of the aligned 30-day span that contains the day, settles those that are final, and scores ad fatigue as of the
day. A scheduled run also completes the day before. Accounts whose day has not ended are left to a later run. Days
older than 28 days are final: once such a day is stored, its rerun makes no call. `adwarm_maintenance` compacts final
months.

#### Inputs
A connection of type `adwarm_meta`. Only the day: no forecast is needed.
#### Outputs
Stored days, the assets `adwarm_entries` and `adwarm_scores`, and `adwarm_day_complete` with the day as its partition,
once every active account is complete and scored.
#### Knobs
The form, `ADWARM_FRESHNESS__*` and `ADWARM_FATIGUE__*`.
#### Failure modes
A throttled account is parked, and its batch deferred. An account that fails or is denied leaves the day incomplete; the
next run tries it again. The run fails only when every account-day failed. While no account is known every task is
skipped, and the first one says so.

**Backfill** any range of days from the UI (Trigger, Backfill) or with `airflow backfill create`. The backfill form
passes its parameters only when you also tick *Override parameters on existing runs*, even where no run exists yet;
without the tick every run covers every active account. Airflow refuses backfills on SQLite under concurrent access;
there use `adwarm backfill run`. The first task logs the number of accounts and what they take.
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
    day_param,
    score_arguments,
    timestamp_param,
    warm_arguments,
)
from adwarm_airflow.operators import WarmBatchOperator
from adwarm_airflow.page_links import FatigueLink, RunPlanLink, with_link


@dag(
    dag_id="adwarm_daily_insights",
    dag_display_name="adwarm: daily insights",
    schedule=cron_schedule("0 0 * * *"),
    params={
        "day": day_param("The day to complete; empty: the day of the run."),
        "accounts": accounts_param(
            "Account ids, one per line; empty: every active account. In a backfill also tick 'Override parameters on "
            "existing runs', else Airflow passes none of these parameters."
        ),
        "frequency": Param(
            False,
            type="boolean",
            title="Frequency",
            description="In a backfill: also fetch the week of each day, for the audience part of its score. One more "
            "request per account and day.",
        ),
        "decision_time": timestamp_param("Act as of this time; empty: now. For replays of the past."),
        "connection": connection_param(),
    },
    **dag_kwargs(__doc__, Tag.BACKFILLABLE),
)
def adwarm_daily_insights() -> None:
    """Plan, fetch, score, close the run."""

    @task
    def plan_day(**context: Any) -> list[int]:
        """Find the missing data of the day, and return the numbers of its batches."""
        from adwarm_airflow.tasks import daily

        return daily.plan_day(context)

    @task(multiple_outputs=False, **score_arguments())
    def score_day(**context: Any) -> dict[str, Any]:
        """Score the accounts whose day is complete."""
        from adwarm_airflow.tasks import warming

        return warming.score_closed_days(context)

    @task(multiple_outputs=False, trigger_rule="none_failed_min_one_success")
    def close_run(**context: Any) -> dict[str, Any]:
        """Finish the job, mark the outcomes of earlier warms, and read some keys back."""
        from adwarm_airflow.tasks import warming

        return warming.close_run(context)

    batches = with_link(plan_day(), RunPlanLink())
    arguments = {"task_id": "warm", "must_complete": True, "outlets": [ENTRIES], **warm_arguments()}
    warm = WarmBatchOperator.partial(**arguments).expand(batch=batches)
    batches >> warm >> (scores := with_link(score_day(), FatigueLink()))
    [batches, scores] >> close_run()


daily_insights = adwarm_daily_insights()

if __name__ == "__main__":
    daily_insights.test()
