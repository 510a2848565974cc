"""### Discover the ad accounts, keep the store healthy and small

Every task works by itself: one that fails does not stop the others. Each runs for at most
`ADWARM_MAINTENANCE__STEP_SECONDS` and goes on in the next run, every 15 minutes. `adwarm status` shows what each did
last, and `adwarm maintain` runs the same steps without Airflow.

### Discover accounts

`discover_accounts` lists the accounts of each connection that is due: once a day, and at once when the connection is
new or its token has changed. It stores their zone, currency and status, so that the other DAGs know every account
also without an access log. What was set by `adwarm accounts set` stays. It is skipped while no connection is due, and
its log says why. A connection that cannot be read fails the task once a day; the accounts of the others are stored.

### Repair

* `check_health` makes one cheap call to each connection or account whose isolation is over, at most
  `ADWARM_MAINTENANCE__PROBE_CALLS` a run.
* `repair_degraded` requests degraded answers again, at most `ADWARM_MAINTENANCE__REPAIR_REQUESTS` a run.
* `reconcile` compares `ADWARM_MAINTENANCE__RECONCILE_ACCOUNTS` accounts a day with the platform and alerts about
  differences.

### Keep the store small

* `compact` merges the final days of each account and month into one object, once a day.
* `recompress_entries` compresses entries more strongly where their reads pay for the CPU time. It runs in quiet hours,
  at most 20 CPU seconds a run, and at any hour while no access patterns are stored.
* `evict_entries` deletes entries whose date range means other days by now, once nobody has read them for
  `ADWARM_CACHE__KEEP_DAYS`. While all entries exceed `ADWARM_CACHE__MAX_BYTES`, it deletes those that are opened
  least.
* `collect_garbage` deletes objects and payloads that nothing has referred to for a day, once a day.
* `apply_retention` deletes rows and files that are older than `ADWARM_RETENTION__*` say, once an hour.
"""

from typing import Any

from airflow.sdk import Param, dag, task

from adwarm_airflow.declarations import Tag, connection_param, cron_schedule, dag_kwargs

STEPS = (
    "check_health",
    "scrub",
    "repair_degraded",
    "compact",
    "recompress_entries",
    "evict_entries",
    "collect_garbage",
    "apply_retention",
    "deliver_alerts",
    "reconcile",
)
"""The steps of `adwarm.maintenance.steps`; a test compares the two."""


@dag(
    dag_id="adwarm_maintenance",
    dag_display_name="adwarm: maintenance",
    schedule=cron_schedule("*/15 * * * *"),
    params={
        "steps": Param(
            [],
            type="array",
            items={"type": "string", "enum": list(STEPS)},
            examples=list(STEPS),
            title="Steps",
            description="The steps to run; empty: all of them. Accounts are discovered in any case.",
        ),
        "run_now": Param(
            False,
            type="boolean",
            title="Run now",
            description="Run the steps also when they are not due, and recompress also while readers are many.",
        ),
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
    """Discover accounts, and run each step of maintenance as a task of its own."""

    @task
    def discover_accounts(**context: Any) -> dict[str, Any]:
        """List the accounts of each connection that is due, and store them."""
        from adwarm_airflow.tasks import maintenance

        return maintenance.discover_accounts(context)

    @task
    def run_step(name: str, **context: Any) -> dict[str, Any]:
        """Run one step of maintenance."""
        from adwarm_airflow.tasks import maintenance

        return maintenance.run_step(context, name)

    discover_accounts()
    for name in STEPS:
        run_step.override(task_id=name)(name)


maintenance = adwarm_maintenance()

if __name__ == "__main__":
    maintenance.test()
