"""Skips a task."""

import logging
from typing import NoReturn

from airflow.sdk.exceptions import AirflowSkipException

log = logging.getLogger(__name__)


def skip_task(reason: str) -> NoReturn:
    """Log why the task has nothing to do, and skip it. Airflow's own line about that is in a folded part of the log.

    Raises:
        AirflowSkipException: always.
    """
    log.info("skipped: %s", reason)
    raise AirflowSkipException(reason)
