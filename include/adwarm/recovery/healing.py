"""Healing: an action that may fix the cause of an error, run once for all callers that met the error.

The cool-down prevents the action from being repeated; it is never waited for. Only an action that another caller is
running at this moment is waited for, a few seconds at most, because its result helps this caller too. The healer
`custom` calls a function of the user's.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from adwarm.foundation import telemetry
from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import AdwarmError, BadRequest
from adwarm.foundation.redaction import redact
from adwarm.recovery.call import Failure
from adwarm.recovery.retry import ErrorFilter
from adwarm.store.healing_runs import HealingRun, HealingStore

log = logging.getLogger(__name__)
_LONGEST_WAIT_SECONDS = 10.0
_POLL_SECONDS = 0.2
HealingFunction = Callable[..., Any]
"""Called with the keyword arguments of `describe_failure`; its result says what it did."""


class Healer(Protocol):
    """An action that fixes the cause of some errors.

    `heal` runs once per cool-down and scope over all workers. `adopt` runs in every process that met the error: after
    its own `heal`, and when another worker ran `heal` within the cool-down.

    Attributes:
        action: what it is, such as `token_refresh`; with the scope, the name of the cool-down.
        cooldown_seconds: the shortest time between two runs of one scope, over all workers.
    """

    action: str
    cooldown_seconds: float

    def matches(self, failure: Failure) -> bool:
        """Return whether the action may fix the cause of `failure`."""
        ...

    def scope(self, failure: Failure) -> str:
        """Return what it would heal, such as the name of a connection."""
        ...

    def heal(self, failure: Failure) -> str:
        """Run the action and return a short description of what it did; raise when it failed."""
        ...

    def adopt(self, failure: Failure) -> bool:
        """Take over in this process what the action did; return whether another attempt may succeed now."""
        ...


class Healed(NamedTuple):
    """A healing action after which another attempt may succeed."""

    action: str
    scope: str

    def __str__(self) -> str:
        return f"{self.action} of {self.scope}"


def heal(
    healers: Sequence[Healer], failure: Failure, ledger: HealingStore, clock: Clock, owner: str = ""
) -> Healed | None:
    """Run the matching healers until one succeeds, and return it; None when none did.

    A healer that another worker ran within its cool-down is not run again; its result is adopted.

    Args:
        healers: tried in order.
    """
    for healer in healers:
        if healer.matches(failure) and _heal_once(healer, failure, ledger, clock, owner):
            return Healed(healer.action, healer.scope(failure))
    return None


def _heal_once(healer: Healer, failure: Failure, ledger: HealingStore, clock: Clock, owner: str) -> bool:
    name = f"{healer.action}:{healer.scope(failure)}"
    if not ledger.acquire(name, healer.cooldown_seconds):
        _wait_while_running(name, ledger, clock)
        return healer.adopt(failure)
    started = clock.now()
    try:
        detail = redact(healer.heal(failure))
        adopted = healer.adopt(failure)
    except Exception as problem:
        detail, adopted = redact(f"{type(problem).__name__}: {problem}"), False
        log.warning("healing %s failed: %s", name, detail)
    run = _build_run(healer, failure, started, clock, owner)
    telemetry.report(telemetry.HEALINGS, action=healer.action, result="helped" if adopted else "failed")
    ledger.finish(name, succeeded=adopted, detail=detail, run=replace(run, succeeded=adopted, detail=detail))
    return adopted


def _wait_while_running(name: str, ledger: HealingStore, clock: Clock) -> None:
    """Wait until another worker has finished the action; not for a worker that died."""
    waited = 0.0
    while waited < _LONGEST_WAIT_SECONDS and ledger.is_running(name, _LONGEST_WAIT_SECONDS):
        clock.sleep(_POLL_SECONDS)
        waited += _POLL_SECONDS


def _build_run(healer: Healer, failure: Failure, started: datetime, clock: Clock, owner: str) -> HealingRun:
    seconds = max(0.0, (clock.now() - started).total_seconds())
    scope, source = redact(healer.scope(failure)), failure.call.source
    return HealingRun(started, healer.action, scope, source, failure.kind, seconds=seconds, owner=owner)


class CustomHealer:
    """Calls a function that may fix the cause of an error.

    The function runs once per cool-down for each source and connection. It raises when it could not fix the cause.

    Args:
        function: the function, or where it is, as `package.module:function`; it is imported when it is needed first.
        cooldown_seconds: the shortest time between two runs for one source and connection, over all workers.
    """

    action = "custom"

    def __init__(self, function: HealingFunction | str, errors: ErrorFilter, cooldown_seconds: float) -> None:
        self._function = function
        self._errors = errors
        self.cooldown_seconds = cooldown_seconds
        self._failed: set[str] = set()

    def matches(self, failure: Failure) -> bool:
        """Return whether the error is one that the function is for."""
        return self._errors.matches(failure.error)

    def scope(self, failure: Failure) -> str:
        """Return the function's name with the source and the connection of the failed call."""
        name = self._function if isinstance(self._function, str) else getattr(self._function, "__name__", "function")
        return ":".join(filter(None, (name, failure.call.source, failure.call.connection)))

    def heal(self, failure: Failure) -> str:
        """Call the function and return the text of its result.

        Raises:
            BadRequest: there is no such function.
            Exception: what the function raised.
        """
        scope = self.scope(failure)
        self._failed.add(scope)
        function = load_function(self._function) if isinstance(self._function, str) else self._function
        result = function(**describe_failure(failure))
        self._failed.discard(scope)
        return f"{scope} was called" if result is None else str(result)

    def adopt(self, failure: Failure) -> bool:
        """Return whether the function has succeeded, as far as this process knows."""
        return self.scope(failure) not in self._failed


def describe_failure(failure: Failure) -> dict[str, str | None]:
    """Return the arguments of a custom function: where it failed, kind and code, and the redacted message."""
    call = failure.call
    return {
        "source": call.source,
        "connection": call.connection,
        "account_id": call.account_id,
        "kind": failure.kind,
        "code": failure.code,
        "message": redact(str(failure.error)),
    }


def load_function(path: str) -> HealingFunction:
    """Return the function at `package.module:function`.

    Raises:
        BadRequest: it cannot be imported, or is not a function.
    """
    module, _, name = path.partition(":")
    try:
        function = getattr(import_module(module), name)
    except AdwarmError:
        raise
    except Exception as error:
        problem = redact(f"{type(error).__name__}: {error}")
        raise BadRequest(f"the healing function {path} cannot be imported ({problem}); check PYTHONPATH") from error
    if not callable(function):
        raise BadRequest(f"{path} is not a function")
    healing_function: HealingFunction = function
    return healing_function
