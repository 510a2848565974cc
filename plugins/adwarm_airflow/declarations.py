"""Declarations that the DAG files share: defaults, tags, schedules and typed params. Imports only the SDK."""

import os
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from airflow.sdk import Asset, AssetOrTimeSchedule, AssetWatcher, CronDataIntervalTimetable, Param
from airflow.sdk.definitions.asset import BaseAsset

from adwarm.model.warm import LONGEST_RUN
from adwarm_airflow.assets import DATA_ARRIVED, DAY_COMPLETE, ENTRIES, GROUP, REQUESTS_NAME, REQUESTS_URI, SCORES
from adwarm_airflow.params import check_conf
from adwarm_airflow.retry_policy import AdwarmRetryPolicy
from adwarm_airflow.triggers import PendingRequestsTrigger
from adwarm_client.date_ranges import PRESETS

OWNER = "adwarm"
START_DATE = datetime(1970, 1, 1, tzinfo=UTC)
"""Before any day of data: a run before it would have no task, and would end as a success that did nothing."""
BATCH_LABEL = "{{ task.batch_label(dag_run) }}"
"""Names the mapped tasks of a `WarmBatchOperator` in the grid by their accounts."""
WARM_DOC = (
    "Fetches one batch of the plan within the shared limits. Waits that are longer than 30 seconds defer the task. A "
    "retry fetches only what is missing; a clear also tries denied accounts again."
)
SPLIT_DOC = "Reads one split of the log, and keeps the result until `publish_splits` publishes all of them."
DRAIN_DOC = "Processes queued requests, the most urgent class first, until none is ready or the time is up."
REVIEW_DOC = "Replays the last weeks with each kind of forecast, and writes the review page."


class Tag(StrEnum):
    """Tags of the package's DAGs."""

    ADWARM = "adwarm"
    LEARNING = "learning"
    WARMING = "warming"
    BACKFILLABLE = "backfillable"
    MAINTENANCE = "maintenance"


def cron_schedule(cron: str) -> CronDataIntervalTimetable:
    """Return the timetable of `cron` in UTC, whose runs carry a data interval."""
    return CronDataIntervalTimetable(cron, timezone="UTC")


def cron_or_request_schedule(cron: str) -> AssetOrTimeSchedule:
    """Return the timetable of `cron`, with an asset that starts a run within seconds of an enqueued request."""
    watcher = AssetWatcher(name="adwarm_pending_requests", trigger=PendingRequestsTrigger())
    requests = Asset(name=REQUESTS_NAME, uri=REQUESTS_URI, group=GROUP, watchers=[watcher])
    return AssetOrTimeSchedule(timetable=cron_schedule(cron), assets=[requests])


def cron_or_arrival_schedule(cron: str) -> AssetOrTimeSchedule:
    """Return the timetable of `cron`, with the asset of arrived data and the user's own, which start a run between.

    Reading all settings would slow down every parse, so they are read only when one of their sources may hold the
    user's asset.

    Raises:
        AdwarmError: a setting is invalid; Airflow shows it as an import error of the DAG.
    """
    assets: BaseAsset = DATA_ARRIVED
    if os.environ.keys() & {"ADWARM_PLANNING__ARRIVAL_ASSET", "ADWARM_CONFIG"}:
        from adwarm.settings import load_settings

        uri = load_settings().planning.arrival_asset
        assets = DATA_ARRIVED | Asset(uri) if uri else DATA_ARRIVED
    return AssetOrTimeSchedule(timetable=cron_schedule(cron), assets=assets)


def warm_arguments() -> dict[str, Any]:
    """Return arguments of the task `warm` of each warming DAG; a queue only if `ADWARM_WARMING_QUEUE` is set.

    The task that drains the request queue has no queue of its own: it must not wait behind batches.
    Settings are read as in `cron_or_arrival_schedule`.

    Raises:
        AdwarmError: a setting is invalid; Airflow shows it as an import error of the DAG.
    """
    arguments = {"conn_id": "{{ params.connection }}", "map_index_template": BATCH_LABEL, "doc_md": WARM_DOC}
    if not os.environ.keys() & {"ADWARM_WARMING_QUEUE", "ADWARM_CONFIG"}:
        return arguments
    from adwarm.settings import load_settings

    queue = load_settings().warming_queue
    return {**arguments, "queue": queue} if queue else arguments


def score_arguments() -> dict[str, Any]:
    """Return arguments of the task of each warming DAG that scores."""
    return {"trigger_rule": "all_done_min_one_success", "inlets": [ENTRIES], "outlets": [SCORES, DAY_COMPLETE]}


def warming_deadline() -> dict[str, Any]:
    """Return the argument `deadline` of a warming DAG when `ADWARM_WARM_BY` is set, else nothing.

    Settings are read as in `cron_or_arrival_schedule`.

    Raises:
        AdwarmError: a setting is invalid; Airflow shows it as an import error of the DAG.
    """
    if not os.environ.keys() & {"ADWARM_WARM_BY", "ADWARM_CONFIG"}:
        return {}
    from adwarm.settings import load_settings

    settings = load_settings()
    if settings.warm_by is None:
        return {}
    from adwarm_airflow.deadlines import warm_by_alert

    return {"deadline": warm_by_alert(settings.warm_by, settings.default_zone)}


def dag_kwargs(doc: str, *tags: Tag, max_active_runs: int = 1, timeout: timedelta = LONGEST_RUN) -> dict[str, Any]:
    """Return the keyword arguments that every DAG of the package passes to `@dag`."""
    return {
        "start_date": START_DATE,
        "catchup": False,
        "max_active_runs": max_active_runs,
        "dagrun_timeout": timeout,
        "default_args": {
            "owner": OWNER,
            "retries": 2,
            "retry_delay": timedelta(seconds=30),
            "retry_policy": AdwarmRetryPolicy(),
            "pre_execute": check_conf,
            # The tasks log their results as sentences; the values are in XCom.
            "show_return_value_in_logs": False,
        },
        "tags": [Tag.ADWARM, *tags],
        "doc_md": doc,
    }


def timestamp_param(description: str, title: str = "Decision time") -> Param:
    """Return an optional param of type timestamp."""
    return Param(None, type=["null", "string"], format="date-time", title=title, description=description)


def day_param(description: str, title: str = "Day") -> Param:
    """Return an optional param of type day."""
    return Param(None, type=["null", "string"], format="date", title=title, description=description)


def accounts_param(description: str) -> Param:
    """Return an optional param for account ids."""
    return Param(
        None,
        type=["null", "array"],
        items={"type": "string"},
        title="Accounts",
        description=f"{description} An id is what its platform calls it, such as act_1234. A line that is not an "
        "account id fails the run before it does anything.",
    )


def date_ranges_param(default: list[str]) -> Param:
    """Return the param for date ranges: the form offers the presets, the REST API also takes two days.

    The form sends null when every choice is removed, so null is valid.
    """
    return Param(
        default,
        type=["null", "array"],
        examples=list(PRESETS),
        values_display={name: name.replace("_", " ") for name in PRESETS},
        items={"type": "string"},
        title="Date ranges",
        description="Choose one or more, or none when you give a first and a last day. The REST API also takes "
        "texts such as 2026-11-01..2026-11-30.",
    )


def priority_param() -> Param:
    """Return the param for the priority; its type makes the form refuse an emptied choice."""
    return Param(
        "low",
        type="string",
        enum=["critical", "high", "normal", "low"],
        title="Priority",
        description="Class of the calls when capacity is short.",
    )


def connection_param() -> Param:
    """Return the param for the connection of the upstream."""
    return Param(
        "facebook_default",
        type="string",
        minLength=1,
        title="Connection",
        description="An adwarm_meta or facebook_social connection, or several separated by commas.",
    )
