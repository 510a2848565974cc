"""A function of the user's as a healing action."""

from typing import Any

import pytest

from adwarm.foundation.errors import BadRequest, Transient
from adwarm.recovery import Call, Failure
from adwarm.recovery.healing import CustomHealer
from adwarm.recovery.retry import ErrorFilter

CALLS: list[dict[str, Any]] = []
FAILURE = Failure(Call("meta", "eu", "act_1"), Transient("the proxy said access_token=secret123456", code="2"))


def act(**failure: Any) -> str | None:
    """Record the failure."""
    CALLS.append(failure)
    return None if failure["source"] == "quiet" else "restarted the proxy"


def broken(**failure: Any) -> None:
    """Fail."""
    raise RuntimeError("the proxy does not answer")


NO_FUNCTION = 7


def test_a_function_is_called_with_the_failure() -> None:
    """It gets the fields of the failure with a redacted message; its result is the detail."""
    CALLS.clear()
    healer = CustomHealer(f"{__name__}:act", ErrorFilter(), 60)
    assert healer.matches(FAILURE)
    assert healer.heal(FAILURE) == "restarted the proxy"
    assert healer.adopt(FAILURE)
    (told,) = CALLS
    assert "secret123456" not in told.pop("message")
    assert told == {"source": "meta", "connection": "eu", "account_id": "act_1", "kind": "Transient", "code": "2"}


def test_its_scope_is_the_function_the_source_and_the_connection() -> None:
    """Two connections have cool-downs of their own; without a result the detail says what was called."""
    healer = CustomHealer(act, ErrorFilter(), 60)
    assert healer.scope(FAILURE) == "act:meta:eu"
    quiet = Failure(Call("quiet"), Transient("x"))
    assert healer.heal(quiet) == "act:quiet was called"


def test_a_function_that_fails_heals_nothing() -> None:
    """Its error is raised, and this process does not adopt an action that failed."""
    healer = CustomHealer(broken, ErrorFilter(), 60)
    with pytest.raises(RuntimeError, match="does not answer"):
        healer.heal(FAILURE)
    assert not healer.adopt(FAILURE)


def test_a_path_to_nothing_is_an_error(subtests: pytest.Subtests) -> None:
    """The error names the path."""
    for path in ("no_such_package:act", f"{__name__}:missing", f"{__name__}:NO_FUNCTION"):
        with subtests.test(path=path), pytest.raises(BadRequest, match=path.partition(":")[2]):
            CustomHealer(path, ErrorFilter(), 60).heal(FAILURE)
