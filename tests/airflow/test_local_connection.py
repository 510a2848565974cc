"""The connection of the local Airflow: in the database, where the UI shows it, and the user's once edited."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.connection import CONNECTION_ID, connection_extra, save_connection

FIRST, SECOND = "http://127.0.0.1:8900", "http://127.0.0.1:8901"


@pytest.fixture(autouse=True)
def no_connection(airflow_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Airflow's database without the connection, before and after."""
    monkeypatch.delenv("AIRFLOW_CONN_FACEBOOK_DEFAULT")
    _delete()
    yield
    _delete()


def _delete() -> None:
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        session.query(Connection).filter_by(conn_id=CONNECTION_ID).delete()


def _stored(**changes: str) -> tuple[str, dict[str, Any]]:
    """Return type and extra of the connection, after setting `changes` in its extra."""
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        found = session.query(Connection).filter_by(conn_id=CONNECTION_ID).one()
        if changes:
            found.set_extra(json.dumps({**found.extra_dejson, **changes}))
        return found.conn_type, found.extra_dejson


def test_it_has_the_fields_of_the_platforms_hook() -> None:
    """Airflow's Facebook hook finds every field that it needs."""
    from airflow.providers.facebook.ads.hooks.ads import FacebookAdsReportingHook

    assert "added" in save_connection(FIRST, None)
    kind, extra = _stored()
    assert kind == "adwarm_meta"
    assert extra == connection_extra(FIRST)
    assert set(FacebookAdsReportingHook().client_required_fields) <= set(extra)


def test_a_later_start_follows_the_simulator_and_nothing_else() -> None:
    """The address of the last start is replaced; other fields, and an address of the user's own, stay."""
    save_connection(FIRST, None)
    assert "kept" in save_connection(FIRST, FIRST)
    _stored(access_token="own-token", note="mine")
    assert "moved" in save_connection(SECOND, FIRST)
    assert _stored()[1] == {**connection_extra(SECOND), "access_token": "own-token", "note": "mine"}
    _stored(graph_url="http://127.0.0.1:9999")
    assert "kept" in save_connection(FIRST, SECOND)
    assert _stored()[1]["graph_url"] == "http://127.0.0.1:9999"
