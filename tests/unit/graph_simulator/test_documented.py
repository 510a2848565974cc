"""The how-to page and the example fault profile cover the whole simulator."""

from pathlib import Path

import pytest

from graph_simulator.control import router
from graph_simulator.fault_kinds import FaultKind, Route
from graph_simulator.fault_profile import (
    FaultProfile,
    FaultRule,
    PlatformSetting,
    Poison,
    QuotaSetting,
    ReportSetting,
    SizeSetting,
    TokenSetting,
    UsageSetting,
    UseCase,
    VersionSetting,
)

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/how-to/simulator.md").read_text(encoding="utf-8")


def test_every_fault_and_route_is_documented() -> None:
    """Each kind of fault, each route and each control route is on the page."""
    control = {str(getattr(route, "path", "")) for route in router.routes}

    assert [kind for kind in FaultKind if f"`{kind}`" not in PAGE] == []
    assert [route for route in Route if f"`{route}`" not in PAGE and route is not Route.OTHER] == []
    assert [path for path in sorted(control) if path not in PAGE] == []


def test_every_setting_of_a_profile_is_documented(subtests: pytest.Subtests) -> None:
    """Each setting of each part of a fault profile is on the page."""
    for part in [
        FaultProfile,
        QuotaSetting,
        ReportSetting,
        SizeSetting,
        UsageSetting,
        UseCase,
        Poison,
        TokenSetting,
        VersionSetting,
        PlatformSetting,
        FaultRule,
    ]:
        with subtests.test(part=part):
            assert [name for name in part.model_fields if f"`{name}`" not in PAGE and f"[{name}]" not in PAGE] == []
