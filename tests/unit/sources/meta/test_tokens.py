"""What the platform says of a token, as others recorded it, and who may ask."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import BadRequest, TokenDead, Transient
from adwarm.settings import SourceSettings
from adwarm.sources.meta.source import MetaSource
from adwarm.sources.meta.tokens import parse_token_life
from adwarm.sources.meta.transport import MetaCredentials
from adwarm.sources.protocol import TokenLife
from graph_simulator.config import SimulatorConfig
from graph_simulator.fault_profile import parse_fault_profile
from graph_simulator.server import SimulatorServer

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SECRET = "app-secret"


def test_recorded_lives_of_tokens() -> None:
    """A time of 0 is never (logly/mureo#744); a token without a known end is not taken for one that never ends."""
    never: dict[str, Any] = {"app_id": "1", "type": "SYSTEM_USER", "is_valid": True, "expires_at": 0}
    assert parse_token_life({"data": never}) == TokenLife(None, None, "SYSTEM_USER")
    user = never | {"type": "USER", "expires_at": 1752254132, "data_access_expires_at": 1754846089}
    life = parse_token_life({"data": user})
    assert life == TokenLife(
        datetime(2025, 7, 11, 17, 15, 32, tzinfo=UTC), datetime(2025, 8, 10, 17, 14, 49, tzinfo=UTC), "USER"
    )
    with pytest.raises(TokenDead, match="Session has expired"):
        parse_token_life({"data": {"is_valid": False, "error": {"code": 190, "message": "Session has expired"}}})
    for body in ({}, {"data": []}, {"data": {"is_valid": True}}):
        with pytest.raises(Transient, match="when it ends"):
            parse_token_life(body)


def test_only_the_app_may_ask() -> None:
    """A system user's token cannot ask about itself (logly/mureo#740); one that never ends is not extended."""
    with SimulatorServer(SimulatorConfig(accounts=("act_1",), ads=1, app_secret=SECRET, now=NOW)) as server:

        def make(app_id: str | None) -> MetaSource:
            credentials = MetaCredentials(SecretStr("simulated-token"), app_id, SecretStr(SECRET))
            return MetaSource(credentials, SourceSettings(graph_url=server.url), clock=VirtualClock(NOW))

        with pytest.raises(BadRequest, match=r"must provide an app access token.*add app_id and app_secret"):
            make(None).read_token_life()
        assert make("7").read_token_life() == TokenLife(None, None, "SYSTEM_USER")
        with pytest.raises(BadRequest, match="nothing to extend"):
            make("7").extend_token()
        with pytest.raises(BadRequest, match="add app_id and app_secret"):
            make(None).extend_token()
        ends = {"token": {"expires_at": "2026-11-24T00:00:00Z"}}
        server.state.set_fault_profile(parse_fault_profile(ends, "test"))
        with pytest.raises(TokenDead, match="expired"):
            make("7").read_token_life()
