"""Carries out one batch of a plan that is stored in the warm table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adwarm_airflow.operators.prefetch import SHORT_WAIT_SECONDS, PrefetchInsightsOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from adwarm.prefetch import BatchReport


class WarmBatchOperator(PrefetchInsightsOperator):
    """Warms one batch of its own run's plan; map it over the batch numbers that a planning task returns.

    A retry goes on where the last attempt stopped, because each warm's outcome is a row.

    Args:
        batch: number of the batch.
        pause_seconds: pause between slices of `slice_size` keys.
        slice_size: keys between two pauses; 0 for no pause.
    """

    template_fields: Sequence[str] = ("batch", "pause_seconds", "slice_size", "conn_id")

    def __init__(
        self, *, batch: int, pause_seconds: float | str = 0.0, slice_size: int | str = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.batch = batch
        self.pause_seconds = pause_seconds
        self.slice_size = slice_size

    def prefetch(self, context: Context) -> BatchReport:
        """Warm what is left of the batch."""
        from datetime import timedelta

        from adwarm.prefetch.warming import warm_batch
        from adwarm_airflow.house import open_runtime
        from adwarm_airflow.runs import run_time

        run = run_time(context, timedelta(hours=1))
        return warm_batch(
            open_runtime(run.clock, self.conn_id).prefetch(),
            run.run_id,
            int(self.batch),
            wait_seconds=SHORT_WAIT_SECONDS,
            pause_seconds=float(self.pause_seconds),
            slice_size=int(self.slice_size) or None,
        )
