"""The tree of errors: where each class hangs, and what each carries."""

from datetime import UTC, datetime

import pytest

from adwarm import errors

UNTIL = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("name", ["TooMuchData", "Denied", "TokenDead", "BadRequest", "NotFound", "Refused", "Corrupt"])
def test_what_fails_again_is_permanent(name: str) -> None:
    """Retrying looks at one base class."""
    found = getattr(errors, name)
    assert issubclass(found, errors.Permanent)
    assert issubclass(found, errors.AdwarmError)
    assert not issubclass(found, errors.Transient)


def test_what_passes_is_transient() -> None:
    """A throttle is a transient error that says what is parked, and until when."""
    found = errors.Throttled(scope="account:act_1", until=UNTIL, retry_after=30.0, code="80000")
    assert isinstance(found, errors.Transient)
    assert (found.scope, found.until, found.retry_after, found.code) == ("account:act_1", UNTIL, 30.0, "80000")
    assert errors.Transient("slow").retry_after is None


def test_an_error_without_words_says_what_its_class_means() -> None:
    """The first line of the class's description is the message."""
    assert str(errors.Corrupt()) == "The stored bytes do not match their checksum; fetch them again."
    assert str(errors.Denied(account_id="act_1")).startswith("The account may not be read")
    assert str(errors.Corrupt("cut")) == "cut"


def test_errors_carry_what_the_reaction_needs() -> None:
    """The account of a denial, the patience of a refusal."""
    assert errors.Denied("no", account_id="act_1", code="200").account_id == "act_1"
    assert errors.Refused("full", retry_after=2.5).retry_after == 2.5
    assert errors.TokenDead(code="190").code == "190"


def test_a_warning_is_no_error() -> None:
    """Warnings are raised by `warnings`, never caught with the errors."""
    assert issubclass(errors.AdwarmWarning, UserWarning)
    assert not issubclass(errors.AdwarmWarning, errors.AdwarmError)
