"""A source is built from a connection; errors say what is missing and contain no secret."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adwarm.foundation.errors import BadRequest
from adwarm.model import Account
from adwarm.settings import Settings
from adwarm.store import accounts

SECRET = "EAAplanted4711secret"
pytestmark = pytest.mark.usefixtures("airflow_home")


@pytest.fixture
def connection(airflow_home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Defines a connection by its extra."""

    def define(**extra: Any) -> str:
        values = {"conn_type": "facebook_social", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_PLANTED", json.dumps(values))
        return "planted"

    return define


def _factory(conn_id: str, **settings: Any) -> Any:
    from adwarm_airflow.connections import connection_source_factory

    return connection_source_factory(Settings(**settings), conn_id)


def test_a_connection_makes_a_source(connection: Any) -> None:
    """The source uses the connection's token and extras, and its accounts belong to the connection."""
    source = _factory(connection(access_token=SECRET, app_id="77", api_version="v25.0"))()
    assert [str(scope) for scope in source.scopes("act_1")][:2] == ["account:act_1", "app:77"]
    assert SECRET not in repr(source) + repr(vars(source))


def test_a_missing_connection_is_an_error(connection: Any) -> None:
    """The message says which connection to create, and with which extras."""
    with pytest.raises(BadRequest, match=r"'absent' does not exist; .*access_token"):
        _factory("absent")


@pytest.fixture
def without_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no default connection."""
    monkeypatch.delenv("AIRFLOW_CONN_FACEBOOK_DEFAULT")


PLACE = {"kind": "parquet", "url": "/nowhere"}


@pytest.mark.usefixtures("without_default")
@pytest.mark.parametrize(
    ("source", "name", "expected"),
    [
        ({"access_token": SECRET}, "meta", "the token in ADWARM_SOURCE__ACCESS_TOKEN is used"),
        (PLACE, "parquet", "the parquet source of ADWARM_SOURCE__"),
    ],
)
def test_settings_replace_the_default_connection(source: dict[str, Any], name: str, expected: str) -> None:
    """A token in the settings replaces it, or a source that needs none; the warning contains no token."""
    from adwarm_airflow.connections import default_replacement_message

    assert _factory("facebook_default", source=source)().name == name
    sentence = default_replacement_message(Settings(source=source), "does not exist")
    assert "'facebook_default' does not exist; " + expected in sentence
    assert SECRET not in sentence


def test_accounts_of_another_connection_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The warning names accounts whose connection the task lacks, and the connection that reads them now."""
    from adwarm_airflow.task_context import connection_change_warnings, open_runtime

    monkeypatch.setenv("ADWARM_HOME", str(tmp_path))
    connections = {"act_1": "gone", "act_2": "second", "act_3": "default", "act_4": "gone"}
    stored = [Account(name, connection=connection_id) for name, connection_id in connections.items()]
    accounts.save(open_runtime().engine, stored, datetime.now(UTC))

    assert connection_change_warnings("first,second", ["act_1", "act_2", "act_3", "act_5"]) == [
        "connection 'gone', which has read act_1 before, is not one of this task's; 'first' is used"
    ]
    assert connection_change_warnings("first,gone,second", list(connections)) == []


@pytest.mark.parametrize("source", [{"access_token": SECRET}, PLACE], ids=["token", "place"])
def test_a_mistyped_connection_is_an_error(connection: Any, source: dict[str, Any]) -> None:
    """The settings replace only the default connection; any other unknown id is an error, alone or among several."""
    from adwarm_airflow.task_context import open_runtime

    with pytest.raises(BadRequest, match="'facebok_default' does not exist; check its name"):
        _factory("facebok_default", source=source)
    with pytest.raises(BadRequest, match="'secnd' does not exist"):
        open_runtime(conn_id=f"{connection(access_token=SECRET)}, secnd")


@pytest.mark.parametrize("names", ["", "  ", " , "])
def test_no_connection_is_none(names: str) -> None:
    """An empty name is an error, not the settings' source."""
    from adwarm_airflow.task_context import open_runtime

    with pytest.raises(BadRequest, match="names no connection"):
        open_runtime(conn_id=names)


def test_a_named_connection_beats_the_settings_source(connection: Any) -> None:
    """The settings' source replaces only the default connection."""
    assert _factory(connection(access_token=SECRET), source=PLACE)().name == "meta"
    assert _factory("facebook_default", source=PLACE)().name == "parquet"


def test_a_missing_token_is_named_without_the_rest(connection: Any) -> None:
    """The message names the connection and contains nothing else of its extra."""
    with pytest.raises(BadRequest, match="'planted' has no access_token") as caught:
        _factory(connection(app_secret=SECRET))
    assert SECRET not in repr(caught.value)


def test_a_wrong_extra_is_named_without_the_secret(connection: Any) -> None:
    """The message names the invalid extra, and contains no secret."""
    with pytest.raises(BadRequest, match="api_version") as caught:
        _factory(connection(access_token=SECRET, app_secret=SECRET, api_version="v1.0"))
    assert SECRET not in repr(caught.value) + repr(caught.value.__cause__)


def test_several_connections_are_named_with_commas(connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one reads accounts that belong to none of them; each of the others reads its own."""
    first = connection(access_token=SECRET, app_id="77")
    extra = {"access_token": "another", "app_id": "88", "access_tier": "development_access"}
    monkeypatch.setenv("AIRFLOW_CONN_SECOND", json.dumps({"conn_type": "facebook_social", "extra": extra}))
    from adwarm_airflow.task_context import open_runtime

    engine = open_runtime(conn_id=f"{first}, second").prefetch_engine()
    sources = engine.sources
    assert set(sources.factories) == {"second"}
    apps = [str(make().scopes("act_1")[1]) for make in (sources.make_default, *sources.factories.values())]
    assert apps == ["app:77", "app:88"]
