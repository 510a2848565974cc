"""### Learn when each report is opened

Every hour: reads what the access log has gained, replaces the aggregates of the hours concerned, and once a day trains
the forecast anew. A run that is given a window (by the form or by a backfill) reads that window whole; a backfill does
not train. A run that has much to read shares it among mapped tasks, and publishes when all of them are done.

**Needs** `ADWARM_ACCESS_LOG_URL`: a file, folder, glob or fsspec URL.
"""

from airflow.sdk import Param, dag, task

from adwarm_airflow.declarations import Tag, cron_schedule, dag_kwargs, timestamp_param


@dag(
    dag_id="adwarm_access_patterns",
    dag_display_name="adwarm: learn access patterns",
    schedule=cron_schedule("0 * * * *"),
    params={
        "window_start": timestamp_param(
            "Read the log whole from this moment; empty: what the log has gained.", "Read from"
        ),
        "window_end": timestamp_param("Read the log whole up to this moment.", "Read until"),
        "train_now": Param(
            False,
            type="boolean",
            title="Train now",
            description="Train the forecast even if it is less than a day old.",
        ),
        "decision_time": timestamp_param("Act as of this moment; empty: now. For replays of the past."),
    },
    **dag_kwargs(__doc__, Tag.LEARNING, Tag.BACKFILLABLE),
)
def adwarm_access_patterns() -> None:
    """Read, then train."""

    @task
    def read_log(**context) -> list:
        """Read the log into aggregates, or share the work when it is much."""
        from adwarm_airflow.tasks import learning

        return learning.read_log(context)

    @task
    def read_share(share: dict, **context) -> dict:
        """Read one share of the log; publish nothing."""
        from adwarm_airflow.tasks import learning

        return learning.read_split(share, context)

    @task
    def adopt_shares(found: list, **context) -> dict:
        """Publish all shares at once; skipped when the log was read in one piece."""
        from adwarm_airflow.tasks import learning

        return learning.commit_splits(found, context)

    @task(trigger_rule="none_failed")
    def train_forecast(**context) -> dict:
        """Train the forecast once a day."""
        from adwarm_airflow.tasks import learning

        return learning.train_forecast(context)

    shares = read_log()
    trained = train_forecast()
    adopt_shares(read_share.expand(share=shares)) >> trained
    shares >> trained


dag = adwarm_access_patterns()

if __name__ == "__main__":
    dag.test()
