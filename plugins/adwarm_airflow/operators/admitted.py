"""Calls any function under the shared budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from adwarm_airflow.operators.prefetch import SHORT_WAIT_SECONDS
from adwarm_airflow.triggers import CapacityTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class AdmittedOperator(BaseOperator):
    """Calls `python_callable` once the budget admits it, and returns what it returns.

    Waits under 30 seconds are waited out; for longer ones the task is deferred until there is capacity. While the
    machine's memory is above `ADWARM_BACKPRESSURE__MEMORY_PERCENT`, one call a second is begun on it; critical ones
    pass. Errors of `adwarm.foundation.errors` raised by the callable change the budget: `Throttled` parks the scope,
    `Transient` counts for the breaker.

    Args:
        python_callable: what to call.
        op_kwargs: its arguments.
        scopes: what the call draws on, narrowest first, such as `account:act_1234`; the fleet is always part of it.
        priority: critical, high, normal or low.
        source: whose breaker judges the call.
    """

    template_fields: Sequence[str] = ("op_kwargs", "scopes", "priority", "source")

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_kwargs: Mapping[str, Any] | None = None,
        scopes: Sequence[str] = (),
        priority: str = "normal",
        source: str = "callable",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.python_callable = python_callable
        self.op_kwargs = op_kwargs or {}
        self.scopes = scopes
        self.priority = priority
        self.source = source

    def execute(self, context: Context) -> Any:
        """Wait for admission and call."""
        return self.attempt(context)

    def attempt(self, context: Context, event: Any = None) -> Any:
        """Try once; called again after each deferral."""
        from adwarm.backpressure import CallRequest, acquire_grant
        from adwarm.foundation.errors import Refused, Throttled
        from adwarm.model import Priority, Scope
        from adwarm_airflow.params import parse_param
        from adwarm_airflow.task_context import open_runtime

        del context, event
        runtime = open_runtime()
        scopes = [Scope.parse(text) for text in self.scopes]
        priority = parse_param(Priority.parse, self.priority)
        called = False
        try:
            call = CallRequest(tuple(scopes), priority, self.source)
            with acquire_grant(runtime.single_call_admission, runtime.clock, call, timeout_seconds=SHORT_WAIT_SECONDS):
                called = True
                return self.python_callable(**self.op_kwargs)
        except (Throttled, Refused) as error:
            if called:
                raise
            self.log.info("not admitted: %s; the worker slot is given back until then", error)
            self.defer(
                trigger=CapacityTrigger([list(map(str, scopes))], self.priority, self.source), method_name="attempt"
            )
