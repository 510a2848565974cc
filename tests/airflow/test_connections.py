"""A connection becomes a source, or one sentence that says what is missing, without the secret."""

import json
from pathlib import Path
from typing import Any

import pytest

from adwarm.errors import BadRequest
from adwarm.settings import Settings

SECRET = "EAAplanted4711secret"
pytestmark = pytest.mark.usefixtures("airflow_home")


@pytest.fixture
def connection(airflow_home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Define a connection by its extra."""

    def define(**extra: Any) -> str:
        values = {"conn_type": "facebook_social", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_PLANTED", json.dumps(values))
        return "planted"

    return define


def _factory(conn_id: str, **settings: Any) -> Any:
    from adwarm_airflow.connections import source_factory

    return source_factory(Settings(**settings), conn_id)


def test_a_connection_makes_a_source(connection: Any) -> None:
    """Token and extras are taken from it, and accounts are kept under its name."""
    source = _factory(connection(access_token=SECRET, app_id="77", api_version="v25.0"))()
    assert [str(scope) for scope in source.scopes("act_1")][:2] == ["account:act_1", "app:77"]
    assert SECRET not in repr(source) + repr(vars(source))


def test_a_missing_connection_is_told(connection: Any) -> None:
    """The message says which one to create, and with what."""
    with pytest.raises(BadRequest, match=r"'absent' does not exist; .*access_token"):
        _factory("absent")


def test_settings_stand_in_for_a_missing_connection(connection: Any) -> None:
    """A token in the settings is enough; so is a source that needs none."""
    assert _factory("absent", source={"access_token": SECRET})().name == "meta"


def test_a_missing_token_is_told_without_the_rest(connection: Any) -> None:
    """The message names the connection and repeats nothing of its extra."""
    with pytest.raises(BadRequest, match="'planted' has no access_token") as caught:
        _factory(connection(app_secret=SECRET))
    assert SECRET not in repr(caught.value)


def test_a_wrong_extra_is_told_without_the_secret(connection: Any) -> None:
    """An extra that is not valid is named, and no secret beside it."""
    with pytest.raises(BadRequest, match="api_version") as caught:
        _factory(connection(access_token=SECRET, app_secret=SECRET, api_version="v1.0"))
    assert SECRET not in repr(caught.value) + repr(caught.value.__cause__)


def test_several_connections_are_named_with_commas(connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first stands for accounts that belong to none; the others read their own."""
    first = connection(access_token=SECRET, app_id="77")
    extra = {"access_token": "another", "app_id": "88", "access_tier": "development_access"}
    monkeypatch.setenv("AIRFLOW_CONN_SECOND", json.dumps({"conn_type": "facebook_social", "extra": extra}))
    from adwarm_airflow.house import open_runtime

    engine = open_runtime(conn_id=f"{first}, second").prefetch()
    assert set(engine.sources) == {"second"}
    apps = [str(make().scopes("act_1")[1]) for make in (engine.make_source, engine.sources["second"])]
    assert apps == ["app:77", "app:88"]
