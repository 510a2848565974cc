"""### Review the policies

Every Monday: replays the last weeks with the live kind of forecast and the others, and writes a report on hit ratios,
calibration and drift (a page and JSON, in the folder `reports` of `ADWARM_DATA_URL`; `adwarm status` names the newest).
When the live kind's probabilities promise what does not come, the population profile goes live at once. When another
kind is surely better, the run waits for your approval under *Required Actions*; no answer in time is a rejection.
"""

from datetime import timedelta

from airflow.sdk import Param, dag, task

from adwarm_airflow.declarations import Tag, cron_schedule, dag_kwargs, timestamp_param
from adwarm_airflow.operators.approval import PromotionApprovalOperator


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
            title="Weeks to learn from",
            description="Before the scored ones; empty: as set.",
        ),
        "scored_weeks": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=12,
            title="Weeks to replay",
            description="The last of the log; empty: as set.",
        ),
        "policies": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "minLength": 1},
            title="Policies",
            description="Replayed beside the live kind, one a line; empty: as set.",
        ),
        "decision_time": timestamp_param("Review as of this moment; empty: now."),
    },
    **dag_kwargs(__doc__, Tag.LEARNING, timeout=timedelta(days=14)),
)
def adwarm_policy_review() -> None:
    """Review, ask, promote, write the answer down."""

    @task
    def review(**context) -> dict:
        """Replay, judge, report; fall back if need be."""
        from adwarm_airflow.tasks import review

        return review.review(context)

    @task.short_circuit
    def is_proposed(**context) -> bool:
        """Go on only when there is something to approve."""
        from adwarm_airflow.tasks import review

        return review.is_proposed(context)

    @task
    def promote(**context) -> dict:
        """Make the approved forecast live."""
        from adwarm_airflow.tasks import review

        return review.promote(context)

    @task(trigger_rule="none_failed")
    def conclude(**context) -> dict:
        """Write down what was decided."""
        from adwarm_airflow.tasks import review

        return review.conclude(context)

    body = "{{ ti.xcom_pull(task_ids='review')['body'] }}"
    approve = PromotionApprovalOperator(task_id="approve", subject="Let a better forecast go live?", body=body)
    review() >> is_proposed() >> approve >> promote() >> conclude()


dag = adwarm_policy_review()

if __name__ == "__main__":
    dag.test()
