"""Benchmark of adaptive limits beside fixed ones and Airflow's pools, while the platform's capacity halves and doubles.

A simulation on virtual time with the real budget. The fixed value is the best of a sweep, chosen afterwards by the
calls it completed, so it could not be chosen beforehand. An Airflow pool has slots and the task's own retry delay.
"""

import sys
from typing import Any

from tests.benchmarks.measure import exit_code, save_results, sized
from tests.simulation.capacity import PHASE_SECONDS, SHEDS_OVER, SLOTS, LoadMetrics, simulate_capacity

FIXED = sized((10, 20, 30, 40, 50, 60), (20,))
POOLS = sized((20, 40), (20,))
COMPLETED_AT_LEAST = 0.97
HALF = 0.5


def run() -> bool:
    """Run all of them, print the table and the result, and return whether the target was met."""
    ours = simulate_capacity("adaptive")
    fixed = {slots: simulate_capacity("fixed", slots) for slots in FIXED}
    pools = {slots: simulate_capacity("pool", slots) for slots in POOLS}
    best = max(fixed, key=lambda slots: fixed[slots].completed)
    named = {
        "adaptive (adwarm)": ours,
        **{f"fixed {slots}{', the best' if slots == best else ''}": score for slots, score in fixed.items()},
        **{f"Airflow pool of {slots}": score for slots, score in pools.items()},
    }
    capacities = ", ".join(map(str, SLOTS))
    save_results(
        "adaptive",
        f"A platform of {capacities} slots, {PHASE_SECONDS:.0f} s each, that sheds above {SHEDS_OVER} calls a slot",
        [_row(what, score, fixed[best]) for what, score in named.items()],
    )
    completed = ours.completed / fixed[best].completed
    calmer = ours.p95 <= HALF * fixed[best].p95 or ours.throttled <= HALF * fixed[best].throttled
    is_met = completed >= COMPLETED_AT_LEAST and calmer
    figures = (
        f"{completed:.3f} of what the best fixed value completed (>= {COMPLETED_AT_LEAST}), "
        f"{ours.p95 / fixed[best].p95:.2f} of its p95, "
        f"{ours.throttled / max(1, fixed[best].throttled):.3f} of its throttles (one of them <= {HALF})"
    )
    print(f"{'PASS' if is_met else 'FAIL'}: {figures}")
    return is_met


def _row(what: str, score: LoadMetrics, best: LoadMetrics) -> dict[str, Any]:
    return {
        "what": what,
        "completed": score.completed,
        "/ best fixed": score.completed / best.completed,
        "throttled": score.throttled,
        "p95 s": score.p95,
        "p95 / best": score.p95 / best.p95,
    }


if __name__ == "__main__":
    sys.exit(exit_code(run()))
