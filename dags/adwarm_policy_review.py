"""### Review the policies

Every Monday: replays the last weeks with the live kind of forecast and the others, and writes a page and JSON on hit
ratios, calibration and drift (the button *Review page* of the task `review`, or `adwarm review --page`). When the live
kind's probabilities are badly calibrated, the population profile goes live at once. When another kind is significantly
better, the run waits for your approval under *Required Actions*; no response in time is a rejection. The task
`send_digest` sends a digest of the week.

#### Inputs
The asset `adwarm_aggregates`, with at least the training and scored weeks of opens.
#### Outputs
A review page and JSON, a row in `policy_review`, and after an approval another live forecast (`adwarm_forecast`).
#### Knobs
The form, and `ADWARM_ALERTS__WEEKLY_DIGEST`.
#### Failure modes
Too short a log ends with the result `too_little_log`: the task's log says what a review needs. The live forecast stays.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, task

from adwarm_airflow.assets import AGGREGATES, FORECAST
from adwarm_airflow.declarations import REVIEW_DOC, Tag, cron_schedule, dag_kwargs, timestamp_param
from adwarm_airflow.operators.approval import PromotionApprovalOperator, ReviewPoliciesOperator


@dag(
    dag_id="adwarm_policy_review",
    dag_display_name="adwarm: policy review",
    schedule=cron_schedule("0 3 * * 1"),
    params={
        "training_weeks": Param(
            None,
            type=["null", "integer"],
            minimum=2,
            maximum=52,
            title="Training weeks",
            description="Weeks before the scored ones; empty: 8.",
        ),
        "scored_weeks": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=12,
            title="Scored weeks",
            description="Last weeks of the log to replay; empty: 2.",
        ),
        "policies": Param(
            None,
            type=["null", "array"],
            items={"type": "string"},
            title="Policies",
            description="Policies to replay beside the live kind, one per line; empty: every kind of forecast. An "
            "unknown name fails the task review, whose log says which names there are.",
        ),
        "decision_time": timestamp_param("Review as of this time; empty: now."),
    },
    **dag_kwargs(__doc__, Tag.LEARNING, timeout=timedelta(days=14)),
)
def adwarm_policy_review() -> None:
    """Review, wait for approval, promote, record the decision."""

    @task.short_circuit
    def is_proposed(**context: Any) -> bool:
        """Continue only when there is something to approve."""
        from adwarm_airflow.tasks import review

        return review.is_proposed(context)

    @task(multiple_outputs=False, outlets=[FORECAST])
    def promote(**context: Any) -> dict[str, Any]:
        """Promote the approved forecast."""
        from adwarm_airflow.tasks import review

        return review.promote(context)

    @task(multiple_outputs=False, trigger_rule="none_failed")
    def conclude(**context: Any) -> dict[str, Any]:
        """Record the decision."""
        from adwarm_airflow.tasks import review

        return review.conclude(context)

    @task
    def send_digest(**context: Any) -> bool:
        """Send the digest of the week through the channels of alerts; skipped when it is switched off."""
        from adwarm_airflow.tasks import review

        return review.send_digest(context)

    send_digest()
    body = "{{ ti.xcom_pull(task_ids='review')['body'] }}"
    proposed = ReviewPoliciesOperator(task_id="review", inlets=[AGGREGATES], doc_md=REVIEW_DOC) >> is_proposed()
    approve = PromotionApprovalOperator(task_id="approve", subject="Promote a better forecast?", body=body)
    proposed >> approve >> promote() >> conclude()


policy_review = adwarm_policy_review()

if __name__ == "__main__":
    policy_review.test()
