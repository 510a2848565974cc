"""Calls a function with retries, healing and fallbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.sdk import Context

    from adwarm.recovery import Fallback, Healer
    from adwarm.runtime import Runtime
    from adwarm.settings import RecoverySettings

_COOLDOWN_SECONDS = 60.0
"""Shortest time between two calls of a function that heals."""


@dataclass(frozen=True, slots=True)
class OperatorFallback:
    """Another function that returns the result.

    Attributes:
        callable: called with the arguments of the operator's function.
        timeout_seconds: time limit of the call.
        errors: classes of errors after which it is used, such as `Transient`.
        name: names it in the result and in the logs; that of the function by default.
        as_of: returns from the result when its data was fetched, for the age in the operator's result.
    """

    callable: Callable[..., Any]
    timeout_seconds: float = 30.0
    errors: Sequence[str] = ("any",)
    name: str | None = None
    as_of: Callable[[Any], datetime | None] | None = None


class RecoveringOperator(BaseOperator):
    """Calls `python_callable`; when it keeps failing, returns the result of the first fallback that succeeds.

    Errors of the retryable classes are retried within the call: `Transient` of `adwarm.foundation.errors`, timeouts and
    lost connections, unless the policy names others. Then the healers that match the error run, once for all tasks that
    meet it, and the function is called once more. Returns `{"value", "source", "age_seconds", "degraded", "reason",
    "attempts", "actions"}`; `degraded` is true for the result of a fallback, and `age_seconds` is its age, if known.

    Args:
        python_callable: the function to call.
        op_kwargs: keyword arguments of the function and of the fallbacks.
        fallbacks: functions tried in order, each a callable, an `OperatorFallback`, or a dict with its fields.
        source: name of the upstream in the error history.
        policy: settings of the recovery that differ here, such as `{"max_attempts": 5}`.
        healers: healing actions instead of those of the settings, each a dict as in `ADWARM_RECOVERY__HEALERS`, or a
            function `heal(*, source, connection, account_id, kind, code, message)`; None for those of the settings.
    """

    template_fields: Sequence[str] = ("op_kwargs", "source")

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_kwargs: Mapping[str, Any] | None = None,
        fallbacks: Sequence[Callable[..., Any] | OperatorFallback | Mapping[str, Any]] = (),
        source: str = "callable",
        policy: Mapping[str, Any] | None = None,
        healers: Sequence[Callable[..., Any] | Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.python_callable = python_callable
        self.op_kwargs = op_kwargs or {}
        self.fallbacks = fallbacks
        self.source = source
        self.policy = policy
        self.healers = healers

    def execute(self, context: Context) -> dict[str, Any]:
        """Call, retry, heal, fall back, and return the result with its source.

        Raises:
            BadRequest: the policy, a fallback or a healer is not valid.
        """
        from functools import partial

        from adwarm.recovery import Call, RunOptions
        from adwarm_airflow.task_context import open_runtime

        arguments, runtime = dict(self.op_kwargs), open_runtime()
        policy = _parse_policy(runtime.settings.recovery, self.policy)
        healers = None if self.healers is None else _parse_healers(self.healers, runtime)
        outcome = runtime.pipeline.run(
            partial(self.python_callable, **arguments),
            call=Call(self.source, subject=str(context["ti"].task_id)),
            fallbacks=self._make_fallbacks(arguments),
            options=RunOptions(policy, healers),
        )
        if outcome.actions:
            self.log.info("actions: %s", ", then ".join(outcome.actions))
        if outcome.is_degraded:
            self.log.warning("result of the fallback %s: %s", outcome.source, outcome.reason)
        now = runtime.clock.now()
        return {
            "value": outcome.value,
            "source": outcome.source,
            "age_seconds": None if outcome.as_of is None else max(0.0, (now - outcome.as_of).total_seconds()),
            "degraded": outcome.is_degraded,
            "reason": outcome.reason,
            "attempts": outcome.attempts,
            "actions": list(outcome.actions),
        }

    def _make_fallbacks(self, arguments: Mapping[str, Any]) -> list[Fallback[Any]]:
        from functools import partial

        from adwarm.recovery import Fallback

        made = []
        for number, entry in enumerate(self.fallbacks, start=1):
            item = _parse_fallback(entry)
            name = item.name or str(getattr(item.callable, "__name__", f"fallback {number}"))
            call = partial(item.callable, **arguments)
            made.append(Fallback(name, call, float(item.timeout_seconds), item.as_of, tuple(item.errors)))
        return made


def _parse_fallback(entry: Callable[..., Any] | OperatorFallback | Mapping[str, Any]) -> OperatorFallback:
    from adwarm.foundation.errors import BadRequest
    from adwarm.settings.recovery_sections import check_error_names

    if isinstance(entry, Mapping):
        try:
            item = OperatorFallback(**entry)
        except TypeError as error:
            raise BadRequest(f"a fallback of RecoveringOperator is not valid: {error}") from None
    else:
        item = entry if isinstance(entry, OperatorFallback) else OperatorFallback(entry)
    if not callable(item.callable):
        raise BadRequest("a fallback of RecoveringOperator names no function; its `callable` is one")
    try:
        check_error_names(tuple(item.errors))
    except ValueError as error:
        raise BadRequest(f"a fallback of RecoveringOperator: {error}") from None
    return item


def _parse_policy(settings: RecoverySettings, changes: Mapping[str, Any] | None) -> RecoverySettings | None:
    """Return the settings with `changes`; None without changes."""
    from adwarm.foundation.errors import BadRequest

    if not changes:
        return None
    if own := {"healers", "fallbacks"} & set(changes):
        raise BadRequest(f"{', '.join(sorted(own))}: an argument of RecoveringOperator, not a part of its policy")
    policy: RecoverySettings = _validated(type(settings), {**settings.model_dump(), **changes}, "the policy")
    return policy


def _parse_healers(entries: Sequence[Callable[..., Any] | Mapping[str, Any]], runtime: Runtime) -> list[Healer]:
    from adwarm.recovery.healing import CustomHealer
    from adwarm.recovery.retry import ErrorFilter
    from adwarm.runtime import build_healers
    from adwarm.settings import HealerSettings

    healers: list[Healer] = []
    for entry in entries:
        if isinstance(entry, Mapping):
            healers += build_healers([_validated(HealerSettings, entry, "a healer")], runtime)
        else:
            healers.append(CustomHealer(entry, ErrorFilter(), _COOLDOWN_SECONDS))
    return healers


def _validated(model: Any, values: Mapping[str, Any], what: str) -> Any:
    """Return the model of `values`.

    Raises:
        BadRequest: they are not valid; the message says which and why, and contains no value.
    """
    from pydantic import ValidationError

    from adwarm.foundation.errors import BadRequest

    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        reasons = "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in details)
        raise BadRequest(f"{what} of RecoveringOperator is not valid: {reasons}") from None
