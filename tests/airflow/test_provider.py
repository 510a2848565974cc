"""What an installed adwarm tells Airflow: provider info, the hook of its connection type, plugin and bundle."""

import json
import runpy
from importlib import import_module, metadata, resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest

from adwarm.foundation.errors import BadRequest
from graph_simulator.server import SimulatorServer

ROOT = Path(__file__).resolve().parents[2]
SECRET = "EAAplanted4711secret"
pytestmark = pytest.mark.usefixtures("airflow_home")


def test_the_provider_info_follows_airflows_schema() -> None:
    """The info is valid, every module and class that it names exists, and it covers every operator and trigger."""
    from adwarm_airflow.hooks.meta import MetaHook
    from adwarm_airflow.page_links import LINKS
    from adwarm_airflow.provider_info import get_provider_info

    info = get_provider_info()
    jsonschema.validate(info, json.loads((resources.files("airflow") / "provider_info.schema.json").read_text("utf-8")))
    named = {
        name
        for kind in ("operators", "sensors", "hooks", "triggers", "bundles")
        for entry in info[kind]
        for name in entry["python-modules"]
    }
    for name in named:
        import_module(name)
    folders = ("operators", "triggers", "hooks")
    files = {
        f"adwarm_airflow.{folder}.{path.stem}"
        for folder in folders
        for path in (ROOT / "plugins/adwarm_airflow" / folder).glob("[!_]*.py")
    }
    assert files <= named
    assert set(info["extra-links"]) == {f"adwarm_airflow.page_links.{type(link).__name__}" for link in LINKS}
    (connection,) = info["connection-types"]
    assert (connection["connection-type"], connection["hook-name"]) == (MetaHook.conn_type, MetaHook.hook_name)


def test_every_asset_has_a_dataset_of_openlineage(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenLineage drops an asset whose scheme no provider converts; each of ours has a name in one namespace."""
    from airflow.providers.common.compat.openlineage import facet
    from airflow.sdk import Asset

    from adwarm_airflow import assets
    from adwarm_airflow.provider_info import get_provider_info

    # OpenLineage is not installed here, and Airflow then has None for its classes.
    monkeypatch.setattr(facet, "Dataset", SimpleNamespace)
    (declared,) = get_provider_info()["asset-uris"]
    module, _, name = declared["to_openlineage_converter"].rpartition(".")
    convert = getattr(import_module(module), name)
    own = [value for value in vars(assets).values() if isinstance(value, Asset)]
    assert declared["schemes"] == list({asset.uri.partition(":")[0] for asset in own})
    datasets = [convert(Asset(uri=asset.uri), None) for asset in own]
    assert {item.namespace for item in datasets} == {"adwarm"}
    assert {item.name for item in datasets} == {asset.name.removeprefix("adwarm_") for asset in own}


def test_the_form_masks_every_secret() -> None:
    """Token and secret are password fields, and each field is an extra that connections are read from."""
    from adwarm_airflow.connections import _PLAIN_EXTRAS
    from adwarm_airflow.provider_info import get_provider_info

    fields = get_provider_info()["connection-types"][0]["conn-fields"]
    secret = {name for name, field in fields.items() if field["schema"].get("format") == "password"}
    assert secret == {"access_token", "app_secret"}
    assert set(fields) == secret | set(_PLAIN_EXTRAS)


@pytest.fixture
def define(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Defines the connection `planted`."""

    def connection(conn_type: str, **extra: str) -> str:
        monkeypatch.setenv("AIRFLOW_CONN_PLANTED", json.dumps({"conn_type": conn_type, "extra": extra}))
        return "planted"

    return connection


@pytest.mark.parametrize("conn_type", ["adwarm_meta", "facebook_social"])
def test_both_types_are_the_platform(define: Any, conn_type: str) -> None:
    """A connection of either type makes the same source."""
    from adwarm.settings import Settings
    from adwarm_airflow.connections import connection_source_factory

    source = connection_source_factory(Settings(), define(conn_type, access_token=SECRET, app_id="77"))()
    assert [str(scope) for scope in source.scopes("act_1")][:2] == ["account:act_1", "app:77"]


def test_the_test_button_calls_the_platform(define: Any, simulator: SimulatorServer) -> None:
    """A valid token is counted by its accounts; a dead one and an incomplete connection say what to do, unprinted."""
    from adwarm_airflow.hooks.meta import MetaHook

    conn_id = define("adwarm_meta", access_token="simulated-token", graph_url=simulator.url)
    MetaHook(conn_id).get_conn().get_account("act_4711")  # the simulator lists the accounts that were requested
    ok, message = MetaHook(conn_id).test_connection()
    assert ok
    assert "the token" in message
    ok, message = MetaHook(define("adwarm_meta", access_token=SECRET, graph_url=simulator.url)).test_connection()
    assert not ok
    assert message
    assert SECRET not in message
    ok, message = MetaHook(define("adwarm_meta", app_secret=SECRET)).test_connection()
    assert (ok, "no access_token" in message, SECRET in message) == (False, True, False)


def test_the_hook_refuses_other_connections(define: Any) -> None:
    """A connection of another type, or none, is an error that names it."""
    from adwarm_airflow.hooks.meta import MetaHook

    with pytest.raises(BadRequest, match="is of type 'http'; the ad platform needs adwarm_meta or facebook_social"):
        MetaHook(define("http")).get_conn()
    with pytest.raises(BadRequest, match="'absent' does not exist"):
        MetaHook("absent").get_conn()


def test_the_bundle_finds_the_dags() -> None:
    """In a checkout it is the folder at the top; it takes the arguments of every bundle, and no path."""
    from adwarm_airflow.bundle import AdwarmDagBundle

    bundle = AdwarmDagBundle(name="adwarm", refresh_interval=30)
    assert bundle.path == ROOT / "dags"
    assert bundle.get_current_version() is None


def test_a_bundle_without_dags_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names both folders in which they were looked for."""
    from adwarm_airflow import bundle

    monkeypatch.setattr(bundle, "_PACKAGE", tmp_path / "plugins/adwarm_airflow")
    with pytest.raises(FileNotFoundError, match="install adwarm again"):
        bundle.find_dags()


@pytest.mark.parametrize("is_installed", [True, False])
def test_the_folders_file_registers_only_what_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, is_installed: bool
) -> None:
    """Airflow reports a second plugin of one name as an error, so beside an installed one the file has none."""
    found = [metadata.EntryPoint("adwarm", "adwarm_airflow.plugin:AdwarmPlugin", "airflow.plugins")] * is_installed
    monkeypatch.setattr(metadata, "entry_points", lambda **_: found)
    names = runpy.run_path(str(ROOT / "plugins/adwarm_plugin.py"))
    assert ("AdwarmPlugin" in names) is not is_installed
