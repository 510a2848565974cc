"""### Learn when each report is opened

Every hour: reads what the access log has gained, replaces the aggregates of the hours concerned, and once a day trains
the forecast anew. A run that is given a window (by the form or by a backfill) reads that window whole; a backfill does
not train.

**Needs** `ADWARM_ACCESS_LOG_URL`: a file, folder, glob or fsspec URL.
"""

from airflow.sdk import Param, dag, task

from adwarm_airflow.declarations import Tag, dag_arguments, every, moment


@dag(
    dag_id="adwarm_access_patterns",
    dag_display_name="adwarm: learn access patterns",
    schedule=every("0 * * * *"),
    params={
        "window_start": moment("Read the log whole from this moment; empty: what the log has gained."),
        "window_end": moment("Read the log whole up to this moment."),
        "train_now": Param(False, type="boolean", description="Train the forecast even if it is less than a day old."),
        "decision_time": moment("Act as of this moment; empty: now. For replays of the past."),
    },
    **dag_arguments(__doc__, Tag.LEARNING, Tag.BACKFILLABLE),
)
def adwarm_access_patterns() -> None:
    """Read, then train."""

    @task
    def read_log(**context) -> dict:
        """Read the log into aggregates."""
        from adwarm_airflow.tasks import learning

        return learning.read_log(context)

    @task
    def train_forecast(**context) -> dict:
        """Train the forecast once a day."""
        from adwarm_airflow.tasks import learning

        return learning.train_forecast(context)

    read_log() >> train_forecast()


dag = adwarm_access_patterns()

if __name__ == "__main__":
    dag.test()
