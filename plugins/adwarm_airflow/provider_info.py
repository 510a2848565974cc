"""What the entry point `apache_airflow_provider` reports: connection type, operators, hooks, triggers, links, assets.

Airflow calls it in every process that looks for providers, so it imports nothing of the product.
"""

from importlib.metadata import version
from typing import Any, Final

DOCS_URL: Final = "https://adwarm.github.io/adwarm/"
_INTEGRATION: Final = "adwarm"
_OPERATORS: Final = (
    "admitted",
    "approval",
    "compress",
    "drain_requests",
    "fatigue",
    "prefetch",
    "recovering",
    "warm_batch",
)
_LINKS: Final = ("FatigueLink", "FlowLink", "ReviewPageLink", "RunPlanLink")


def get_provider_info() -> dict[str, Any]:
    """Return the provider info of this distribution, which follows `airflow/provider_info.schema.json`."""
    return {
        "package-name": "adwarm",
        "name": "adwarm",
        "description": "Keeps ad dashboards warm: learns when each report is opened and fetches it just before.",
        "versions": [version("adwarm")],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": DOCS_URL,
                "logo": "/adwarm/static/icon.svg",
                "tags": ["service"],
            }
        ],
        "operators": _modules(*(f"adwarm_airflow.operators.{name}" for name in _OPERATORS)),
        "sensors": _modules("adwarm_airflow.operators.keys_warm"),
        "hooks": _modules("adwarm_airflow.hooks.meta"),
        "triggers": _modules("adwarm_airflow.triggers.capacity", "adwarm_airflow.triggers.requests"),
        "bundles": _modules("adwarm_airflow.bundle"),
        "asset-uris": [
            {
                "schemes": ["adwarm"],
                "handler": None,
                "to_openlineage_converter": "adwarm_airflow.lineage.convert_asset",
            }
        ],
        "extra-links": [f"adwarm_airflow.page_links.{name}" for name in _LINKS],
        "connection-types": [
            {
                "connection-type": "adwarm_meta",
                "hook-class-name": "adwarm_airflow.hooks.meta.MetaHook",
                "hook-name": "Meta Insights (adwarm)",
                "conn-fields": _connection_fields(),
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "schema", "login", "password", "port"],
                    "relabeling": {},
                    "placeholders": {},
                },
            }
        ],
    }


def _modules(*names: str) -> list[dict[str, Any]]:
    return [{"integration-name": _INTEGRATION, "python-modules": list(names)}]


def _connection_fields() -> dict[str, Any]:
    """Return the fields of the form; each is an extra of the same name."""
    return {
        "access_token": _field("Access token", "A system user's token with the permission ads_read.", "password"),
        "app_id": _field("App id", "The app that the token belongs to; calls of one app share its quota."),
        "app_secret": _field("App secret", "Optional: each call is then signed.", "password"),
        "access_tier": {
            "label": "Access tier",
            "description": "What the platform granted to the app.",
            "schema": {"type": ["string", "null"], "enum": ["standard_access", "development_access", None]},
        },
        "api_version": _field("API version", "Optional, such as v27.0."),
        "graph_url": _field("Graph URL", "Optional: another address, such as that of `adwarm simulate`."),
    }


def _field(label: str, description: str, text_format: str | None = None) -> dict[str, Any]:
    schema = {"type": ["string", "null"]} | ({"format": text_format} if text_format else {})
    return {"label": label, "description": description, "schema": schema}
