"""Live impact in `adwarm status`: what is known, how wide the interval is, and what comes next."""

from datetime import date
from typing import Any

from adwarm.cli.impact_fields import get_impact_fields

REPORT: dict[str, Any] = {
    "next": "useful in about 5 weeks",
    "why": "the interval is still too wide to act on",
    "weeks": 6,
    "week": date(2026, 3, 2),
    "designs": 2,
    "treated": {"units": 90, "first_opens": 1_000, "first_hits": 800, "calls": 500, "hit_rate": 0.8},
    "held_out": {"units": 10, "first_opens": 100, "first_hits": 30, "calls": 0, "hit_rate": 0.3},
    "gain_per_call": 1.0,
    "low": 0.4,
    "high": 1.6,
    "half_width": 0.6,
    "confidence": 0.95,
}


def test_an_estimate_with_its_width() -> None:
    """The interval, its width, how long until it is useful, and both groups are there."""
    fields = get_impact_fields(REPORT)
    assert fields["hits_gained_per_call"] == "1.000"
    assert fields["interval"] == "0.400 to 1.600 (confidence 0.95, 0.600 to each side)"
    assert fields["usefulness"].startswith("useful in about 5 weeks")
    assert fields["held_out"] == "30.0% of 100 first opens found a fresh report, in 10 account weeks"


def test_without_an_estimate_there_is_the_next_step() -> None:
    """Off, or not measured yet: one line says what to do or wait for; an interval may be missing."""
    assert get_impact_fields({"next": "not measured; switch it on"}) == {"state": "not measured; switch it on"}
    early = {**REPORT, "gain_per_call": None, "low": None, "high": None, "half_width": None}
    assert get_impact_fields(early)["interval"] == "none yet"
    assert get_impact_fields(early)["hits_gained_per_call"] == "not known yet"
