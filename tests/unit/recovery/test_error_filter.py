"""Healers choose errors by class and by a pattern of code and message."""

import pytest

from adwarm.foundation.errors import AdwarmError, NotAdmitted, Throttled, TokenDead, Transient
from adwarm.recovery.error_filter import ErrorFilter
from adwarm.settings.recovery_sections import DEFAULT_HEALERS
from tests.unit.conftest import NOW

SESSION = next(item for item in DEFAULT_HEALERS if item.action == "session_restart")


def test_class_and_pattern(subtests: pytest.Subtests) -> None:
    """An error matches by its class or a base class, when code or message contains the pattern; refusals never do."""
    for names, pattern, error, expected in (
        (("any",), None, ValueError("x"), True),
        (("Transient",), None, Transient("busy"), True),
        (("Transient",), None, Throttled("slow", scope="app:1", until=NOW), True),
        (("Transient",), None, TokenDead(), False),
        (("ConnectionError",), None, ConnectionResetError("reset by peer"), True),
        (("Permanent", "TimeoutError"), None, TimeoutError(), True),
        (("Transient",), "^connection$", Transient("x", code="connection"), True),
        (("Transient",), "^connection$", Transient("the connection failed"), False),
        (("any",), "(?i)BROKEN", AdwarmError("a broken pipe"), True),
        (("any",), None, NotAdmitted("parked", scope="app:1", until=NOW), False),
    ):
        with subtests.test(names=names, pattern=pattern, error=error, expected=expected):
            assert ErrorFilter(names, pattern).matches(error) is expected


def test_the_default_for_sessions_knows_a_lost_connection() -> None:
    """Lost connections match the default healer of sessions, a busy platform does not."""
    errors = ErrorFilter.of(SESSION)
    assert errors.matches(Transient("the connection to Meta failed (ConnectionError)", code="connection"))
    assert errors.matches(BrokenPipeError(32, "Broken pipe"))
    assert not errors.matches(Transient("(#2) Service temporarily unavailable", code="2"))
