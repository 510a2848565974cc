"""### Discover the ad accounts, delete old opens

Every 15 minutes the task `discover_accounts` checks which connections are due: each once a day, and at once when it is
new or its token has changed. It asks those which ad accounts they can read, and stores their zone, currency and status.
The other DAGs then know every account, also without an access log. What was set by `adwarm accounts set` stays.

Skipped while no connection is defined or none is due; the task's log says why. A connection that cannot be read fails
the task once a day, and the accounts of the others are stored.

The task `prune_opens` deletes days of the open log of `adwarm serve` that are older than `ADWARM_SERVING__LOG_DAYS`.
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
        "connection": connection_param(),
    },
    **dag_kwargs(__doc__, Tag.MAINTENANCE),
)
def adwarm_maintenance() -> None:
    """Discover accounts, and apply the retention of the open log."""

    @task
    def discover_accounts(**context: Any) -> dict[str, Any]:
        """List the accounts of each connection that is due, and store them."""
        from adwarm_airflow.tasks import maintenance

        return maintenance.discover_accounts(context)

    @task
    def prune_opens(**context: Any) -> dict[str, int]:
        """Delete days of the open log that are older than `ADWARM_SERVING__LOG_DAYS`."""
        from adwarm_airflow.tasks import maintenance

        return maintenance.prune_opens(context)

    discover_accounts()
    prune_opens()


maintenance = adwarm_maintenance()

if __name__ == "__main__":
    maintenance.test()
