"""Storms are read from files, and mistakes in them are named."""

from pathlib import Path
from typing import Any

import pytest

from graph_simulator.fault_kinds import FaultKind
from graph_simulator.fault_profile import FaultProfile, load_fault_profile, parse_fault_profile
from graph_simulator.graph_errors import InvalidValue

EXAMPLE = Path(__file__).parents[3] / "examples/storm.toml"


def test_the_example_is_a_storm() -> None:
    """The example file is read, and shows limits, sizes, poison and most faults."""
    storm = load_fault_profile(EXAMPLE)
    assert storm.quota is not None
    assert storm.size.sync_rows
    assert storm.poison
    assert len({rule.kind for rule in storm.fault}) >= 13


def test_nothing_means_calm() -> None:
    """An empty storm has no limits, no sizes and no faults."""
    assert parse_fault_profile({}, "storm") == FaultProfile()
    assert FaultProfile().quota is None
    assert not FaultProfile().fault


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"weather": 1}, "weather"),
        ({"fault": [{"kind": "hail"}]}, "fault.0.kind"),
        ({"fault": [{"kind": FaultKind.RESET, "rate": 2}]}, "fault.0.rate"),
        ({"quota": {"tier": "gold"}}, "quota.tier"),
        ({"poison": [{"account": "act_1"}]}, "poison.0"),
        ([], "the file"),
    ],
)
def test_mistakes_are_named_with_their_place(values: Any, place: str) -> None:
    """What is wrong is refused, and the message says where."""
    with pytest.raises(InvalidValue, match=place):
        parse_fault_profile(values, "storm.toml")


def test_files_that_are_none(tmp_path: Path) -> None:
    """A missing file and one that is not TOML are refused by name."""
    with pytest.raises(InvalidValue, match="--faults takes a TOML file"):
        load_fault_profile(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[fault", encoding="utf-8")
    with pytest.raises(InvalidValue, match="is not TOML"):
        load_fault_profile(broken)
