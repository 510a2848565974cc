"""The configuration is validated, and hides its secrets."""

import pytest

from graph_simulator.config import SimulatorConfig
from graph_simulator.error_responses import InvalidValue


@pytest.mark.parametrize(
    "wrong",
    [{"ads": 0}, {"seed": -1}, {"zone": "Mars/Base"}, {"zone": {"act_1": "nowhere"}}, {"time_scale": 0}, {"decoys": 2}],
)
def test_invalid_settings(wrong: dict[str, object]) -> None:
    """A setting out of range, or an unknown time zone, is an error at construction."""
    with pytest.raises(InvalidValue):
        SimulatorConfig(**wrong)  # type: ignore[arg-type]


def test_secrets_are_not_printed() -> None:
    """`repr` of a configuration shows neither the token nor the secret."""
    shown = repr(SimulatorConfig(token="tok-123", app_secret="sec-456"))
    assert "tok-123" not in shown
    assert "sec-456" not in shown
