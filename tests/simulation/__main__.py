"""Runs many seeds of the simulated hour on every core; exits with 1 if an invariant was broken or it took too long."""

import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.benchmarks.measure import exit_code, save_results, sized

from .hour import MINIMUM_CALLS, HourResult, draw_scenario, simulate_hour
from .watch import InvariantViolation

SEEDS = sized(1_000, 2)
LONGEST_SECONDS = 60.0


def simulate_all(seeds: tuple[int, ...]) -> list[HourResult | str]:
    """Return the result of each seed's hour, or the invariant that it broke."""
    courses: list[HourResult | str] = []
    for seed in seeds:
        try:
            courses.append(simulate_hour(draw_scenario(seed)))
        except InvariantViolation as broken:
            courses.append(str(broken))
    return courses


def main(seeds: int) -> int:
    """Run, print a table, write `.adwarm/bench/simulated_hours.json`, and return the exit code."""
    started = time.perf_counter()
    with ProcessPoolExecutor() as pool:
        parts = [tuple(range(first, min(seeds, first + 10))) for first in range(0, seeds, 10)]
        found = [course for part in pool.map(simulate_all, parts) for course in part]
    seconds = time.perf_counter() - started
    broken = [course for course in found if isinstance(course, str)]
    courses = [course for course in found if isinstance(course, HourResult)]
    fewest = min((course.calls for course in courses), default=0)
    for text in broken[:20]:
        print(f"broken: {text}")
    save_results(
        "simulated_hours",
        f"{seeds:,} simulated hours of ten accounts",
        [
            {"what": "promises broken", "value": len(broken), "wanted": "0"},
            {"what": "fewest calls of an hour", "value": fewest, "wanted": f">= {MINIMUM_CALLS}"},
            {"what": "calls in all", "value": sum(course.calls for course in courses), "wanted": "-"},
            {
                "what": "stretches in which shares were judged",
                "value": sum(c.windows for c in courses),
                "wanted": "> 0",
            },
            {"what": "seconds", "value": round(seconds, 1), "wanted": f"< {LONGEST_SECONDS:.0f} per 1,000"},
        ],
    )
    is_good = not broken and fewest >= MINIMUM_CALLS
    is_fast = seconds < LONGEST_SECONDS * max(1.0, seeds / SEEDS)
    print("PASS" if is_good and is_fast else "FAIL")
    return exit_code(is_fast) if is_good else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS))
