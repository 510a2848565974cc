"""Searches for a course of events that breaks a state machine. `make test-stateful` searches longer."""

import os

from hypothesis import HealthCheck, settings

from tests.benchmarks.measure import sized

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
SEARCH = settings(
    max_examples=sized(500, 2) if THOROUGH else 12,
    stateful_step_count=sized(50, 10) if THOROUGH else 25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
