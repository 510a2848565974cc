"""The targets of the Makefile that start on a tiny input, what each of them writes, and those that run elsewhere.

The others are parts of CI, in `dev/ci.py`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
_TARGET: Final = re.compile(r"^((?:bench|faults|test)(?:-[a-z-]+)?|rehearse|topology-test):", re.MULTILINE)
_QUICK_TEST: Final = "tests/unit/foundation/test_clock.py"


@dataclass(frozen=True, slots=True)
class SmokeTarget:
    """A target, and how it becomes tiny where `BENCH_SIZE=tiny` is not enough.

    Attributes:
        results: names of the result files that it writes.
        pytest: further options of its pytest.
        variables: further variables of the Makefile.
    """

    name: str
    results: tuple[str, ...] = ()
    pytest: str = ""
    variables: tuple[str, ...] = ()


SMOKE: Final = (
    SmokeTarget("bench-scale", ("scale",)),
    SmokeTarget("bench-memory", ("memory",)),
    SmokeTarget("bench-serve", ("serve",)),
    SmokeTarget("faults", ("faults",)),
    SmokeTarget("faults-syscalls"),
    SmokeTarget("bench", ("compression", "reading")),
    SmokeTarget("bench-adaptive", ("adaptive",)),
    SmokeTarget("bench-admission", ("admission", "admission_inside", "admission_shared")),
    SmokeTarget("bench-backfill", ("backfill",)),
    SmokeTarget("bench-compression", ("compression",)),
    SmokeTarget("bench-fatigue", ("fatigue", "fatigue_months")),
    SmokeTarget("bench-forecast", ("forecast", "forecast-example-no-lag")),
    SmokeTarget("bench-impact", ("impact",)),
    SmokeTarget("bench-large-fleet", ("large_fleet",)),
    SmokeTarget("bench-log-check", ("log_check",)),
    SmokeTarget("bench-objects", ("object_store",)),
    SmokeTarget("bench-pages", ("pages",)),
    SmokeTarget("bench-patterns", ("patterns",)),
    SmokeTarget("bench-planning", ("planning_run",)),
    SmokeTarget("bench-quota", ("quota",)),
    SmokeTarget("bench-requests", ("requests",)),
    SmokeTarget("bench-sizing", ("sizing",)),
    SmokeTarget("bench-storm", ("storm",)),
    SmokeTarget("bench-strategies", ("strategies",)),
    SmokeTarget("bench-week", ("week",)),
    SmokeTarget("rehearse", pytest="-k wrong-clock"),
    SmokeTarget("test-all", variables=(f"ALL_TESTS={_QUICK_TEST}",)),
    SmokeTarget("test-simulation", ("simulated_hours",)),
    SmokeTarget("test-stateful"),
    SmokeTarget("test-times", pytest=_QUICK_TEST),
)
"""In the order in which they start: the longest first."""

ELSEWHERE: Final = {
    "test-matrix": "it installs every supported Python and Airflow, which takes an hour",
}
"""Targets that are neither tiny nor a part of CI, and why."""


def list_makefile_targets() -> list[str]:
    """Return the names of the targets of the Makefile that measure or test."""
    return _TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8"))
