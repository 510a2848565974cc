"""The healer `custom`: a function of the user's."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from adwarm.foundation.errors import AdwarmError, BadRequest
from adwarm.foundation.redaction import redact
from adwarm.recovery.call import Failure
from adwarm.recovery.retry import ErrorFilter

HealingFunction = Callable[..., Any]
"""Called with the keyword arguments of `describe_failure`; its result says what it did."""


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
        BadRequest: it cannot be imported, or is no function.
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
        raise BadRequest(f"{path} is no function")
    healing_function: HealingFunction = function
    return healing_function
