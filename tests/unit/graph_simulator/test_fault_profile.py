"""Fault profiles are read from files, and errors name the wrong setting."""

from pathlib import Path
from typing import Any

import pytest

from graph_simulator.error_responses import InvalidValue
from graph_simulator.fault_kinds import FaultKind
from graph_simulator.fault_profile import FaultProfile, load_platform_file, parse_fault_profile

EXAMPLE = Path(__file__).parents[3] / "examples/storm.toml"


def test_the_example_file() -> None:
    """The example file is valid, and has limits, sizes, poison, most faults and a clock of its own."""
    platform, profile = load_platform_file(EXAMPLE)
    assert (platform.time_scale, platform.zone) == (120, "UTC")
    assert profile.quota is not None
    assert profile.size.sync_rows
    assert profile.poison
    assert len({rule.kind for rule in profile.fault}) >= 13


def test_an_empty_profile_has_no_effect() -> None:
    """An empty profile has no limits, no sizes and no faults."""
    assert parse_fault_profile({}, "profile") == FaultProfile()
    assert FaultProfile().quota is None
    assert not FaultProfile().fault


@pytest.mark.parametrize(
    ("values", "location"),
    [
        ({"weather": 1}, "weather"),
        ({"fault": [{"kind": "hail"}]}, "fault.0.kind"),
        ({"fault": [{"kind": FaultKind.RESET, "rate": 2}]}, "fault.0.rate"),
        ({"quota": {"tier": "gold"}}, "quota.tier"),
        ({"poison": [{"account": "act_1"}]}, "poison.0"),
        ([], "the file"),
    ],
)
def test_errors_name_the_location(values: Any, location: str) -> None:
    """An invalid profile is rejected with the location of the error."""
    with pytest.raises(InvalidValue, match=location):
        parse_fault_profile(values, "storm.toml")


def test_unreadable_files(tmp_path: Path) -> None:
    """A missing file, and one that is not TOML, are errors that name the file."""
    with pytest.raises(InvalidValue, match="--faults takes a TOML file"):
        load_platform_file(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[fault", encoding="utf-8")
    with pytest.raises(InvalidValue, match="is not TOML"):
        load_platform_file(broken)
    broken.write_text("[platform]\ndecoys = 2", encoding="utf-8")
    with pytest.raises(InvalidValue, match=r"broken\.toml: platform: decoys"):
        load_platform_file(broken)
