"""Drains the request queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from adwarm_airflow.page_links import FlowLink

if TYPE_CHECKING:
    from airflow.sdk import Context


class DrainRequestsOperator(BaseOperator):
    """Processes queued requests, the most urgent class first, until nothing is ready or the time is up.

    Requests that are parked or fail temporarily stay in the queue for a later run, so the task never holds its worker
    slot to wait, and needs no retry. It is skipped when nothing is ready, and fails when no request was completed
    because the access token is dead or the version of the API has ended. Returns counts by final status, small enough
    for an XCom.

    Args:
        batch_size: requests per batch.
        max_seconds: seconds after which no batch is started.
        conn_id: a connection of type `adwarm_meta` or `facebook_social`.
    """

    operator_extra_links = (FlowLink(),)
    template_fields: Sequence[str] = ("batch_size", "max_seconds", "conn_id")

    def __init__(
        self,
        *,
        batch_size: int | str = 10,
        max_seconds: float | str = 240.0,
        conn_id: str = "facebook_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.batch_size = batch_size
        self.max_seconds = max_seconds
        self.conn_id = conn_id

    def execute(self, context: Context) -> dict[str, int]:
        """Drain the queue, and log the errors.

        Raises:
            BadRequest: the connection or a number is not valid.
            TokenDead, VersionEnded: no request was completed, and no call of the connection can succeed.
            AirflowSkipException: no request was ready.
        """
        from adwarm.foundation.errors import BadRequest, TokenDead, VersionEnded
        from adwarm.prefetch.batch_result import with_message
        from adwarm_airflow.assets import ENTRIES, announce_if
        from adwarm_airflow.task_context import open_runtime
        from adwarm_airflow.tasks.skipping import skip_task

        size, seconds = int(self.batch_size), float(self.max_seconds)
        if size < 1 or not seconds > 0:
            raise BadRequest(f"batch_size {size} must be at least 1, and max_seconds {seconds} above 0")
        result = open_runtime(conn_id=self.conn_id).queue_worker(size).drain(seconds)
        if not any(result.to_dict().values()):
            skip_task(str(result))
        self.log.info("%s", result)
        ended = [error for error in result.failures if isinstance(error, TokenDead | VersionEnded)]
        if ended and not result.completed:
            raise with_message(
                ended[0], "no request was completed; the first reasons: " + " | ".join(result.errors[:3])
            )
        if ENTRIES in self.outlets:
            announce_if(context, ENTRIES, result.to_dict(), is_written=bool(result.completed))
        return result.to_dict()
