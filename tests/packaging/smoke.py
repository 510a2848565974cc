"""Checks of an installed wheel, run by the interpreter of its environment; prints what it found as JSON.

It imports nothing of this checkout. Each part is a function; its result is compared by the test that runs it.
"""

import importlib
import json
import pkgutil
import sys
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

NOT_IMPORTED = ("adwarm.__main__", "adwarm.store.migrations.env", "adwarm_client.mcp_server")
"""A program, a script that runs inside alembic only, and what needs an extra of the client."""


EXTRA_MODULES = (
    "airflow.providers.celery.executors.celery_executor",
    "airflow.providers.fab.auth_manager.fab_auth_manager",
    "airflow.providers.redis.hooks.redis",
    "apprise",
    "gcsfs",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.instrumentation.asgi",
    "opentelemetry.instrumentation.requests",
    "opentelemetry.instrumentation.sqlalchemy",
    "psycopg2",
    "s3fs",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
)


def imports() -> list[str]:
    """Import every module of the four packages, and return those that cannot be."""
    broken = []
    for name in ("adwarm", "adwarm_airflow", "adwarm_client", "graph_simulator"):
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if module.name in NOT_IMPORTED or module.name.startswith("adwarm_airflow.dags"):
                continue
            try:
                importlib.import_module(module.name)
            except Exception as error:
                broken.append(f"{module.name}: {type(error).__name__}: {error}")
    return broken


def extras() -> list[str]:
    """Import what the extras bring, and return what cannot be imported."""
    broken = []
    for name in EXTRA_MODULES:
        try:
            importlib.import_module(name)
        except Exception as error:
            broken.append(f"{name}: {type(error).__name__}: {error}")
    return broken


def provider() -> dict[str, Any]:
    """Validate the provider info by Airflow's schema, and return what Airflow makes of it."""
    import jsonschema
    from airflow.providers_manager import ProvidersManager

    from adwarm_airflow.provider_info import get_provider_info

    schema = json.loads((resources.files("airflow") / "provider_info.schema.json").read_text("utf-8"))
    info = get_provider_info()
    jsonschema.validate(info, schema)
    modules = [
        name
        for kind in ("operators", "sensors", "hooks", "triggers", "bundles")
        for entry in info[kind]
        for name in entry["python-modules"]
    ]
    for name in modules:
        importlib.import_module(name)
    manager = ProvidersManager()
    hook = manager.hooks["adwarm_meta"]
    assert hook is not None
    widgets = {
        name.removeprefix("extra__adwarm_meta__"): widget.is_sensitive
        for name, widget in manager.connection_form_widgets.items()
        if name.startswith("extra__adwarm_meta__")
    }
    return {
        "version": manager.providers["adwarm"].version,
        "testable": hook.connection_testable,
        "hook": hook.hook_name,
        "secret_fields": sorted(name for name, is_secret in widgets.items() if is_secret),
        "fields": sorted(widgets),
        "links": sorted(name for name in manager.extra_links_class_names if name.startswith("adwarm_airflow.")),
    }


def plugin() -> dict[str, Any]:
    """Return how often the plugin is loaded, from where, and which plugins Airflow could not import."""
    from airflow import plugins_manager

    plugins, errors = plugins_manager._get_plugins()
    return {"sources": [str(item.source) for item in plugins if item.name == "adwarm"], "errors": errors}


def dags() -> dict[str, Any]:
    """Parse the DAGs of the configured bundles, and return their ids and the import errors."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag

    manager = DagBundlesManager()
    ids, errors = [], {}
    for bundle in manager.get_all_dag_bundles():
        bundle.initialize()
        bag = BundleDagBag(bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
        ids += list(bag.dags)
        errors |= bag.import_errors
    return {"ids": sorted(ids), "errors": errors}


def page() -> int:
    """Build the page, and return the number of its routes."""
    from adwarm_airflow.page import build_app

    return len(build_app().routes)


def versions() -> dict[str, str]:
    """Return the versions that a table of results names."""
    names = ("apache-airflow", "pandas", "numpy", "sqlalchemy", "pyarrow")
    return {"python": sys.version.split()[0], **{name: version(name) for name in names}}


def location() -> str:
    """Return the folder of the imported product."""
    import adwarm

    return str(Path(adwarm.__file__).parent)


PARTS = {part.__name__: part for part in (imports, extras, provider, plugin, dags, page, versions, location)}

if __name__ == "__main__":
    print(json.dumps({name: PARTS[name]() for name in sys.argv[1:]}))
