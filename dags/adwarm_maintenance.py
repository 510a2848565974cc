"""### Discover the ad accounts, keep the store small

Every 15 minutes `discover_accounts` checks which connections are due: each once a day, and at once when it is new or
its token has changed. It asks those which ad accounts they can read, and stores their zone, currency and status. The
other DAGs then know every account, also without an access log. What was set by `adwarm accounts set` stays.

Skipped while no connection is defined or none is due; the task's log says why. A connection that cannot be read fails
the task once a day, and the accounts of the others are stored.

### Evict entries

Deletes entries whose date range means other days by now, once nobody has read them for
`ADWARM_CACHE__KEEP_DAYS`; and while all entries exceed `ADWARM_CACHE__MAX_BYTES`, those that the forecast expects to be
opened least. `adwarm cache purge --over-budget --dry-run` shows what the next run would delete.

### Recompress entries

In quiet hours (at any hour while no access patterns are stored) stored entries are compressed again with a stronger
level: those for which the expected reads times the bytes saved pay for the CPU time, at most 20 CPU seconds a run.

### Apply retention

Deletes statistics of compression after a year, errors after 30 days, the daily counts of tokens after 7 days, and
requests that ended more than 7 days ago. Days of the open log of `adwarm serve` go after `ADWARM_SERVING__LOG_DAYS`.
"""

from typing import Any

from airflow.sdk import Param, dag, task

from adwarm_airflow.declarations import Tag, connection_param, cron_schedule, dag_kwargs


@dag(
    dag_id="adwarm_maintenance",
    dag_display_name="adwarm: maintenance",
    schedule=cron_schedule("*/15 * * * *"),
    params={
        "discover_now": Param(
            False,
            type="boolean",
            title="Discover now",
            description="List the accounts of every connection even if that was done less than a day ago.",
        ),
        "recompress_now": Param(
            False,
            type="boolean",
            title="Recompress now",
            description="Recompress entries also while readers are many.",
        ),
        "connection": connection_param(),
    },
    **dag_kwargs(__doc__, Tag.MAINTENANCE),
)
def adwarm_maintenance() -> None:
    """Discover accounts, recompress entries, delete what nobody will read and old rows."""

    @task
    def discover_accounts(**context: Any) -> dict[str, Any]:
        """List the accounts of each connection that is due, and store them."""
        from adwarm_airflow.tasks import maintenance

        return maintenance.discover_accounts(context)

    @task
    def evict_entries() -> dict[str, Any]:
        """Delete entries of past windows, and over the size budget the least likely ones."""
        from adwarm_airflow.tasks import maintenance

        return maintenance.evict_entries()

    @task
    def recompress_entries(**context: Any) -> dict[str, Any]:
        """Compress entries with a stronger level where their reads pay for it."""
        from adwarm_airflow.tasks import maintenance

        return maintenance.recompress_entries(context)

    @task
    def apply_retention(**context: Any) -> dict[str, int]:
        """Delete rows and files past their retention."""
        from adwarm_airflow.tasks import maintenance

        return maintenance.apply_retention(context)

    discover_accounts()
    evict_entries()
    recompress_entries()
    apply_retention()


maintenance = adwarm_maintenance()

if __name__ == "__main__":
    maintenance.test()
