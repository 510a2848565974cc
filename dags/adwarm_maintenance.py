"""### Discover the ad accounts, keep the store healthy and small

Every 15 minutes, in three tasks. Each works by itself, and so does each step of a task: one that fails does not stop
the others. A step runs for at most two minutes, and the next run goes on where it stopped. A
task names its steps in its log and in its result: what each did, or why it was skipped. `adwarm status` shows what each
did last; `adwarm maintain` runs the same steps without Airflow.

The task `discover_accounts` lists the accounts of each connection every six hours, and at once when the connection is
new or its token has changed. It stores zone, currency and status; what `adwarm accounts set` has set stays. A
connection that cannot be read fails the task each time; the accounts of the others are stored.

The task `monitor` runs the steps that take seconds:

* `check_health` makes one cheap call to each connection or account whose isolation is over.
* `deliver_alerts` sends alerts and notices of their end.
* `emit_metrics` reports the state to the statistics of Airflow.
* `sample_capacity` stores limits and quota of the scopes that accounts share, for the page.
* `watch_platform` reads once a day when tokens and API versions end, and alerts before they do.

The task `maintain_store` runs those that may take minutes, and starts none after ten minutes:

* `scrub` verifies what is stored, all of it in seven days. Damaged data is set aside.
* `repair_degraded` requests damaged and degraded answers again.
* `compact` merges the final days of each account and month into one object, once a day.
* `evict_entries` deletes entries that nobody will read.
* `collect_garbage` deletes objects that nothing has referred to for a day, once a day.
* `apply_retention` deletes rows and files that are older than `ADWARM_RETENTION__*` says, once an hour.
* `follow_alarms` counts how many alarms of fatigue were followed by a lower click-through rate, once a day.
* `read_creatives` reads what scored ads show, with pictures, for the tab Fatigue: of each ad once a day.
* `reconcile` compares `ADWARM_MAINTENANCE__RECONCILE_ACCOUNTS` accounts a day with the platform, and alerts.

#### Inputs
The store, and the connections of the form and of accounts.
#### Outputs
Accounts, healed and compacted data, alerts.
#### Knobs
`ADWARM_MAINTENANCE__*`, `ADWARM_RETENTION__*`, `ADWARM_ALERTS__*` and the form.
#### Failure modes
A step that fails fails its task after the other steps, and is tried again by the next run.
"""

from typing import Any

from airflow.sdk import Param, dag, task

from adwarm_airflow.declarations import Tag, connection_param, cron_schedule, dag_kwargs

MONITOR = ("check_health", "deliver_alerts", "emit_metrics", "sample_capacity", "watch_platform")
MAINTAIN_STORE = (
    "scrub",
    "repair_degraded",
    "compact",
    "evict_entries",
    "collect_garbage",
    "apply_retention",
    "follow_alarms",
    "read_creatives",
    "reconcile",
)
STEPS = (*MONITOR, *MAINTAIN_STORE)
"""The steps of `adwarm.maintenance.steps`; a test compares the two."""


@dag(
    dag_id="adwarm_maintenance",
    dag_display_name="adwarm: maintenance",
    schedule=cron_schedule("*/15 * * * *"),
    params={
        "steps": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "enum": list(STEPS)},
            examples=list(STEPS),
            title="Steps",
            description="The steps to run; empty: all of them. Accounts are discovered in any case.",
        ),
        "run_now": Param(
            False,
            type="boolean",
            title="Run now",
            description="Run the steps also when they are not due.",
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
    """Discover accounts, and run the steps of maintenance in two tasks."""

    @task(multiple_outputs=False)
    def discover_accounts(**context: Any) -> dict[str, Any]:
        """List the accounts of each connection that is due, and store them."""
        from adwarm_airflow.tasks import maintenance

        return maintenance.discover_accounts(context)

    @task(multiple_outputs=False)
    def run_steps(names: list[str], **context: Any) -> dict[str, Any]:
        """Run some steps of maintenance, one after the other."""
        from adwarm_airflow.tasks import maintenance

        return maintenance.run_steps(context, names)

    discover_accounts()
    run_steps.override(task_id="monitor")(list(MONITOR))
    run_steps.override(task_id="maintain_store")(list(MAINTAIN_STORE))


maintenance = adwarm_maintenance()

if __name__ == "__main__":
    maintenance.test()
