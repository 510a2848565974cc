"""Calls a function with retries, healing and fallbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class RecoveringOperator(BaseOperator):
    """Calls `python_callable`; when it keeps failing, returns the result of the first fallback that succeeds.

    Only transient errors (`adwarm.foundation.errors.Transient`, timeouts, lost connections) are retried. Returns
    `{"value", "source", "degraded", "reason", "attempts"}`; `degraded` is true for the result of a fallback.

    Args:
        python_callable: the function to call.
        op_kwargs: keyword arguments of the function and of the fallbacks.
        fallbacks: functions tried in order.
        source: name of the upstream in the error history.
        fallback_timeout_seconds: time limit of one fallback.
    """

    template_fields: Sequence[str] = ("op_kwargs", "source")

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_kwargs: Mapping[str, Any] | None = None,
        fallbacks: Sequence[Callable[..., Any]] = (),
        source: str = "callable",
        fallback_timeout_seconds: float = 30.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.python_callable = python_callable
        self.op_kwargs = op_kwargs or {}
        self.fallbacks = fallbacks
        self.source = source
        self.fallback_timeout_seconds = fallback_timeout_seconds

    def execute(self, context: Context) -> dict[str, Any]:
        """Call, retry, fall back, and return the result with its source."""
        from functools import partial

        from adwarm.recovery import Call, Fallback
        from adwarm_airflow.task_context import open_runtime

        arguments = dict(self.op_kwargs)
        chain = [
            Fallback(
                getattr(call, "__name__", f"fallback {number}"),
                partial(call, **arguments),
                self.fallback_timeout_seconds,
            )
            for number, call in enumerate(self.fallbacks, start=1)
        ]
        outcome = open_runtime().pipeline.run(
            partial(self.python_callable, **arguments),
            call=Call(self.source, subject=str(context["ti"].task_id)),
            fallbacks=chain,
        )
        if outcome.is_degraded:
            self.log.warning("result of the fallback %s: %s", outcome.source, outcome.reason)
        return {
            "value": outcome.value,
            "source": outcome.source,
            "degraded": outcome.is_degraded,
            "reason": outcome.reason,
            "attempts": outcome.attempts,
        }
