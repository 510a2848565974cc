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

    @property
    def label(self) -> str:
        """The name, with that of a benchmark or of a set of faults: `bench:storm`."""
        pairs = (text.partition("=") for text in self.variables)
        return ":".join([self.name, *(value for name, _, value in pairs if name in {"NAME", "SET"})])


SMOKE: Final = (
    SmokeTarget("bench", ("scale",), variables=("NAME=scale",)),
    SmokeTarget("bench", ("memory",), variables=("NAME=memory",)),
    SmokeTarget("bench", ("serve",), variables=("NAME=serve",)),
    SmokeTarget("faults", ("faults",)),
    SmokeTarget("faults", variables=("SET=syscalls",)),
    SmokeTarget("bench", ("adaptive",), variables=("NAME=adaptive",)),
    SmokeTarget("bench", ("admission",), variables=("NAME=admission",)),
    SmokeTarget("bench", ("backfill",), variables=("NAME=backfill",)),
    SmokeTarget("bench", ("commands",), variables=("NAME=commands",)),
    SmokeTarget("bench", ("compression",), variables=("NAME=compression",)),
    SmokeTarget("bench", ("fatigue-cost",), variables=("NAME=fatigue-cost",)),
    SmokeTarget("bench", ("fatigue-worlds",), variables=("NAME=fatigue-worlds",)),
    SmokeTarget("bench", ("forecast", "forecast-example-no-lag"), variables=("NAME=forecast",)),
    SmokeTarget("bench", ("large_fleet",), variables=("NAME=large-fleet",)),
    SmokeTarget("bench", ("log_check",), variables=("NAME=log-check",)),
    SmokeTarget("bench", ("object_store",), variables=("NAME=objects",)),
    SmokeTarget("bench", ("pages",), variables=("NAME=pages",)),
    SmokeTarget("bench", ("patterns",), variables=("NAME=patterns",)),
    SmokeTarget("bench", ("planning_run",), variables=("NAME=planning",)),
    SmokeTarget("bench", ("quota",), variables=("NAME=quota",)),
    SmokeTarget("bench", ("requests",), variables=("NAME=requests",)),
    SmokeTarget("bench", ("walks",), variables=("NAME=walks",)),
    SmokeTarget("bench", ("warming",), variables=("NAME=warming",)),
    SmokeTarget("bench", ("sizing",), variables=("NAME=sizing",)),
    SmokeTarget("bench", ("storm",), variables=("NAME=storm",)),
    SmokeTarget("bench", ("strategies",), variables=("NAME=strategies",)),
    SmokeTarget("rehearse", pytest="-k wrong-clock"),
    SmokeTarget("test-all", variables=(f"ALL_TESTS={_QUICK_TEST}",)),
    SmokeTarget("test-simulation", ("simulated_hours",)),
    SmokeTarget("test-stateful"),
    SmokeTarget("test-times", pytest=_QUICK_TEST),
)
"""In the order in which they start: the longest first."""

ELSEWHERE: Final = {
    "test-matrix": "it installs every supported Python and Airflow, which takes an hour",
    "test-superset": "it installs Superset, which takes minutes",
}
"""Targets that are neither tiny nor a part of CI, and why."""


def list_makefile_targets() -> list[str]:
    """Return the names of the targets of the Makefile that measure or test."""
    return _TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8"))
