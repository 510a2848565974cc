"""Tests of building the sources that the settings name."""

from datetime import timedelta

import pytest
from pydantic import SecretStr

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import BadRequest, Throttled
from adwarm.settings import Settings, SourceSettings
from adwarm.sources.factory import build_factories, build_factory
from tests.unit.sources.conftest import ScriptedServer


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (SourceSettings(access_token=SecretStr("t")), "meta"),
        (SourceSettings(kind="parquet", url="/data"), "parquet"),
        (SourceSettings(kind="sql", url="sqlite://", table="ads.insights"), "sql"),
    ],
)
def test_each_kind(source: SourceSettings, name: str) -> None:
    """Each call of the factory builds a new source of its kind."""
    make = build_factory(Settings(source=source), "acme")
    assert make().name == name
    assert make() is not make()


@pytest.mark.parametrize(
    ("source", "variable"),
    [
        (SourceSettings(), "ADWARM_SOURCE__ACCESS_TOKEN"),
        (SourceSettings(kind="parquet"), "ADWARM_SOURCE__URL"),
        (SourceSettings(kind="sql"), "ADWARM_SOURCE__URL"),
    ],
)
def test_a_missing_setting_is_named(source: SourceSettings, variable: str) -> None:
    """A missing setting is refused at once, with the name of its variable."""
    with pytest.raises(BadRequest, match=variable):
        build_factory(Settings(source=source))


def test_parking_times_use_the_runs_clock(scripted: ScriptedServer, clock: VirtualClock) -> None:
    """A run at another time gets parking times of that time."""
    source = SourceSettings(access_token=SecretStr("t"), graph_url=scripted.url)
    scripted.add_reply({"error": {"code": 4, "error_subcode": 1504022}}, 400)
    with pytest.raises(Throttled) as caught:
        build_factory(Settings(source=source), clock=clock)().get_account("act_1")
    assert caught.value.until == clock.now() + timedelta(seconds=60)


def test_connections_override_the_source_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each named connection has its own token and takes everything else from the source settings."""
    values = {
        "SOURCE__ACCESS_TOKEN": "one",
        "SOURCE__APP_ID": "77",
        "CONNECTIONS__EU__ACCESS_TOKEN": "two",
        "CONNECTIONS__US__ACCESS_TOKEN": "three",
        "CONNECTIONS__US__APP_ID": "88",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"ADWARM_{name}", value)
    made = {name: make() for name, make in build_factories(Settings()).items()}
    scopes = {name: [str(scope) for scope in source.scopes("act_1")] for name, source in made.items()}
    assert (scopes["eu"][1], scopes["us"][1]) == ("app:77", "app:88")
    assert scopes["eu"][2] != scopes["us"][2]
