"""A database whose clock the test holds, and admissions on it."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from sqlalchemy import Engine

from adwarm.backpressure import SqlAdmission
from adwarm.settings import BackpressureSettings


@dataclass
class DatabaseClock:
    """The database's time, moved by hand."""

    now: float = 1_764_072_000.0

    def __call__(self, connection: object) -> float:
        return self.now


@pytest.fixture
def time() -> DatabaseClock:
    """The database's time."""
    return DatabaseClock()


@pytest.fixture
def make(engine: Engine, time: DatabaseClock) -> Callable[..., SqlAdmission]:
    """Makes admissions, each like another process on the same database."""

    def _make(owner: str = "one", **changes: Any) -> SqlAdmission:
        settings = BackpressureSettings(**{"per_account_concurrent": 10, **changes})
        return SqlAdmission(engine, settings, owner=owner, rng=Random(owner), database_time=time)

    return _make
