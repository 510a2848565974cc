"""The targets of the fatigue benchmark: what is checked, from which figures, and what the saved file may hold."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from tests.benchmarks import fatigue
from tests.benchmarks.fatigue_cost import draw_costs, measure_growth
from tests.benchmarks.fatigue_metrics import Rate
from tests.benchmarks.targets import TargetResults


def _row(name: str, delay: float, recall: float, false: int) -> dict[str, Any]:
    return {"what": name, "recall 14": np.float64(recall), "delay": np.float64(delay), "false at .8": false}


def _scenario(delay: float = 5.0, recall: float = 0.95, false: int = 30) -> list[dict[str, Any]]:
    return [
        _row(fatigue.ALARM, delay, recall, 0),
        _row(fatigue.ALARM_UNLIMITED, delay, recall, false),
        _row(fatigue.BEST_CUSUM, 6, 0.9, 60),
        _row(fatigue.ORACLE, 4, 0.99, 0),
    ]


def test_simulated_targets(subtests: pytest.Subtests) -> None:
    """Recall, delay and the ratio of false alarms are checked on both growths at the exponent -0.20."""
    for changes, missed in (
        ({}, 0),
        ({"recall": 0.86}, 2),
        ({"delay": 6.0}, 2),
        ({"delay": np.inf}, 2),
        ({"false": 50}, 2),
    ):
        with subtests.test(changes=changes, missed=missed):
            results = TargetResults("fatigue", "any")
            fatigue._check_simulated(results, [_scenario(**changes)] * 3)
            assert len(results.results) == 6
            assert sum(not result.holds for result in results.results) == missed
            json.dumps([asdict(result) for result in results.results])


def test_few_false_alarms_give_no_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    """A ratio to a handful of alarms says nothing, and the report says so."""
    rows = _scenario()
    rows[2]["false at .8"] = 1
    results = TargetResults("fatigue", "any")
    fatigue._check_simulated(results, [rows] * 3)
    assert len(results.results) == 4
    assert "the best CUSUM has 1 false alarm, too few for a ratio" in capsys.readouterr().out


def test_rates_are_checked_by_their_intervals() -> None:
    """Simulated rates must be below the guarantee as a whole, few real series only not above it for sure."""
    real = {
        "rows": [
            {"what": "raw days: adwarm alarm", "in 180 ad-days": 2.1, "low": 1.4},
            {"what": "raw days: 3-day drop rule", "in 180 ad-days": 9.0, "low": 5.0},
            {"what": "random order: adwarm alarm", "in 180 ad-days": 1.1, "low": 0.9},
        ]
    }
    results = TargetResults("fatigue", "any")
    fatigue._check_rates(results, Rate(9, 1_000, 0.8, 1.02), Rate(9, 1_000, 0.4, 0.9), real)
    assert [result.holds for result in results.results] == [False, True, False, True]


def test_what_is_saved_is_json() -> None:
    """Infinite and unknown figures become null, numpy scalars plain numbers."""
    value = {"a": [np.float64(1.5), np.inf, float("nan")], "b": np.int64(3), "c": None}
    assert json.loads(json.dumps(fatigue._json_ready(value))) == {"a": [1.5, None, None], "b": 3, "c": None}


def test_growth_of_cost(tmp_path: Any) -> None:
    """The power is 1 for linear and 2 for quadratic times, and the plot names each size."""
    linear = [{"what": f"{size:,} ad-days", "seconds": size / 1e6} for size in (125_000, 500_000, 1_000_000)]
    assert measure_growth(linear) == pytest.approx(1.0)
    squared = [{**row, "seconds": row["seconds"] ** 2} for row in linear]
    assert measure_growth(squared) == pytest.approx(2.0)
    text = draw_costs(linear, tmp_path / "cost.svg").read_text(encoding="utf-8")
    assert "0.125 M" in text
    assert "1.00 s" in text
