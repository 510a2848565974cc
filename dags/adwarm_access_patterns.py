"""### Learn when each report is opened

Every hour: reads the new part of the access log and replaces the aggregates of the hours in it. Once a day: stores the
access patterns of every account in SQL, and trains the forecast. A run with a window (from the trigger form or a
backfill) reads that whole window; a backfill neither stores patterns nor trains. A run with much to read splits the
work into mapped tasks, and publishes when all of them have finished.

#### Inputs
Opens: `ADWARM_ACCESS_LOG__URL`, a file, folder, glob or fsspec URL, or the open log that `adwarm serve` writes by
itself. With both, an open that both hold counts once (`ADWARM_ACCESS_LOG__OPENS_FROM`).
#### Outputs
The assets `adwarm_aggregates` and `adwarm_forecast`, and the access patterns in SQL.
#### Knobs
`ADWARM_ACCESS_LOG__*`, `ADWARM_FORECAST__*`, and the form.
#### Failure modes
Lines that cannot be parsed are set aside, and the log counts them. A log that cannot be read fails the run; the next
one goes on from the same place. The live forecast stays until a better one is trained.
"""

from typing import Any

from airflow.sdk import Param, dag, task

from adwarm_airflow.assets import ACCESS_LOG, AGGREGATES, FORECAST
from adwarm_airflow.declarations import SPLIT_DOC, Tag, cron_schedule, dag_kwargs, timestamp_param


@dag(
    dag_id="adwarm_access_patterns",
    dag_display_name="adwarm: learn access patterns",
    schedule=cron_schedule("0 * * * *"),
    params={
        "window_start": timestamp_param("Read the whole log from this time; empty: only the new part.", "Read from"),
        "window_end": timestamp_param("Read the whole log up to this time.", "Read until"),
        "train_now": Param(
            False,
            type="boolean",
            title="Train now",
            description="Train the forecast and store the access patterns, even if they are less than a day old.",
        ),
        "decision_time": timestamp_param("Act as of this time; empty: now. For replays of the past."),
    },
    **dag_kwargs(__doc__, Tag.LEARNING, Tag.BACKFILLABLE),
)
def adwarm_access_patterns() -> None:
    """Read the log, then store the patterns and train."""

    @task(inlets=[ACCESS_LOG], outlets=[AGGREGATES])
    def read_log(**context: Any) -> list[dict[str, Any]]:
        """Read the log into aggregates, or return splits for mapped tasks."""
        from adwarm_airflow.tasks import learning

        return learning.read_log(context)

    @task(multiple_outputs=False, map_index_template="{{ task.op_kwargs['split']['label'] }}", doc_md=SPLIT_DOC)
    def read_split(split: dict[str, Any], **context: Any) -> dict[str, Any]:
        """Read one split of the log; publish nothing."""
        from adwarm_airflow.tasks import learning

        return learning.read_split(split, context)

    @task(multiple_outputs=False, inlets=[ACCESS_LOG], outlets=[AGGREGATES])
    def publish_splits(splits: Any, **context: Any) -> dict[str, Any]:  # an XComArg while parsing, a list at run time
        """Publish all splits in one transaction; skipped when the log was not split."""
        from adwarm_airflow.tasks import learning

        return learning.commit_splits(splits, context)

    @task(multiple_outputs=False, trigger_rule="none_failed", inlets=[AGGREGATES], outlets=[FORECAST])
    def train_forecast(**context: Any) -> dict[str, Any]:
        """Train the forecast once a day."""
        from adwarm_airflow.tasks import learning

        return learning.train_forecast(context)

    @task(multiple_outputs=False, trigger_rule="none_failed", inlets=[AGGREGATES])
    def store_patterns(**context: Any) -> dict[str, Any]:
        """Store peak and quiet hours, the week's profile and popular ranges in SQL once a day."""
        from adwarm_airflow.tasks import learning

        return learning.store_patterns(context)

    splits = read_log()
    published = publish_splits(read_split.expand(split=splits))
    [splits, published] >> train_forecast()
    [splits, published] >> store_patterns()


access_patterns = adwarm_access_patterns()

if __name__ == "__main__":
    access_patterns.test()
