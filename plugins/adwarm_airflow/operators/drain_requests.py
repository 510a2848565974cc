"""Works off the request queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class DrainRequestsOperator(BaseOperator):
    """Carries out queued requests, the most urgent class first, until nothing is ready or its time is up.

    What is parked or fails in passing stays in the queue for a later run, so the task never holds its worker slot to
    wait, and needs no retry. It fails when nothing was completed because the access token is dead. Returns counts by
    ending, small enough for an XCom.

    Args:
        batch_size: requests taken at a time.
        max_seconds: no batch is begun after this long.
        conn_id: a connection of type `facebook_social`.
    """

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
        """Drain, and say in the log what could not be done.

        Raises:
            BadRequest: the connection or a number is not valid.
            TokenDead: no request was completed, and the access token is dead.
        """
        from adwarm.foundation.errors import BadRequest, TokenDead
        from adwarm.prefetch.batch_result import most_severe_error, with_message
        from adwarm_airflow.task_context import open_runtime

        del context
        size, seconds = int(self.batch_size), float(self.max_seconds)
        if size < 1 or not seconds > 0:
            raise BadRequest(f"batch_size {size} must be at least 1, and max_seconds {seconds} above 0")
        report = open_runtime(conn_id=self.conn_id).queue_worker(size).drain(seconds)
        for text in report.errors[:20]:
            self.log.warning("%s", text)
        self.log.info("requests: %s", report.to_dict())
        error = most_severe_error(report.failures)
        if isinstance(error, TokenDead) and not report.completed:
            raise with_message(error, "no request was completed; the first reasons: " + " | ".join(report.errors[:3]))
        return report.to_dict()
