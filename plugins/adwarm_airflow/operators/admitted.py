"""Calls a function within the shared limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from adwarm_airflow.operators.prefetch import SHORT_WAIT_SECONDS
from adwarm_airflow.triggers import CapacityTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class AdmittedOperator(BaseOperator):
    """Calls `python_callable` once admission grants it, and returns its result.

    The task sleeps through waits under 30 seconds, and is deferred through longer ones. While the machine is above
    `ADWARM_BACKPRESSURE__MEMORY_PERCENT` or `ADWARM_BACKPRESSURE__CPU_PERCENT`, half as many calls run on it; critical
    calls are exempt.
    Errors of `adwarm.foundation.errors` raised by the callable feed back into admission: `Throttled` parks the scope,
    `Transient` counts for the breaker.

    Args:
        python_callable: the function to call.
        op_kwargs: its keyword arguments.
        scopes: the capacity scopes of the call, narrowest first, such as `account:act_1234`; the fleet is always added.
        priority: critical, high, normal or low.
        source: name of the breaker that counts the call.
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
        """Wait for admission, then call."""
        return self.attempt(context)

    def attempt(self, context: Context, event: Any = None) -> Any:
        """Try once; Airflow calls this again after each deferral."""
        from adwarm.backpressure import CallRequest, acquire_grant
        from adwarm.foundation.errors import NoCapacity, Refused
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
            with acquire_grant(runtime.call_admission, runtime.clock, call, timeout_seconds=SHORT_WAIT_SECONDS):
                called = True
                return self.python_callable(**self.op_kwargs)
        except (NoCapacity, Refused) as error:
            if called:
                raise
            self.log.info("not admitted: %s; deferring until there is capacity", error)
            chain = [*map(str, scopes), runtime.machine_guard.scope]
            self.defer(trigger=CapacityTrigger([chain], self.priority, self.source), method_name="attempt")
