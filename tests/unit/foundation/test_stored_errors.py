"""Errors keep their class when they are stored by name and made again."""

import pytest

from adwarm.foundation import errors
from adwarm.foundation.errors import AdwarmError, TokenDead, Transient
from adwarm.foundation.stored_errors import name_error, restore_error

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
