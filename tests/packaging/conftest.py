"""The distributions, built once, and a bare Airflow with the wheel."""

from dataclasses import replace
from pathlib import Path

import pytest

from .environments import LOCK, Distributions, Environment, build_distributions, find_interpreter

PYTHON = "3.11"


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """The distributions of adwarm and of its client."""
    return build_distributions(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def python() -> str:
    """An interpreter of the version that the lock is made for."""
    found = find_interpreter(PYTHON)
    if found is None:
        pytest.skip(f"there is no Python {PYTHON} on this machine")
    return found


@pytest.fixture(scope="session")
def bare(distributions: Distributions, python: str, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Airflow in an environment of its own, and into it the wheel, as a user installs it."""
    environment = Environment.create(tmp_path_factory.mktemp("bare"), python)
    environment.install("--constraint", str(LOCK), "apache-airflow")
    environment.install("--constraint", str(LOCK), str(distributions.client), str(distributions.wheel))
    return environment


@pytest.fixture
def fresh(bare: Environment, tmp_path: Path) -> Environment:
    """The same environment with an empty home."""
    return replace(bare, home=tmp_path, variables={})
