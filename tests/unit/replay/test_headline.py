"""The headline of a replay states the multiple that was achieved."""

from typing import Any

from adwarm.replay.headline import get_headline


def _document(multiple: float, target: float = 2.0, plan: float | None = None) -> dict[str, Any]:
    row = {"target": target, "multiple": multiple, "calls": 210, "first_open_hit_ratio": 0.987}
    deployed = None if plan is None else {"multiple": plan, "calls": 152, "first_open_hit_ratio": 0.956}
    policy = {
        "name": "mine",
        "targets": [{**row, "target": 1.25, "multiple": 1.2}, row],
        "curve": [{"first_open_hit_ratio": 0.123}],
        "as_deployed": deployed,
    }
    return {"policies": [policy], "compared": None}


def test_the_achieved_multiple_is_stated() -> None:
    """When the multiple aimed at was met, it alone is named."""
    assert get_headline(_document(2.04))["text"] == (
        "With 2.04 x the calls of no warming, 98.7 % of first opens found a fresh report (no warming: 12.3 %)"
    )


def test_a_missed_multiple_is_said() -> None:
    """When other calls were made than aimed at, both are named."""
    text = get_headline(_document(1.22))["text"]
    assert "With 1.22 x the calls of no warming (aimed at 2 x), 98.7 %" in text


def test_a_forecast_has_the_point_of_its_plan() -> None:
    """The deployed plan aims at no multiple; its own one counts."""
    headline = get_headline(_document(2.0, plan=1.52))
    assert (headline["policy"], headline["multiple"], headline["target"]) == ("mine", 1.52, None)
    assert headline["text"].startswith("With 1.52 x the calls of no warming, 95.6 %")
