"""Fetches one batch of a plan that is stored in the warm table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from adwarm_airflow.operators.prefetch import SHORT_WAIT_SECONDS, PrefetchInsightsOperator
from adwarm_airflow.page_links import RunPlanLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context

    from adwarm.prefetch import BatchResult, KeyOutcome
    from adwarm_airflow.run_window import RunWindow


class WarmBatchOperator(PrefetchInsightsOperator):
    """Warms one batch of its own run's plan; map it over the batch numbers that a planning task returns.

    A retry resumes where the last attempt stopped, because the outcome of each warm is a row: fetched keys stay, and
    failed keys are tried again. Denied keys are tried again only when a human clears the task. The result of the task
    and its counts cover the whole batch, not only the last attempt.

    Args:
        batch: number of the batch.
        pause_seconds: pause between groups of `slice_size` keys.
        slice_size: keys between two pauses; 0 for no pause.
        max_calls: upstream calls that the strategy of the batch may make in an hour; 0 for no limit.
        must_complete: whether the task is tried again, and fails in the end, while warming is switched off; by default
            it leaves the rest of the batch to a later run.
    """

    operator_extra_links: Collection[BaseOperatorLink] = (RunPlanLink(),)
    template_fields: Sequence[str] = ("batch", "pause_seconds", "slice_size", "max_calls", "conn_id")

    def __init__(
        self,
        *,
        batch: int,
        pause_seconds: float | str = 0.0,
        slice_size: int | str = 0,
        max_calls: int | str = 0,
        must_complete: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.batch = batch
        self.pause_seconds = pause_seconds
        self.slice_size = slice_size
        self.max_calls = max_calls
        self.must_complete = must_complete
        self._label = ""

    def batch_label(self, dag_run: Any) -> str:
        """Return the name of the mapped task in the grid, such as `batch 3: act_1, act_2 and 14 more`."""
        from adwarm.foundation.wording import format_some
        from adwarm.store import warms
        from adwarm_airflow.run_window import stored_run_id
        from adwarm_airflow.task_context import open_runtime

        if not self._label:
            ids = warms.list_batch_accounts(
                open_runtime().engine, stored_run_id(dag_run.dag_id, dag_run.run_id), int(self.batch)
            )
            self._label = f"batch {self.batch}: {format_some(ids, 2)}"
        return self._label

    def prepare_attempt(self, context: Context, *, by_human: bool) -> None:
        """Set failed warms of the batch back to planned, and after a clear by a human also denied ones."""
        from adwarm.prefetch.warm_batch import reopen_batch
        from adwarm_airflow.task_context import open_runtime

        run = _run_window(context)
        runtime = open_runtime(run.clock)
        reopen_batch(runtime.engine, run.run_id, int(self.batch), by_human=by_human)

    def full_result(self, context: Context, result: BatchResult) -> BatchResult:
        """Return `result` with the outcomes of earlier attempts added."""
        from adwarm.prefetch import BatchResult
        from adwarm.prefetch.warm_batch import list_earlier_outcomes
        from adwarm_airflow.task_context import open_runtime

        before = list_earlier_outcomes(open_runtime().engine, _run_window(context).run_id, int(self.batch), result)
        return BatchResult([*before, *result.outcomes])

    def with_fallbacks(self, result: BatchResult) -> BatchResult:
        """Return `result`: a warm is there to make the key fresh, so older data is not a substitute."""
        return result

    def waiting_priority(self, context: Context, parked: Sequence[KeyOutcome]) -> str:
        """Return the most urgent class among the parked keys of the plan."""
        from adwarm.store import warms
        from adwarm_airflow.task_context import open_runtime

        waiting = {item.request.reference for item in parked}
        rows = warms.list_planned(open_runtime().engine, _run_window(context).run_id, int(self.batch))
        classes = [row.priority for row in rows if row.id in waiting]
        return min(classes).name.lower() if classes else self.priority

    def prefetch(self, context: Context) -> BatchResult:
        """Warm the rest of the batch."""
        from adwarm.prefetch.warm_batch import Pace, warm_batch
        from adwarm_airflow.task_context import open_runtime

        run = _run_window(context)
        return warm_batch(
            open_runtime(run.clock, self.conn_id).prefetch_engine(),
            run.run_id,
            int(self.batch),
            wait_seconds=SHORT_WAIT_SECONDS,
            pace=Pace(int(self.slice_size), float(self.pause_seconds), int(self.max_calls)),
            must_complete=self.must_complete,
        )


def _run_window(context: Context) -> RunWindow:
    """Return the run whose plan the task fetches, and its clock."""
    from datetime import timedelta

    from adwarm_airflow.run_window import resolve_run_window

    return resolve_run_window(context, timedelta(hours=1))
