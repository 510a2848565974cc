"""Small versions of the benchmarks: every fault at once, a day of warms, and a backfill that is killed halfway."""

import pytest

from graph_simulator.server import SimulatorServer
from tests.benchmarks.backfill import measure as backfill
from tests.benchmarks.meta_storm import DENIED, StormScenario, count_silent_losses, evaluate, fetch_with_adwarm
from tests.benchmarks.requests_per_key import LIMIT
from tests.benchmarks.requests_per_key import measure as requests_per_key

pytestmark = pytest.mark.slow


def test_faults_cost_no_row_and_hide_no_reason() -> None:
    """With every fault: true rows for every readable account, a reason for each other one, and no call too early."""
    scene = StormScenario(number=12, ads=3, scale=600)
    with SimulatorServer(scene.config()) as server:
        result = fetch_with_adwarm(scene, server)
        figures, difference = evaluate(scene, server, result)

    assert difference.is_empty
    assert difference.true > 0
    assert result.early == 0
    assert set(result.reasons) <= {scene.names[DENIED], *scene.mortal}
    assert scene.names[DENIED] in result.reasons
    assert count_silent_losses(scene, result, figures["accounts whole"]) == 0


def test_a_day_of_warms_takes_few_requests() -> None:
    """Four reports warmed three times a day cost at most 0.35 requests each, and every summary is correct."""
    planner, alone, difference = requests_per_key(6, 4)

    assert planner["keys"] == alone["keys"] == 72
    assert planner["per key"] <= LIMIT < alone["per key"]
    assert difference.is_empty


def test_a_killed_backfill_continues() -> None:
    """Killed at half: nothing is fetched twice, the end is the same, and a rerun of settled days makes no call."""
    outcome = backfill(6, 3, lease=2.0)

    assert (outcome.days, outcome.rerun, outcome.refetched, outcome.reasons) == (6 * 90, 0, 0, 0)
    assert outcome.same
    assert outcome.whole <= 6 * 12
