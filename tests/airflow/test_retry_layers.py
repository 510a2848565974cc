"""The layers that retry do not multiply each other."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adwarm.foundation.errors import AdwarmError, Isolated
from adwarm.recovery.isolation import ISOLATION_FAILURES
from adwarm.runtime import Runtime
from adwarm.settings import RecoverySettings
from graph_simulator.fault_profile import parse_fault_profile
from graph_simulator.server import SimulatorServer

RETRIES = 2
CONTEXT: Any = {
    "ti": SimpleNamespace(task_id="t", try_number=1, max_tries=RETRIES, task=SimpleNamespace(retries=RETRIES)),
    "params": {},
}


@pytest.fixture(autouse=True)
def failing(
    airflow_home: Path, simulator: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> SimulatorServer:
    """A platform that answers every call with a temporary error, and an empty home."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ADWARM_RECOVERY__INITIAL_DELAY_SECONDS", "0")
    simulator.set_now(datetime.now(UTC))
    simulator.state.set_fault_profile(parse_fault_profile({"fault": [{"kind": "transient_2"}]}, "storm"))
    return simulator


@pytest.fixture(autouse=True)
def calm(simulator: SimulatorServer) -> Any:
    """Ends the faults."""
    yield
    simulator.state.set_fault_profile(parse_fault_profile({}, "calm"))


def _run_task() -> AdwarmError:
    """Run the operator once, as one try of its task, and return its error."""
    from adwarm_airflow.operators import PrefetchInsightsOperator

    operator = PrefetchInsightsOperator(task_id="t", accounts=["act_511"], date_ranges=["today"], deferrable=False)
    with pytest.raises(AdwarmError) as raised:
        operator.execute(CONTEXT)
    return raised.value


def test_the_calls_of_a_failing_task_are_attempts_times_tries(failing: SimulatorServer) -> None:
    """The HTTP client repeats nothing; the pipeline makes three attempts in each of Airflow's three tries."""
    from adwarm_airflow.retry_policy import AdwarmRetryPolicy

    before, tries, decisions = failing.calls()["total"], 0, []
    while tries <= RETRIES:
        tries += 1
        error = _run_task()
        decisions.append(AdwarmRetryPolicy().evaluate(error, tries, RETRIES).action.value)

    assert decisions == ["default"] * (1 + RETRIES)
    assert failing.calls()["total"] - before == RecoverySettings().max_attempts * (1 + RETRIES)


def test_an_isolated_account_ends_the_calls(failing: SimulatorServer) -> None:
    """From the sixth failing try on no call is made, and Airflow is asked to wait until the isolation ends."""
    from adwarm_airflow.retry_policy import AdwarmRetryPolicy

    settings = RecoverySettings()
    for _ in range(ISOLATION_FAILURES):
        Runtime().isolation.record("account:act_511", failed=True, reason="Transient: down", kind="Transient")
    before = failing.calls()["total"]
    error = _run_task()
    decision = AdwarmRetryPolicy().evaluate(error, 1, RETRIES)

    assert isinstance(error, Isolated)
    assert failing.calls()["total"] == before
    assert decision.action.value == "retry"
    assert decision.retry_delay is not None
    assert settings.isolation_seconds - 10 < decision.retry_delay.total_seconds() <= settings.isolation_seconds
