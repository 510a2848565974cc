"""Calls any function with retry, healing and fallbacks around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class RecoveringOperator(BaseOperator):
    """Calls `python_callable`; when it keeps failing, the first fallback that answers stands in.

    Only transient errors (`adwarm.foundation.errors.Transient`, timeouts, lost connections) are retried. Returns
    `{"value", "source", "degraded", "reason", "attempts"}`, so that a degraded answer is never mistaken for a good one.

    Args:
        python_callable: what to call.
        op_kwargs: its arguments, handed to the fallbacks as well.
        fallbacks: functions tried in order.
        source: names the upstream in the error history.
        fallback_timeout_seconds: how long one fallback may take.
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
        """Call, recover, and say how it went."""
        from functools import partial

        from adwarm.recovery import Fallback
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
        answer = open_runtime().pipeline.run(
            partial(self.python_callable, **arguments),
            source=self.source,
            subject=str(context["ti"].task_id),
            fallbacks=chain,
        )
        if answer.is_degraded:
            self.log.warning("answered by %s: %s", answer.source, answer.reason)
        return {
            "value": answer.value,
            "source": answer.source,
            "degraded": answer.is_degraded,
            "reason": answer.reason,
            "attempts": answer.attempts,
        }
