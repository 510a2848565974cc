"""Searches for a course of events that breaks a state machine. `make test-stateful` searches longer."""

import os

from hypothesis import HealthCheck, settings

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
SEARCH = settings(
    max_examples=500 if THOROUGH else 20,
    stateful_step_count=50 if THOROUGH else 25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
