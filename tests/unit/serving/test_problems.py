"""Problems of the read API as errors."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from adwarm.serving.problems import Problem, unknown_report


@contextmanager
def _block() -> Iterator[None]:
    yield


def test_a_problem_passes_through_context_managers() -> None:
    """It arrives as it was raised, wherever it passes a `with` block."""
    with pytest.raises(Problem) as raised, _block():
        raise unknown_report()
    assert raised.value.body() == unknown_report().body()
