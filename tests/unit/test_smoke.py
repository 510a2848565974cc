"""The list of targets that `make test-smoke` starts, and the shape that their results must have."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dev import ci
from tests.benchmarks.__main__ import BENCHMARKS
from tests.smoke.result_shape import find_faults
from tests.smoke.targets import ELSEWHERE, SMOKE, list_makefile_targets

GOOD: dict[str, Any] = {
    "name": "planning",
    "machine": {"python": "3.11", "machine": "x86_64", "system": "Linux"},
    "rows": [{"what": "ours", "seconds": 1.5}, {"what": "a peer: not installed", "seconds": None}],
}


def test_every_target_of_the_makefile_is_started() -> None:
    """A new benchmark, set of faults or test is in exactly one list: tiny in CI, as it is in CI, or elsewhere."""
    targets = list_makefile_targets()
    parts = [part.name for part in (*ci.FIRST, *ci.OTHERS) if part.name in targets]
    listed = Counter([*{target.name for target in SMOKE}, *parts, *ELSEWHERE])

    assert listed == Counter(targets)
    assert len({target.label for target in SMOKE}) == len(SMOKE)
    assert {target.label for target in SMOKE if target.name == "bench"} == {f"bench:{name}" for name in BENCHMARKS}


def test_benchmarks_have_results() -> None:
    """Each benchmark names the files that are checked."""
    assert [target.label for target in SMOKE if target.name == "bench" and not target.results] == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, None),
        ({"name": "other"}, "its name is other"),
        ({"machine": {"python": "3.11"}}, "on which machine"),
        ({"rows": []}, "it has no rows"),
        ({"rows": [{"what": "ours", "seconds": float("nan")}]}, "a figure is NaN"),
        ({"rows": [{"what": "ours", "seconds": float("inf")}]}, "a figure is Infinity"),
        ({"rows": [{"what": "a", "seconds": 1.0}, {"what": "b"}]}, "row 2 has the keys what instead of"),
        ({"rows": [{"what": "ours", "seconds": None}]}, "no figures"),
    ],
)
def test_shape_of_a_result(change: dict[str, Any], fault: str | None, tmp_path: Path) -> None:
    """A result has a name, a machine, and rows of equal keys with finite figures."""
    path = tmp_path / "planning.json"
    path.write_text(json.dumps({**GOOD, **change}), encoding="utf-8")

    faults = find_faults(path)

    assert (faults == []) if fault is None else (len(faults) >= 1 and fault in faults[0])


def test_a_result_that_was_not_written(tmp_path: Path) -> None:
    """A missing file is a fault of its own."""
    assert find_faults(tmp_path / "planning.json") == ["planning.json was not written"]
