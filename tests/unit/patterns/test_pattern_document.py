"""Levels of the heat map, and words for reader zones."""

from adwarm.patterns.pattern_document import describe_zones, heat_levels


def test_levels_grow_with_the_rate() -> None:
    """Nothing is level 0, anything at least 1, the highest rate the highest level."""
    assert heat_levels([0, 0.01, 4, 5, 8], 8) == [0, 1, 4, 5, 8]
    assert heat_levels([0, 0], 8) == [0, 0]


def test_zones_have_shares() -> None:
    """One zone stands alone; of several the largest are named."""
    assert describe_zones({"UTC": 3}) == "UTC"
    assert describe_zones({"A": 3, "B": 1}, limit=1) == "A 75% and 1 more"
    assert describe_zones({}) == ""
