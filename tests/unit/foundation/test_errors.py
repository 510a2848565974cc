"""The tree of errors and their fields."""

from datetime import UTC, datetime, timedelta

import pytest

from adwarm.foundation import errors
from adwarm.foundation.errors import AdwarmError, TokenDead, Transient, name_error, restore_error

UNTIL = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def test_permanent_errors(subtests: pytest.Subtests) -> None:
    """They share a base class that is never retried."""
    for name in ["TooMuchData", "Denied", "TokenDead", "BadRequest", "NotFound", "Refused", "Corrupt"]:
        with subtests.test(name=name):
            found = getattr(errors, name)
            assert issubclass(found, errors.Permanent)
            assert issubclass(found, errors.AdwarmError)
            assert not issubclass(found, errors.Transient)


def test_transient_errors() -> None:
    """A throttle is a transient error with the parked scope and its end."""
    found = errors.Throttled(scope="account:act_1", until=UNTIL, retry_after=30.0, code="80000")
    assert isinstance(found, errors.Transient)
    assert (found.scope, found.until, found.retry_after, found.code) == ("account:act_1", UNTIL, 30.0, "80000")
    assert errors.Transient("slow").retry_after is None


def test_the_default_message_is_the_class_docstring() -> None:
    """The first line of the docstring is the message."""
    assert str(errors.Corrupt()) == "The stored bytes do not match their checksum; fetch them again."
    assert str(errors.Denied(account_id="act_1")).startswith("The account may not be read")
    assert str(errors.Corrupt("cut")) == "cut"


def test_errors_carry_fields_for_callers() -> None:
    """The account of a denial, the retry time of a refusal."""
    assert errors.Denied("no", account_id="act_1", code="200").account_id == "act_1"
    assert errors.Refused("full", retry_after=2.5).retry_after == 2.5
    assert errors.TokenDead(code="190").code == "190"


def test_waits_are_limited(subtests: pytest.Subtests) -> None:
    """Any wait becomes 0 seconds to a year; a datetime without a zone is UTC."""
    for asked in [float("inf"), 1e300]:
        with subtests.test(asked=asked):
            for error in (errors.Transient(retry_after=asked), errors.Refused(retry_after=asked)):
                assert timedelta(seconds=error.retry_after or 0) == timedelta(days=366)
            assert errors.Transient(retry_after=float("nan")).retry_after == 0
            assert errors.Refused(retry_after=-5).retry_after == 0
            assert errors.Throttled(scope="fleet", until=UNTIL.replace(tzinfo=None)).until == UNTIL


def test_own_refusals_are_marked() -> None:
    """They belong to the classes that callers react to, have `own_refusal` set, and are no throttles."""
    put_off = errors.NotAdmitted(scope="fleet", until=UNTIL)
    assert isinstance(put_off, errors.NoCapacity)
    assert not isinstance(put_off, errors.Throttled)
    assert put_off.own_refusal
    assert errors.Refused(retry_after=1, scope="source:meta").own_refusal
    assert not errors.Throttled(scope="fleet", until=UNTIL).own_refusal


CLASSES = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, AdwarmError)]


class _Unavailable(TokenDead):
    """A class of another module."""


def test_an_error_of_each_class_comes_back(subtests: pytest.Subtests) -> None:
    """Class, text and every attribute that its constructor sets are there."""
    for kind in CLASSES:
        with subtests.test(kind=kind):
            error = restore_error(kind.__name__, "it failed", "act_1")
            assert (type(error), str(error), name_error(error)) == (kind, "it failed", kind.__name__)
            assert repr(error) == f"{kind.__name__}('it failed')"


def test_a_class_of_another_module_is_stored_by_its_base() -> None:
    """Conditions of the settings can name only the classes of the tree, and Python's own."""
    assert name_error(_Unavailable("gone")) == "TokenDead"
    assert name_error(TimeoutError()) == "TimeoutError"


def test_what_is_not_known_is_transient(subtests: pytest.Subtests) -> None:
    """A request that another version has stored does not stop a reader."""
    for kind in [None, "", "Gone", "os"]:
        with subtests.test(kind=kind):
            assert type(restore_error(kind, "it failed")) is Transient
